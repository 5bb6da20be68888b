import hashlib
import os
import pickle
import re
from collections.abc import Iterator
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
import torch

from mspn.checkpoints.convert import to_layout
from mspn.checkpoints.format import load_checkpoint
from mspn.checkpoints.hub import (
    _system_caches,
    cache_folder,
    cached_file,
    download_weights,
    is_cached,
    is_offline,
    is_present,
    verify,
)
from mspn.checkpoints.index import IndexEntry, Limits
from mspn.config.protocol import MMPOSE_TEST
from mspn.config.recipe import Recipe
from mspn.config.recipes import RECIPES
from mspn.errors import WeightsError
from mspn.io.files import replacing
from mspn.structures.boxes import Size
from tests.checkpoints import file_server
from tests.checkpoints.file_server import FileServer
from tests.checkpoints.pocket import CONFIG, RECIPE, entry_of, pocket_network, saved, serving
from tests.full_disk import full_disk
from tests.training.several import clean_processes

LIMITS = Limits(stall_seconds=0.5, tries=2, pause_seconds=0)


@pytest.fixture(autouse=True)
def _pocket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSPN_OFFLINE")
    monkeypatch.setitem(RECIPES, "pocket", RECIPE)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FileServer]:
    with serving(tmp_path_factory.mktemp("published")) as server:
        yield server


def visible(folder: Path) -> list[str]:
    """Every file of a cache but the locks."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def test_weights_are_converted_into_the_cache_once(server: FileServer, tmp_path: Path):
    entry = entry_of(server)

    path = download_weights(entry, tmp_path / "new" / "cache")
    again = download_weights(entry, tmp_path / "new" / "cache")

    assert path == again == cached_file(entry, tmp_path / "new" / "cache")
    assert len(server.requests) == 1
    assert visible(path.parent) == [path.with_suffix(".json").name, path.name]
    checkpoint = load_checkpoint(path)
    expected = pocket_network().state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in checkpoint.model.state_dict().items())
    metadata = checkpoint.metadata
    assert (metadata.license, metadata.data, metadata.results) == ("MIT", ("drawn people",), {"AP": 0.5})
    assert (metadata.recipe.name, metadata.recipe.test) == ("pocket", MMPOSE_TEST)
    assert metadata.recipe.model.input_size == Size(64, 64)
    assert hashlib.sha256(server.content).hexdigest() in metadata.notes
    assert "their own boxes" in metadata.notes


def test_weights_of_which_eight_digits_are_known_are_called_so_whenever_they_are_loaded(
    server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    digest = hashlib.sha256(server.content).hexdigest()
    message = f"pocket-theirs: its publisher names only the first 8 digits of its SHA-256, .*; the whole is {digest}"
    for _ in range(2):
        caplog.clear()

        download_weights(entry_of(server), tmp_path)

        assert re.search(message, caplog.text)

    caplog.clear()
    download_weights(entry_of(server, sha256=digest), tmp_path)
    assert "digits" not in caplog.text


def test_what_a_killed_process_left_in_the_cache_is_removed(server: FileServer, tmp_path: Path):
    entry = entry_of(server)
    with replacing(cached_file(entry, tmp_path)) as temporary:
        temporary.touch()
    leftover = temporary.parent
    leftover.mkdir()

    download_weights(entry, tmp_path)

    assert not leftover.exists()


def test_another_original_has_another_place_in_the_cache(server: FileServer, tmp_path: Path):
    newer = entry_of(server, sha256="f" * 64)

    assert cached_file(entry_of(server), tmp_path) != cached_file(newer, tmp_path)


def test_a_file_put_into_the_cache_by_hand_is_used_and_kept(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MSPN_OFFLINE", "1")
    (tmp_path / "pocket.pth").write_bytes(server.content)

    path = download_weights(entry_of(server), tmp_path)

    assert load_checkpoint(path).metadata.recipe.name == "pocket"
    assert set(visible(tmp_path)) == {"pocket.pth", path.with_suffix(".json").name, path.name}
    assert server.requests == []


def test_a_wrong_file_put_into_the_cache_by_hand_is_refused(server: FileServer, tmp_path: Path):
    (tmp_path / "pocket.pth").write_bytes(b"something else")

    with pytest.raises(WeightsError, match=r"pocket\.pth is not the published file: its SHA-256 is .*; delete it"):
        download_weights(entry_of(server), tmp_path)

    assert visible(tmp_path) == ["pocket.pth"]


def test_offline_the_error_says_what_to_fetch_and_where_to_put_it(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MSPN_OFFLINE", "1")

    with pytest.raises(WeightsError) as caught:
        download_weights(entry_of(server), tmp_path / "cache")

    assert str(caught.value) == (
        "pocket-theirs is not in the cache, and MSPN_OFFLINE forbids downloads:"
        f" fetch {server.url('pocket.pth')} by other means and put pocket.pth into {tmp_path / 'cache'}"
    )
    assert server.requests == []


def test_offline_cached_weights_still_work(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = download_weights(entry_of(server), tmp_path)
    monkeypatch.setenv("MSPN_OFFLINE", "1")

    assert download_weights(entry_of(server), tmp_path) == path


def test_a_failed_download_says_what_to_fetch_and_leaves_nothing(server: FileServer, tmp_path: Path):
    server.answers = [file_server.status(404)]

    with pytest.raises(
        WeightsError,
        match=r"cannot download pocket-theirs: 127\.0\.0\.1 answers 404 Not Found; fetch .*and put pocket\.pth into",
    ):
        download_weights(entry_of(server), tmp_path, limits=LIMITS)

    assert visible(tmp_path) == []


class _MakesAFolder:
    """When unpickled carelessly, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("plain", [False, True], ids=["torch", "pickle"])
