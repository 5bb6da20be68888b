import io
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ray.data")

from pyarrow import fs

from mspn.batch.listing import ListedFile
from mspn.batch.predictor import read_files
from mspn.io.images import encode_jpeg
from mspn.io.limits import DEFAULTS
from mspn.io.storage import Storage
from mspn.structures.boxes import Size
from mspn.structures.image import SourceFailure

JPEG = encode_jpeg(np.full((4, 6, 3), 90, np.uint8))


class _FailsOften(fs.FileSystemHandler):
    """The local file system behind a server that is out of order at first."""

    def __init__(self, num_failures: int, message: str) -> None:
        self.num_failures = num_failures
        self._message = message
        self._files = fs.LocalFileSystem()

    def get_file_info(self, paths: Sequence[str]) -> Sequence[fs.FileInfo]:
        return self._files.get_file_info(list(paths))

    def open_input_stream(self, path: str) -> object:
        if self.num_failures:
            self.num_failures -= 1
            raise OSError(self._message)
        return self._files.open_input_stream(path)

    def _unused(self, *_: object) -> None:
        raise NotImplementedError

    get_type_name = get_file_info_selector = create_dir = delete_dir = delete_dir_contents = _unused
    delete_root_dir_contents = delete_file = move = copy_file = open_input_file = open_output_stream = _unused
    open_append_stream = normalize_path = _unused


def _read(files: Sequence[ListedFile], *file_systems: object) -> list[tuple[str, str | None, object]]:
    """Name, member, and size or problem of each image."""
    return [
        (file.name, image[0], image[1].problem if isinstance(image[1], SourceFailure) else image[1].size)
        for file, image in read_files(files, file_systems, DEFAULTS)
        if image is not None
    ]


@pytest.fixture
def jpeg(tmp_path: Path) -> str:
    (tmp_path / "a.jpg").write_bytes(JPEG)
    return str(tmp_path / "a.jpg")


def test_each_file_is_announced_before_its_images(jpeg: str):
    (opened, none), (read, image) = read_files([ListedFile("a.jpg", jpeg)], (), DEFAULTS)

    assert (opened, none, read) == (read, None, opened)
    assert image is not None


def test_files_of_a_file_system_are_read_in_order_and_what_is_not_there_is_a_line(jpeg: str):
    files = [ListedFile(f"x://{number}", jpeg if number % 2 == 0 else f"{jpeg}.gone", 0) for number in range(20)]

    read = _read(files, fs.LocalFileSystem())

    assert [name for name, _, _ in read] == [file.name for file in files]
    assert read[0] == ("x://0", None, Size(4, 6))
    assert str(read[1][2]).startswith("x://1: ")
    assert "No such file" in str(read[1][2])


def test_a_server_that_is_out_of_order_for_a_moment_is_asked_again(jpeg: str, monkeypatch: pytest.MonkeyPatch):
    pauses: list[float] = []
    monkeypatch.setattr("mspn.io.storage.time.sleep", pauses.append)
    files = fs.PyFileSystem(_FailsOften(3, "AWS Error SLOW_DOWN during GetObject"))

    assert _read([ListedFile("x://a", jpeg, 0)], files) == [("x://a", None, Size(4, 6))]
    assert pauses == [0.25, 0.5, 1.0]


def test_wrong_credentials_are_told_at_once(jpeg: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mspn.io.storage.time.sleep", pytest.fail)
    files = fs.PyFileSystem(_FailsOften(1, "AWS Error ACCESS_DENIED during GetObject"))

    ((_, _, problem),) = _read([ListedFile("x://a", jpeg, 0)], files)

    assert problem == (
        "x://a: AWS Error ACCESS_DENIED during GetObject; check the address, its rights, and that there is room"
    )


def test_a_server_that_stays_out_of_order_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mspn.io.storage.time.sleep", lambda _: None)
    files = fs.PyFileSystem(_FailsOften(99, "AWS Error NETWORK_CONNECTION"))

    with pytest.raises(OSError, match="NETWORK_CONNECTION"):
        Storage("x", files, "x").copy_to(io.BytesIO())
    assert files.handler.num_failures == 99 - 5


def _write_tar(path: Path, **members: bytes) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name.replace("_", "."))
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def test_images_of_a_tar_have_their_own_names_and_problems(tmp_path: Path):
    path = tmp_path / "shard.tar"
    _write_tar(path, a_jpg=JPEG, a_json=b"{}", b_jpg=JPEG[:-2], c_jpg=JPEG)

    read = _read([ListedFile("shard.tar", str(path))])

    assert read == [
        ("shard.tar", "a.jpg", Size(4, 6)),
        ("shard.tar", "b.jpg", "shard.tar/b.jpg is cut short (a JPEG without its end); copy or download it again"),
        ("shard.tar", "c.jpg", Size(4, 6)),
    ]


def test_a_tar_that_is_cut_short_gives_what_it_has_and_a_line(tmp_path: Path):
    path = tmp_path / "shard.tar"
    _write_tar(path, a_jpg=JPEG, b_jpg=JPEG)
    path.write_bytes(path.read_bytes()[: 512 + 1024 + 600])  # head and content of the first, head of the second

    first, last = _read([ListedFile("shard.tar", str(path))])

    assert first == ("shard.tar", "a.jpg", Size(4, 6))
    assert str(last[2]).startswith("shard.tar is no tar, or cut short")


def test_a_tar_that_is_none_or_not_there_is_a_line(tmp_path: Path):
    (tmp_path / "odd.tar").write_bytes(b"no tar")

    odd, gone = _read(
        [ListedFile("odd.tar", str(tmp_path / "odd.tar")), ListedFile("gone.tar", str(tmp_path / "gone"))]
    )

    assert str(odd[2]).startswith("odd.tar is no tar, or cut short")
    assert str(gone[2]).startswith("gone.tar: No such file or directory")
