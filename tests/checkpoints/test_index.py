import hashlib
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from mspn.checkpoints.index import ASSETS, Index, IndexEntry, load_index
from mspn.checkpoints.networks import load_named
from mspn.config.recipes import RECIPES

VALUES: dict[str, Any] = {
    "name": "net-theirs",
    "recipe": "net",
    "layout": "mmpose",
    "urls": ("https://example.org/net-01234567.pth", "https://mirror.example.org/a/net-01234567.pth"),
    "sha256": "01234567",
    "license": "MIT",
    "data": ("COCO",),
    "source": "drawn",
}


def test_the_index_of_the_package_is_sound():
    index = load_index()

    assert {entry.name for entry in index.entries if entry.recipe in RECIPES} >= {
        "mspn-base",
        "mspn-small",
        "mspn-tiny",
        *(f"mspn-{stages}-mmpose" for stages in (1, 2, 3, 4)),
        "mspn-2-official",
    }
    for entry in index.entries:
        if entry.urls:
            # OpenMMLab's file names carry the first eight digits of their SHA-256.
            assert entry.sha256 in entry.filename
            # Its download host first, then the two storage buckets that its documents also link to.
            assert [urlsplit(url).hostname for url in entry.urls] == [
                "download.openmmlab.com",
                "openmmlab-share.oss-cn-hangzhou.aliyuncs.com",
                "openmmlab.oss-cn-hangzhou.aliyuncs.com",
            ]
            assert len({urlsplit(url).path for url in entry.urls}) == 1
        assert all(0 < value < 1 for value in entry.results.values())
        assert bool(entry.results) == bool(entry.protocol)


def test_files_of_the_package_have_the_checksum_that_the_index_says():
    # After new weights, `mspn models verify` prints the digest for weights/index.json.
    embedded = [entry for entry in load_index().entries if entry.file is not None]

    assert [entry.name for entry in embedded] == ["mspn-base", "mspn-small", "mspn-tiny", "person-detector"]
    for entry in embedded:
        assert hashlib.sha256((ASSETS / str(entry.file)).read_bytes()).hexdigest() == entry.sha256


@pytest.mark.parametrize("name", ["mspn-base", "mspn-small", "mspn-tiny"])
def test_embedded_weights_are_what_their_recipe_says(name: str):
    shipped, recipe = load_named(name).metadata.recipe, RECIPES[name]

    assert (shipped.model, shipped.supervision, shipped.test) == (recipe.model, recipe.supervision, recipe.test)


def test_the_name_of_a_recipe_stands_for_its_best_weights():
    index = load_index()

    for alias, name in index.aliases.items():
        entry = index.find(alias)
        assert entry is not None
        assert entry.name == name
        rivals = [rival.results.get("AP", 0) for rival in index.entries if rival.recipe == entry.recipe]
        assert entry.results.get("AP", 0) == max(rivals)
        assert alias in ("default", entry.recipe)


def test_an_unknown_name_has_no_entry():
    assert load_index().find("mspn-9") is None


def test_the_file_name_is_the_end_of_the_address():
    assert IndexEntry(**VALUES).filename == "net-01234567.pth"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"urls": ("http://example.org/net.pth",)}, "http://example.org/net.pth: must be an https address"),
        ({"urls": ("https://example.org/a.pth", "https://example.org/b.pth")}, "must all end in the same file name"),
        ({"sha256": None}, "net-theirs needs a sha256: nothing is downloaded that cannot be checked"),
        ({"sha256": "0123"}, "sha256"),
        ({"urls": ()}, "net-theirs must have one of file, urls and page"),
        ({"page": "https://example.org"}, "net-theirs must have one of file, urls and page"),
        ({"layout": "mspn"}, "files of the package have the layout mspn, others have not"),
        ({"urls": (), "file": "net.safetensors", "layout": "mspn"}, "needs all 64 digits of its sha256"),
        ({"size": 0}, "size"),
        ({"mirror": "x"}, "no setting 'mirror' in IndexEntry"),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        IndexEntry(**VALUES | changes)


@pytest.mark.parametrize(
    ("aliases", "copies", "message"),
    [
        ({}, 2, "the index has 'net-theirs' twice"),
        ({"net-theirs": "net-theirs"}, 1, "the index has 'net-theirs' twice"),
        ({"net": "net-ours"}, 1, "alias 'net' stands for 'net-ours', which the index does not have"),
    ],
)
def test_names_that_clash_or_lead_nowhere_are_refused(aliases: dict[str, str], copies: int, message: str):
    with pytest.raises(ValidationError, match=message):
        Index(aliases=aliases, entries=(IndexEntry(**VALUES),) * copies)