def test_a_pickle_with_code_under_the_right_checksum_is_refused_and_never_runs(
    plain: bool, server: FileServer, tmp_path: Path
):
    trap, cache = tmp_path / "trap", tmp_path / "cache"
    content = {"state_dict": to_layout(pocket_network(), "mmpose"), "meta": _MakesAFolder(trap)}
    server.content = pickle.dumps(content) if plain else saved(content, tmp_path / "evil.pth")

    with pytest.raises(WeightsError, match=r"wants to run posix\.mkdir|is damaged, or no checkpoint"):
        download_weights(entry_of(server), cache)

    assert not trap.exists()
    assert visible(cache) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("head.predict_layers.1.conv_layers.0.bn.bias"), r"has no tensor 'head\.predict"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "has the unknown tensor 'extra'"),
        (
            lambda tensors: tensors.update({"backbone.top.top.0.bn.bias": torch.zeros(3)}),
            r"backbone\.top\.top\.0\.bn\.bias' is \(3,\), not \(4,\)",
        ),
    ],
    ids=["missing", "extra", "misshapen"],
)
def test_a_published_file_with_a_wrong_tensor_is_refused_by_name(
    change: Any, message: str, server: FileServer, tmp_path: Path
):
    tensors = dict(to_layout(pocket_network(), "mmpose"))
    change(tensors)
    server.content = saved({"state_dict": tensors}, tmp_path / "odd.pth")

    with pytest.raises(WeightsError, match=message):
        download_weights(entry_of(server), tmp_path / "cache")

    assert visible(tmp_path / "cache") == []


def test_weights_of_another_network_than_the_index_says_are_refused(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = CONFIG.model_copy(update={"up_channels": 8})
    monkeypatch.setitem(RECIPES, "pocket", Recipe(name="pocket", model=other))

    with pytest.raises(WeightsError, match=r"pocket\.pth holds another network than pocket: .*up_channels=6"):
        download_weights(entry_of(server), tmp_path)

    assert visible(tmp_path) == []


def test_weights_of_a_network_that_this_version_lacks_say_so(server: FileServer, tmp_path: Path):
    with pytest.raises(
        WeightsError,
        match="pocket-theirs are weights of the network pocket-9, which this version of mspn does not have",
    ):
        download_weights(entry_of(server, recipe="pocket-9"), tmp_path)

    assert server.requests == []


def test_weights_without_an_address_say_how_to_get_them(server: FileServer, tmp_path: Path):
    entry = entry_of(server, urls=(), sha256=None, page="https://example.org/drive")

    with pytest.raises(WeightsError, match=r"fetch the checkpoint from https://example\.org/drive in a browser, then"):
        download_weights(entry, tmp_path)


def test_a_conversion_without_a_note_is_done_again(server: FileServer, tmp_path: Path):
    # The note is written last: a process was killed in between.
    path = download_weights(entry_of(server), tmp_path)
    path.with_suffix(".json").unlink()
    path.write_bytes(b"anything")

    download_weights(entry_of(server), tmp_path)

    assert load_checkpoint(path).metadata.recipe.name == "pocket"


def test_a_download_that_was_not_converted_is_not_downloaded_again(server: FileServer, tmp_path: Path):
    # A process was killed in between.
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "pocket.pth").write_bytes(server.content)

    path = download_weights(entry_of(server), tmp_path)

    assert server.requests == []
    assert set(visible(tmp_path)) == {path.name, path.with_suffix(".json").name}


