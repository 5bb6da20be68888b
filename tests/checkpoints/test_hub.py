from pathlib import Path

import pytest

import mspn
from mspn.checkpoints import hub, networks
from mspn.checkpoints.hub import cached_file, find_weights
from mspn.checkpoints.index import ASSETS, Index
from mspn.checkpoints.networks import build_model, load_named
from mspn.config.recipes import RECIPES
from mspn.errors import WeightsError
from tests.checkpoints.pocket import RECIPE, entry_of, serving


def test_embedded_weights_are_found_by_name_and_alias():
    expected = ASSETS / "mspn-base.safetensors"

    assert find_weights("mspn-base") == find_weights("default") == expected


def test_a_path_is_always_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "default").write_bytes(b"")

    assert find_weights(Path("default")) == Path("default")
    assert find_weights("default") == ASSETS / "mspn-base.safetensors"
    with pytest.raises(WeightsError, match="no weights file at mspn-1 and no model of that name"):
        find_weights(Path("mspn-1"))


def test_published_weights_are_downloaded_on_first_use_by_name_and_alias(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(RECIPES, "pocket", RECIPE)
    monkeypatch.setenv("MSPN_CACHE", str(tmp_path))
    monkeypatch.delenv("MSPN_OFFLINE")
    told = []

    with serving(tmp_path_factory.mktemp("published")) as server:
        index = Index(aliases={"pocket": "pocket-theirs"}, entries=(entry_of(server),))
        for module in (hub, networks):
            monkeypatch.setattr(module, "load_index", lambda: index)
        path = find_weights("pocket", lambda done, _total: told.append(done))

    assert path == cached_file(index.entries[0], tmp_path)
    assert told[-1] == len(server.content)
    assert load_named("pocket-theirs").metadata.recipe.name == "pocket"
    assert build_model("pocket-theirs").config == build_model("pocket").config == RECIPE.model
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mspn-4", r"mspn-4-mmpose is not in the cache, and MSPN_OFFLINE forbids downloads: fetch https://download\."),
        ("mspn-4-384x288", "there are no weights of mspn-4-384x288 in this version; train it"),
        (
            "mspn-2-official",
            r"fetch the checkpoint from https://drive\.google\.com/.* in a browser, then `mspn models c",
        ),
        ("mspn-2-mmpos", "no model of that name; did you mean 'mspn-2-mmpose'?"),
        ("nothing-like-it", "no model of that name; see `mspn models list`"),
    ],
)
def test_weights_that_are_not_here_are_an_error_and_never_random(name: str, message: str):
    with pytest.raises(WeightsError, match=message):
        mspn.load_model(name)


def test_an_untrained_network_has_the_name_of_a_recipe_or_of_weights():
    assert build_model("default").config == RECIPES["mspn-base"].model
    assert build_model("mspn-1-mmpose").config == build_model("mspn-1").config == RECIPES["mspn-1"].model
    with pytest.raises(ValueError, match="no recipe 'mspn-9'"):
        build_model("mspn-9")
