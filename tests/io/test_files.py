import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mspn.errors import FileError
from mspn.io.files import (
    explain_failures,
    locked_folder,
    remove_leftovers,
    replacing,
    sha256_of,
    temporary_folder,
    write_text,
)
from tests.full_disk import full_disk


def test_the_written_file_takes_the_place_of_the_old_one(tmp_path: Path):
    path = tmp_path / "report.json"
    path.write_text("old")

    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"

    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    path = tmp_path / "report.json"
    path.write_text("old")

    def write_half(temporary: Path) -> None:
        temporary.write_text("ne")
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"), replacing(path) as temporary:
        write_half(temporary)

    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "No space left on device"), KeyError("No space left on device")]
)
def test_a_failing_write_names_the_file_whatever_its_library_raises(failure: Exception, tmp_path: Path):
    def write(_temporary: Path) -> None:
        raise failure

    with (
        pytest.raises(
            FileError, match=r"^could not write .*report\.json \(.*No space left on device.*\); is there room"
        ),
        replacing(tmp_path / "report.json", KeyError) as temporary,
    ):
        write(temporary)


def test_a_failure_is_explained_once(tmp_path: Path):
    path = tmp_path / "a.txt"

    with pytest.raises(FileError) as caught, explain_failures(path), replacing(path):
        raise OSError(errno.EIO, "Input/output error")

    assert str(caught.value) == f"could not write {path} (Input/output error); is there room on the disk?"


def test_the_temporary_file_keeps_the_name_and_lies_on_the_same_disk(tmp_path: Path):
    with replacing(tmp_path / "drawn.png") as temporary:
        temporary.write_bytes(b"")
        assert temporary.name == "drawn.png"
        assert temporary.parent.parent == tmp_path


def test_what_a_killed_writer_left_can_be_removed(tmp_path: Path):
    (tmp_path / ".notes").write_text("keep")
    with replacing(tmp_path / "state.pt") as temporary:
        temporary.write_text("ha")
        # What a kill leaves: the folder as it stands here.
        shutil.copytree(temporary.parent, tmp_path / temporary.parent.name.replace("state", "other"))
    (tmp_path / "state.pt").unlink()

    remove_leftovers(tmp_path)

    assert [entry.name for entry in tmp_path.iterdir()] == [".notes"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (".mine.partial", "notes"),
        (".mine.partial", ".lock"),
        (".mine-0123456-0.partial", ".lock"),  # seven digits
        (".photos-20240131-1.partial", "notes"),
    ],
)
def test_what_no_writer_of_ours_has_left_is_kept(name: str, file: str, tmp_path: Path):
    (tmp_path / name).mkdir()
    (tmp_path / name / file).touch()

    remove_leftovers(tmp_path)

    assert (tmp_path / name / file).exists()


_WRITE_AND_WAIT = """
import sys, time
from pathlib import Path
from mspn.io.files import replacing

with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("ha")
    (temporary.parent / "another").mkdir()
    print("writing", flush=True)
    sys.stdin.readline()
    temporary.write_text("whole")
"""


@contextmanager
def another_writer(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has begun to write a file, and ends when it is sent a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITE_AND_WAIT, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_next_write_of_a_file_removes_what_a_killed_one_left(tmp_path: Path):
    path = tmp_path / "state.pt"
    with another_writer(path) as first, another_writer(path) as second:
        assert len(list(tmp_path.glob(".state-*.partial"))) == 2
        first.kill()
        second.kill()
        first.wait()
        second.wait()
    (tmp_path / ".other-1.partial").mkdir()
    assert len(list(tmp_path.glob(".state-*.partial"))) == 2

    write_text(path, "new")

    # Of other files nothing is touched.
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".other-1.partial", "state.pt"]
    assert path.read_text() == "new"


def test_what_a_living_process_writes_is_never_removed(tmp_path: Path):
    path = tmp_path / "state.pt"
    with another_writer(path) as other:
        write_text(path, "first")
        remove_leftovers(tmp_path)
        assert path.read_text() == "first"

        other.communicate(b"go on\n")
        assert other.returncode == 0

    assert path.read_text() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]


def test_two_writers_of_one_file_in_one_process_do_not_meet(tmp_path: Path):
    path = tmp_path / "state.pt"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"

    assert path.read_text() == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.pt"]


