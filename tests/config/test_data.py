from pathlib import Path

from mspn.config.data import PeopleSetConfig
from mspn.config.recipe import override
from mspn.config.recipes import find_recipe


def test_a_path_alone_is_a_set_of_labels(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.json").touch()
    (tmp_path / "mine" / "images").mkdir()

    data = override(find_recipe("mspn-tiny"), ["data.train=mine/train.json", "data.validation=set/val.json"]).data

    # What is there from here on is meant so; anything else is below the data root.
    (mine,) = data.train
    assert mine.image_folder(Path("data")) == tmp_path / "mine" / "images"
    assert Path("data") / mine.annotations == tmp_path / "mine" / "train.json"
    assert data.validation is not None
    assert data.validation.annotations == "set/val.json"


def test_images_are_beside_their_labels_unless_a_folder_is_named(tmp_path: Path):
    (tmp_path / "yolo" / "images").mkdir(parents=True)
    (tmp_path / "flat").mkdir()

    def folder(annotations: str, images: str | None = None) -> Path:
        return PeopleSetConfig(annotations=annotations, images=images).image_folder(tmp_path)

    assert folder("yolo") == folder("yolo/data.yaml") == tmp_path / "yolo" / "images"
    assert folder("flat/a.json") == tmp_path / "flat"
    assert folder("flat/a.json", "photos") == tmp_path / "photos"
