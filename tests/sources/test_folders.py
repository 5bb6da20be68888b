import inspect
import os
import sys
from pathlib import Path

import pytest

from mspn.sources.resolve import is_pattern, match_pattern, search_folder
from mspn.structures.image import SourceFailure


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def relative(found: list[Path | SourceFailure], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in found if isinstance(path, Path)]


def test_a_folder_and_those_below_are_searched_in_order(tmp_path: Path):
    make_files(tmp_path, "b.jpg", "a.PNG", "notes.txt", "z/c.mp4", "m/deep/d.webp", "z/p.HEIC")
    make_files(tmp_path, ".hidden.jpg", ".cache/e.jpg")

    found = list(search_folder(tmp_path))

    assert relative(found, tmp_path) == ["a.PNG", "b.jpg", "m/deep/d.webp", "z/c.mp4", "z/p.HEIC"]


def test_a_folder_that_is_named_like_an_image_is_a_folder(tmp_path: Path):
    make_files(tmp_path, "album.jpg/a.jpg")

    assert relative(list(search_folder(tmp_path)), tmp_path) == ["album.jpg/a.jpg"]


def test_a_loop_of_links_is_one_line_and_the_rest_is_found(tmp_path: Path):
    make_files(tmp_path, "a.jpg", "below/b.jpg")
    (tmp_path / "below" / "again").symlink_to(tmp_path, target_is_directory=True)

    found = list(search_folder(tmp_path))

    assert relative(found, tmp_path) == ["a.jpg", "below/b.jpg"]
    again = tmp_path / "below" / "again"
    assert found[-1] == SourceFailure(
        str(again), f"{again} is a link back to a folder that holds it; what is there is read once"
    )


def test_what_two_links_lead_to_is_found_once(tmp_path: Path):
    make_files(tmp_path, "elsewhere/a.jpg")
    search = tmp_path / "search"
    search.mkdir()
    (search / "one").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (search / "two").symlink_to(tmp_path / "elsewhere", target_is_directory=True)

    assert relative(list(search_folder(search)), search) == ["one/a.jpg"]


def test_the_folder_of_the_results_is_left_out_unless_it_is_named_itself(tmp_path: Path):
    make_files(tmp_path, "a.jpg", "results/images/a.jpg")

    assert relative(list(search_folder(tmp_path, [tmp_path / "results"])), tmp_path) == ["a.jpg"]
    assert relative(list(search_folder(tmp_path / "results", [tmp_path / "results"])), tmp_path) == [
        "results/images/a.jpg"
    ]


def test_a_folder_without_rights_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make_files(tmp_path, "a.jpg", "secret/b.jpg")
    list_folder = os.listdir

    def refuse_secrets(path: Path) -> list[str]:
        if path.name == "secret":
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "listdir", refuse_secrets)

    found = list(search_folder(tmp_path))
    matching = list(match_pattern(f"{tmp_path}/*/*.jpg"))

    assert relative(found, tmp_path) == ["a.jpg"]
    secret = tmp_path / "secret"
    problem = SourceFailure(str(secret), f"{secret} cannot be searched (Permission denied); check its rights")
    assert found[1] == problem
    assert matching == [problem]


def test_a_folder_in_which_nobody_may_look_further_hides_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    make_files(tmp_path, "names/a.jpg", "names/sub/b.jpg", "other/c.jpg")
    look_up = Path.is_dir

    def refuse_names(path: Path) -> bool:
        if path.parent.name == "names":
            raise PermissionError(13, "Permission denied", str(path))
        return look_up(path)

    monkeypatch.setattr(Path, "is_dir", refuse_names)

    # Reading a.jpg will say why it cannot be.
    assert relative(list(search_folder(tmp_path)), tmp_path) == ["names/a.jpg", "other/c.jpg"]


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*.jpg", ["a.jpg", "b.jpg"]),
        ("[!a].jpg", ["b.jpg"]),
        ("?.*", ["a.jpg", "b.jpg", "c.heic"]),
        ("x/*.jpg", ["x/d.jpg"]),
        ("*/*.jpg", ["x/d.jpg"]),
        ("**/*.jpg", ["a.jpg", "b.jpg", "x/d.jpg", "x/y/e.jpg"]),
        ("**/**/e.*", ["x/y/e.jpg"]),
        ("x/**", ["x/d.jpg", "x/y/e.jpg"]),
        ("**/y/*", ["x/y/e.jpg"]),
        ("*", ["a.jpg", "b.jpg", "c.heic", "x"]),
        (".*", [".hidden.jpg"]),
        ("*.png", []),
        ("nowhere/*.jpg", []),
    ],
)
def test_patterns_match_as_in_a_shell(pattern: str, matches: list[str], tmp_path: Path):
    make_files(tmp_path, "a.jpg", "b.jpg", "c.heic", ".hidden.jpg", "x/d.jpg", "x/y/e.jpg")

    found = list(match_pattern(str(tmp_path / pattern)))

    assert relative(found, tmp_path) == matches


def test_patterns_end_in_loops_of_links(tmp_path: Path):
    make_files(tmp_path, "a.jpg", "below/b.jpg")
    (tmp_path / "below" / "again").symlink_to(tmp_path, target_is_directory=True)

    found = list(match_pattern(str(tmp_path / "**" / "*.jpg")))

    assert relative(found, tmp_path) == ["a.jpg", "below/b.jpg"]
    assert isinstance(found[-1], SourceFailure)


def test_a_file_whose_name_has_wildcards_is_no_pattern(tmp_path: Path):
    make_files(tmp_path, "IMG[1].jpg")

    assert not is_pattern(str(tmp_path / "IMG[1].jpg"))
    assert is_pattern(str(tmp_path / "IMG[2].jpg"))
    assert not is_pattern(str(tmp_path / "IMG.jpg"))


def test_folders_may_be_nested_deeper_than_python_calls(tmp_path: Path):
    deep = tmp_path.joinpath(*["d"] * 150, "a.jpg")
    make_files(deep.parent, deep.name)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = list(search_folder(tmp_path))
    finally:
        sys.setrecursionlimit(limit)

    assert found == [deep]


def test_a_program_in_typescript_is_no_transport_stream(tmp_path: Path):
    make_files(tmp_path, "a.jpg", "program.ts", "b.h264", "c.mjpeg")
    # A packet has 188 bytes and begins with G.
    (tmp_path / "film.ts").write_bytes((b"G" + bytes(187)) * 3)

    assert relative(list(search_folder(tmp_path)), tmp_path) == ["a.jpg", "b.h264", "c.mjpeg", "film.ts"]
