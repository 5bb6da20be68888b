import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mspn.checkpoints import hub, networks
from mspn.checkpoints.hub import cached_file
from mspn.checkpoints.index import Index, IndexEntry, load_index
from mspn.cli import models
from mspn.config.recipes import RECIPES
from tests.checkpoints import file_server
from tests.checkpoints.file_server import FileServer
from tests.checkpoints.pocket import RECIPE, entry_of, serving
from tests.cli.runner import error_line, run
from tests.drawn_people import write_drawn_set


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "published").mkdir()
    with serving(tmp_path / "published") as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, with downloads allowed."""
    monkeypatch.setenv("MSPN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MSPN_OFFLINE")
    return tmp_path / "cache"


@pytest.fixture
def entry(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> IndexEntry:
    """The pocket network, published in the index beside the package's own."""
    entry, real = entry_of(server), load_index()
    index = Index(aliases=real.aliases | {"pocket": "pocket-theirs"}, entries=(*real.entries, entry))
    for module in (hub, networks, models):
        monkeypatch.setattr(module, "load_index", lambda: index)
    monkeypatch.setitem(RECIPES, "pocket", RECIPE)
    return entry


def _listed(*names: str) -> str:
    """The row of `list` for some weights, by its first cells."""
    rows = [line.split() for line in run("models", "list").stdout.splitlines()]
    (row,) = [cells for cells in rows if cells[: len(names)] == list(names)]
    return " ".join(row)


def test_list_says_where_weights_are_and_download_fetches_them(server: FileServer, entry: IndexEntry, cache: Path):
    assert _listed("mspn-4-mmpose") == "mspn-4-mmpose 76.5 [5] Apache-2.0 to download"
    assert _listed("mspn-2-official") == "mspn-2-official 74.5 [6] none given download by hand"
    assert _listed("pocket-theirs") == "pocket-theirs 50.0 [7] MIT to download"

    downloaded = run("models", "download", "pocket")
    again = run("models", "download", "pocket-theirs")

    assert downloaded.exit_code == again.exit_code == 0, downloaded.output
    assert f"pocket-theirs: {cached_file(entry, cache)}" in downloaded.stdout.splitlines()
    assert len(server.requests) == 1
    assert _listed("pocket-theirs") == "pocket-theirs 50.0 [7] MIT in the cache"


def test_list_keeps_names_whole_and_says_what_each_precision_was_measured_on():
    listed = run("models", "list").stdout

    for name in (*RECIPES, *(entry.name for entry in load_index().entries)):
        assert name in listed.split()
    assert _listed("mspn-base", "=") == "mspn-base = default 54.1 [1] Apache-2.0 in the package"
    assert "[1] lspet_val, docs/models.md: labeled boxes, flip test" in listed.splitlines()


def test_list_counts_no_network_of_the_package(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AssertionError("counted")

    monkeypatch.setattr(models, "count_cost", refuse)

    assert run("models", "list").exit_code == 0


@pytest.mark.parametrize("name", ["mspn-4", "mspn-small", "person-detector"])
def test_show_is_a_card_of_one_screen(name: str):
    card = run("models", "show", name).stdout.splitlines()

    assert len(card) <= 24
    assert all(len(line) <= 80 for line in card)


def test_show_says_what_weights_are():
    card = [" ".join(line.split()) for line in run("models", "show", "mspn-small").stdout.splitlines()]

    assert "crop 256x192" in card
    assert "cost 3,131,976 parameters, 0.48 G multiply-adds at inference" in card
    assert "results lspet_val 52.3, studio_val 88.5, coco_sample 43.3" in card
    assert "keypoints 17, skeleton coco-17" in card
    assert "int8 calibrated for --precision int8" in card


def test_download_takes_another_cache(entry: IndexEntry, cache: Path, tmp_path: Path):
    result = run("models", "download", "pocket", "--cache", tmp_path / "mine")

    assert result.exit_code == 0, result.output
    assert cached_file(entry, tmp_path / "mine").is_file()
    assert not cache.exists()


def test_a_failed_download_is_one_line(server: FileServer, entry: IndexEntry, cache: Path):
    server.answers = [file_server.status(404)]

    assert error_line(run("models", "download", "pocket")) == (
        "error: cannot download pocket-theirs: 127.0.0.1 answers 404 Not Found;"
        f" fetch {server.url('pocket.pth')} by other means and put pocket.pth into {cache}"
    )
    assert "no address gives mspn-2-official directly" in error_line(run("models", "download", "mspn-2-official"))
    assert "no published weights 'mspn-4-384x288'; there are mspn-base" in error_line(
        run("models", "download", "mspn-4-384x288")
    )
    assert run("models", "download", "default").stdout == "mspn-base is part of the package\n"


def test_download_replaces_a_damaged_file_in_the_cache(server: FileServer, entry: IndexEntry, cache: Path):
    run("models", "download", "pocket")
    path = cached_file(entry, cache)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))

    again = run("models", "download", "pocket")

    assert "pocket-theirs in the cache is damaged and downloaded again" in again.stderr
    assert path.read_bytes() == whole
    assert len(server.requests) == 2


def test_show_prints_the_index_before_and_the_metadata_after_downloading(entry: IndexEntry, cache: Path):
    before = run("models", "show", "pocket", "--json")
    run("models", "download", "pocket")
    after = run("models", "show", "pocket", "--json")

    assert json.loads(before.stdout)["protocol"] == "their own boxes"
    assert "not in the cache; `mspn models download pocket-theirs` downloads it" in before.stderr
    assert json.loads(after.stdout)["recipe"]["name"] == "pocket"


def test_show_promises_no_download_where_there_is_none():
    assert run("models", "show", "mspn-2-official").stderr == ""


def test_verify_checks_the_package_and_the_cache(entry: IndexEntry, cache: Path):
    run("models", "download", "pocket")

    sound = run("models", "verify")
    path = cached_file(entry, cache)
    path.write_bytes(b"changed")
    changed = run("models", "verify", "pocket")

    assert sound.exit_code == 0
    assert sound.stdout.splitlines() == [
        "mspn-base: ok",
        "mspn-small: ok",
        "mspn-tiny: ok",
        "person-detector: ok",
        "pocket-theirs: ok",
    ]
    assert changed.exit_code == 1
    # SHA-256 of "changed", by sha256sum.
    assert "is d67e2e944994496c8d8ec76eed0cf9f09679448d584b532bebf941852a37f5ed, not" in changed.stderr
    assert "mspn-4-mmpose is not in the cache" in error_line(run("models", "verify", "mspn-4"))


def test_predict_and_evaluate_download_weights(server: FileServer, entry: IndexEntry, cache: Path, tmp_path: Path):
    write_drawn_set(tmp_path / "set", num_images=1)
    annotations, images = tmp_path / "set" / "annotations.json", tmp_path / "set" / "images"

    predicted = run("predict", images, "--model", "pocket", "--out", tmp_path / "out")
    evaluated = run("evaluate", "--model", "pocket", "--annotations", annotations, "--images", images)

    assert predicted.exit_code == evaluated.exit_code == 0, predicted.output + evaluated.output
    assert (tmp_path / "out" / "predictions.json").is_file()
    assert "padding (1.25, 1.25)" in evaluated.stdout
    assert len(server.requests) == 1
