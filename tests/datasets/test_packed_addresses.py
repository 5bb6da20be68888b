from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

from mspn.config.data import PeopleSetConfig
from mspn.datasets.crop_dataset import read_training_sets
from mspn.datasets.packed import copy_to_cache, with_packed_sets
from mspn.errors import AnnotationError, FileError
from tests.datasets.test_packing import PHOTO, pack, recipe_of, write_photo


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MSPN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(("root", "annotations"), [("{}", "people.zip"), ("/nowhere", "{}/people.zip")])
def test_a_packed_file_of_an_address_trains_as_a_local_one(root: str, annotations: str, tmp_path: Path):
    write_photo(tmp_path / "photos", np.full((*PHOTO, 3), 90, np.uint8))
    local = pack(recipe_of(tmp_path / "photos"), tmp_path / "people.zip")
    address = f"file://{tmp_path}"
    config = PeopleSetConfig(annotations=annotations.format(address))
    data = local.data.model_copy(update={"root": root.format(address), "train": (config,)})

    distant = with_packed_sets(local.model_copy(update={"data": data}))

    assert [config.subset for config in distant.data.train] == [config.subset for config in local.data.train]
    assert [len(people) for people in read_training_sets(distant)] == [1]


def test_a_file_is_copied_once_and_anew_after_it_has_changed(cache: Path, tmp_path: Path):
    original = tmp_path / "people.zip"
    original.write_bytes(b"first")
    copy = copy_to_cache(f"file://{original}")
    assert copy.is_relative_to(cache)
    assert (copy.name, copy.read_bytes()) == ("people.zip", b"first")

    copy.write_bytes(b"kept")
    assert copy_to_cache(f"file://{original}").read_bytes() == b"kept"

    original.write_bytes(b"longer")
    assert copy_to_cache(f"file://{original}").read_bytes() == b"longer"


def test_an_address_where_nothing_is_is_one_line(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"no packed file at file://.*/gone.zip; set data.train or data.root"):
        copy_to_cache(f"file://{tmp_path}/gone.zip")
    with pytest.raises(FileError, match=r"ftp://host/gone.zip is no address that can be used"):
        copy_to_cache("ftp://host/gone.zip")
