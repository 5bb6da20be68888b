import os
from pathlib import Path

import pytest

pytest.importorskip("ray.data")

import pyarrow as pa
from pyarrow import parquet

from mspn.batch.listing import ListedFile, Listing, make_tasks, read_task
from mspn.errors import SourceError
from mspn.io.limits import DEFAULTS
from mspn.sources.resolve import WHOLE, Shard


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def _list(*sources: object, shard: Shard = WHOLE) -> list[str]:
    return [file.name for file in Listing(list(map(str, sources)), DEFAULTS, shard).files]


def _files(*names: str) -> list[ListedFile]:
    return [ListedFile(name, name) for name in names]


def test_a_file_that_is_named_twice_is_listed_once(tmp_path: Path):
    _touch(tmp_path, "a.jpg", "b.jpg")

    files = _list(tmp_path, f"{tmp_path}/*.jpg")

    assert files == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg"]


def test_shards_part_the_files_and_more_files_move_none(tmp_path: Path):
    _touch(tmp_path, *(f"{number}.jpg" for number in range(20)))
    before = [set(_list(tmp_path, shard=Shard(number, 3))) for number in (1, 2, 3)]
    assert sorted(map(len, before)) != [0, 0, 20]
    assert sum(map(len, before)) == len(set.union(*before)) == 20

    _touch(tmp_path, *(f"later-{number}.jpg" for number in range(20)))
    after = [set(_list(tmp_path, shard=Shard(number, 3))) for number in (1, 2, 3)]

    assert all(early < late for early, late in zip(before, after, strict=True))


def test_nothing_to_predict_is_said_in_one_line(tmp_path: Path):
    with pytest.raises(SourceError, match="no images or videos in the folder"):
        _list(tmp_path)


def test_images_share_tasks_and_a_video_or_tar_has_one_of_its_own():
    images = _files(*(f"{number}.jpg" for number in range(40)))

    tasks = make_tasks([*images[:20], *_files("a.MP4", "b.tar.gz"), *images[20:]], num_actors=1)

    # 42 files for one actor: 16 to a task at least.
    assert [task.num_rows for task in tasks] == [16, 1, 1, 16, 8]
    assert list(read_task(tasks[1])) == _files("a.MP4")


def test_many_images_make_tasks_of_at_most_64():
    # 2000 images, two actors, eight tasks for each: 125 would be possible.
    tasks = make_tasks(_files(*(f"{number}.jpg" for number in range(2000))), num_actors=2)

    assert {task.num_rows for task in tasks[:-1]} == {64}
    assert sum(task.num_rows for task in tasks) == 2000


def test_names_that_are_no_utf_8_and_failures_pass_through_a_task(tmp_path: Path):
    odd = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(odd)).touch()
    failure = ListedFile("gone", None, problem="gone cannot be searched; check its rights")
    listed = Listing([str(tmp_path)], DEFAULTS, WHOLE).files

    (task,) = make_tasks([*listed, failure], num_actors=1)
    file, after = read_task(task)

    assert (file.name, os.fsencode(file.path or "")) == (rf"{tmp_path}/caf\udce9.jpg", odd)
    assert after == failure


def test_addresses_are_searched_and_read_on_their_file_systems(tmp_path: Path):
    (tmp_path / "in/.hidden").mkdir(parents=True)
    _touch(tmp_path / "in", "a.jpg", "b.txt", "c.mp4", "d.tar", ".hidden/e.jpg")

    listing = Listing([f"file://{tmp_path}/in"], DEFAULTS, WHOLE)

    address = f"file://{tmp_path}/in"
    assert [file.name for file in listing.files] == [f"{address}/a.jpg", f"{address}/c.mp4", f"{address}/d.tar"]
    assert [(file.path, file.files) for file in listing.files[:1]] == [(f"{tmp_path}/in/a.jpg", 0)]
    assert len(listing.file_systems) == 1


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("[!b].jpg", ["a.jpg"]),
        ("**/*.jpg", ["a.jpg", "b.jpg", "in/deep/c.jpg"]),
        ("in/**", ["in/deep/c.jpg"]),
        ("?.jpg", ["a.jpg", "b.jpg"]),
        ("*/c.jpg", []),
    ],
)
def test_patterns_of_addresses_mean_what_those_of_a_shell_mean(tmp_path: Path, pattern: str, names: list[str]):
    (tmp_path / "in/deep").mkdir(parents=True)
    _touch(tmp_path, "a.jpg", "b.jpg", "in/deep/c.jpg")
    address = f"file://{tmp_path}"

    if names:
        assert _list(f"{address}/{pattern}") == [f"{address}/{name}" for name in names]
    else:
        with pytest.raises(SourceError, match="nothing is at file://"):
            _list(f"{address}/{pattern}")


def test_an_address_without_images_is_said_in_one_line(tmp_path: Path):
    _touch(tmp_path, "notes.txt")

    with pytest.raises(SourceError, match="no images, videos or tars in the folder file://"):
        _list(f"file://{tmp_path}")
    with pytest.raises(SourceError, match=r"nothing is at file://.*/gone; check the address"):
        _list(f"file://{tmp_path}/gone")


def test_lists_name_files_and_addresses(tmp_path: Path):
    names = ["photos/a.jpg", "https://example.org/b.jpg", f"file://{tmp_path}/c.jpg"]
    (tmp_path / "list.csv").write_text("label,path\n" + "".join(f"x,{name}\n" for name in names))
    parquet.write_table(pa.table({"path": names[:1]}), tmp_path / "list.parquet")

    assert _list(tmp_path / "list.csv") == names
    assert _list(tmp_path / "list.parquet") == names[:1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("file\na.jpg\n", "has no column path, but file; rename the one of the files"),
        ("path\n", "must have a path in each row"),
        ("path\n1\n", "must have a path in each row"),
        ("a,b\n1\n", "is no list of files"),
        (None, "no list at"),
    ],
)
def test_what_is_no_list_is_said_in_one_line(tmp_path: Path, content: str | None, problem: str):
    if content is not None:
        (tmp_path / "list.csv").write_text(content)

    with pytest.raises(SourceError, match=problem):
        _list(tmp_path / "list.csv")