def test_a_cache_that_cannot_be_written_to_is_one_line(server: FileServer, tmp_path: Path):
    (tmp_path / "cache").write_text("a file, not a folder")

    with pytest.raises(WeightsError, match=r"cannot write to the cache .*cache \(.*\); .* chosen with MSPN_CACHE"):
        download_weights(entry_of(server), tmp_path / "cache")


@pytest.mark.parametrize("is_there", [False, True], ids=["while it is downloaded", "while it is converted"])
def test_a_full_disk_is_one_line_and_leaves_no_weights(is_there: bool, server: FileServer, tmp_path: Path):
    entry = entry_of(server)
    if is_there:
        (tmp_path / entry.filename).write_bytes(server.content)

    with (
        full_disk(1_000),
        pytest.raises(WeightsError, match=r"cannot write to the cache .*; is there room on the disk"),
    ):
        download_weights(entry, tmp_path)

    assert not is_present(entry, tmp_path)
    assert not list(tmp_path.glob(".*.partial"))


def _download_with_the_other(entry: IndexEntry, folder: Path, begin: Barrier, paths: "SimpleQueue[Path]") -> None:
    os.environ.pop("MSPN_OFFLINE", None)
    RECIPES["pocket"] = RECIPE
    begin.wait(60)
    paths.put(download_weights(entry, folder))


def test_two_processes_that_download_at_once_make_one_file_with_one_download(server: FileServer, tmp_path: Path):
    entry = entry_of(server)
    server.answers = [file_server.serve_late]
    context = clean_processes()
    begin, paths = context.Barrier(2), context.SimpleQueue()

    children = [
        context.Process(target=_download_with_the_other, args=(entry, tmp_path, begin, paths)) for _ in range(2)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    codes = [child.exitcode for child in children]
    for child in children:
        child.kill()

    assert codes == [0, 0]
    assert paths.get() == paths.get() == cached_file(entry, tmp_path)
    assert len(server.requests) == 1
    assert len(visible(tmp_path)) == 2


def test_verify_finds_a_changed_byte_in_the_cache(server: FileServer, tmp_path: Path):
    entry = entry_of(server)
    path = download_weights(entry, tmp_path)
    assert verify(entry, tmp_path) is None

    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    problem = verify(entry, tmp_path)
    assert problem is not None
    assert f"SHA-256 of {path} is {hashlib.sha256(content).hexdigest()}, not " in problem
    assert problem.endswith("; `mspn models download pocket-theirs` replaces it")


def test_verify_finds_a_damaged_record(server: FileServer, tmp_path: Path):
    entry = entry_of(server)
    download_weights(entry, tmp_path).with_suffix(".json").write_text("{")

    assert "is missing or damaged; `mspn models download pocket-theirs` replaces it" in (verify(entry, tmp_path) or "")
    assert not is_cached(entry, tmp_path)


def test_a_cached_file_that_was_cut_short_is_fetched_again(server: FileServer, tmp_path: Path):
    entry = entry_of(server)
    path = download_weights(entry, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:100])

    assert download_weights(entry, tmp_path).read_bytes() == whole
    assert len(server.requests) == 2


def test_verify_of_weights_that_are_not_here_says_how_to_get_them(server: FileServer, tmp_path: Path):
    with pytest.raises(
        WeightsError, match=r"pocket-theirs is not in the cache .*; `mspn models download pocket-theirs`"
    ):
        verify(entry_of(server), tmp_path)
    assert not is_cached(entry_of(server), tmp_path)


def test_verify_finds_a_missing_file_of_the_package(server: FileServer, tmp_path: Path):
    entry = entry_of(server, urls=(), file="gone.safetensors", layout="mspn", sha256="0" * 64)

    assert "gone.safetensors is missing; install mspn again" in (verify(entry, tmp_path) or "")


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("MSPN_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"

    monkeypatch.delenv("MSPN_CACHE")
    assert cache_folder().name == "mspn"


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, "/home/ada/.cache"),
        ("linux", {"XDG_CACHE_HOME": "/fast"}, "/fast"),
        ("linux", {"XDG_CACHE_HOME": "relative/is/ignored"}, "/home/ada/.cache"),
        ("darwin", {}, "/home/ada/Library/Caches"),
        ("win32", {}, "/home/ada/AppData/Local"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local"),
    ],
)
def test_the_systems_place_for_caches_is_the_default(platform: str, environment: dict[str, str], expected: str):
    assert _system_caches(platform, environment, Path("/home/ada")) == Path(expected)


@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("yes", True), ("", False), ("0", False), ("False", False)]
)
def test_offline_is_a_switch(value: str, expected: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MSPN_OFFLINE", value)

    assert is_offline() == expected