def test_a_link_in_place_of_the_temporary_folder_is_not_followed(tmp_path: Path):
    path, elsewhere = tmp_path / "state.pt", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with replacing(path) as temporary:
        temporary.touch()
    temporary.parent.symlink_to(elsewhere)

    write_text(path, "new")

    assert path.read_text() == "new"
    assert list(elsewhere.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_a_folder_that_another_user_has_put_in_place_is_neither_used_nor_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with temporary_folder(tmp_path / "ray") as first:
        pass
    first.mkdir()
    first.chmod(0o777)
    user = first.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: user + 1)

    with temporary_folder(tmp_path / "ray") as second:
        assert second.name == first.name.replace("-0.partial", "-1.partial")
        assert stat.S_IMODE(second.stat().st_mode) == 0o700
        remove_leftovers(tmp_path)

    assert list(tmp_path.rglob("*")) == [first]


def test_a_folder_that_a_killed_process_has_left_open_to_all_is_made_anew(tmp_path: Path):
    with temporary_folder(tmp_path / "ray") as first:
        pass
    first.mkdir()
    first.chmod(0o777)
    (first / "trap").touch()

    with temporary_folder(tmp_path / "ray") as second:
        assert second == first
        assert [path.name for path in second.iterdir()] == [".lock"]
        assert os.name == "nt" or stat.S_IMODE(second.stat().st_mode) == 0o700


def test_missing_folders_are_made(tmp_path: Path):
    write_text(tmp_path / "runs" / "one" / "recipe.json", "é\n")

    assert (tmp_path / "runs" / "one" / "recipe.json").read_bytes() == "é\n".encode()


def test_a_file_is_open_for_writing_when_it_is_synced_as_windows_demands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.write(descriptor, b"")))

    write_text(tmp_path / "report.json", "new")

    assert synced == [0]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
def test_a_new_file_may_be_read_by_whom_a_plain_file_may(tmp_path: Path):
    plain = tmp_path / "plain"
    plain.write_text("")

    write_text(tmp_path / "ours", "")

    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_the_umask_is_left_alone_which_all_threads_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "umask", None)

    write_text(tmp_path / "ours", "")

    assert (tmp_path / "ours").read_text() == ""


def test_the_checksum_of_a_file_is_that_of_its_bytes(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")

    # FIPS 180-2, appendix B.1.
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_failure_names_the_file_and_what_may_help(tmp_path: Path):
    message = r"could not write .*a\.json \(No space left on device\); is there room on the disk\?"
    with pytest.raises(OSError, match=message), explain_failures(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path):
    name = "x" * 251 + ".jpg"

    write_text(tmp_path / name, "")

    assert (tmp_path / name).is_file()


def test_the_digest_of_a_folder_is_that_of_all_its_files_and_their_names(tmp_path: Path):
    digests = []
    for names in (("a", "b/c"), ("a", "b/d"), ("a", "b/c")):
        folder = tmp_path / str(len(digests))
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("same")
        digests.append(sha256_of(folder))
    (tmp_path / "2" / "a").write_text("other")

    assert digests[0] == digests[2] != digests[1]
    assert sha256_of(tmp_path / "2") != digests[0]


_HOLD = """
import sys, time
from pathlib import Path
from mspn.io.files import locked_folder
from tests.full_disk import full_disk

with locked_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_folder_ends_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path / "out")], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        monkeypatch.setattr("mspn.io.files._SECONDS_TO_LOCK", 0.0)

        message = r"another process is writing into .*out; wait"
        with pytest.raises(FileError, match=message), locked_folder(tmp_path / "out"):
            pass
    finally:
        process.kill()
        process.communicate()

    with locked_folder(tmp_path / "out"):
        pass
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").touch()

    message = r"cannot write to the folder .*file/out"
    with pytest.raises(FileError, match=message), locked_folder(tmp_path / "file" / "out"):
        pass


def test_a_file_for_which_there_is_no_room_is_named_and_nothing_is_left(tmp_path: Path):
    message = r"could not write .*labels\.json \(.*\); is there room on the disk\?"
    with full_disk(10), pytest.raises(FileError, match=message):
        write_text(tmp_path / "labels.json", "more than ten bytes")

    assert list(tmp_path.iterdir()) == []


def test_errors_of_other_files_stay_as_they_are(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"missing\.json"), replacing(tmp_path / "a.json"):
        (tmp_path / "missing.json").read_text()
