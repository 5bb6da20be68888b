import gc
import os
from pathlib import Path

import pytest

from mspn.errors import AnnotationError
from mspn.labels.reading import (
    path_inside,
    paused_collection,
    plain_number,
    read_json,
    skeleton_of,
    skeleton_of_labels,
)
from mspn.structures.skeleton import COCO_17, Skeleton

_NOT_ON_WINDOWS = () if os.name == "nt" else ("12:30.jpg", "c:a.jpg", "b\\a.jpg")
KITE = Skeleton(name="kite", keypoints=("top", "tail"))


def test_collection_goes_on_after_a_pause_whatever_happens():
    with pytest.raises(AnnotationError), paused_collection():
        path_inside(Path("set"), "..")

    assert gc.isenabled()


def test_a_pause_within_a_pause_does_not_end_it():
    with paused_collection():
        with paused_collection():
            pass

        assert not gc.isenabled()


def test_whole_numbers_have_no_point():
    assert repr([plain_number(value) for value in (2.0, 2.5, -3.0)]) == "[2, 2.5, -3]"


@pytest.mark.parametrize("name", ["a.jpg", "b/c/a.jpg", "./a.jpg", "a..jpg", *_NOT_ON_WINDOWS])
def test_a_name_within_the_folder_is_a_path_there(name: str):
    assert path_inside(Path("set"), name) == Path("set") / name


@pytest.mark.parametrize("name", ["12:30.jpg", "c:a.jpg", "b\\a.jpg"])
def test_windows_has_names_that_lead_elsewhere_there_alone(name: str, monkeypatch: pytest.MonkeyPatch):
    folder = Path("set")

    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        with pytest.raises(AnnotationError, match="leads out of set; nothing is written there"):
            path_inside(folder, name)


_OUTSIDE_ON_WINDOWS = ("c:/a.jpg", "c:\\a.jpg", "\\a.jpg", "..\\a.jpg", "b\\..\\..\\a.jpg", "\\\\server\\share\\a.jpg")


@pytest.mark.parametrize("name", ["../a.jpg", "b/../../a.jpg", "/a.jpg", "//a/b.jpg", "", ".", *_OUTSIDE_ON_WINDOWS])
def test_a_name_that_leads_elsewhere_is_refused(name: str):
    with pytest.raises(AnnotationError, match="leads out of set; nothing is written there"):
        path_inside(Path("set"), name)


def test_the_same_names_in_the_same_order_are_a_known_skeleton():
    assert skeleton_of(Path("a.json"), COCO_17.keypoints) is COCO_17
    assert skeleton_of(Path("a.json"), ["top", "tail"], known=KITE) is KITE
    assert skeleton_of(Path("a.json"), ["tail", "top"], known=KITE).name == "a"


def test_labels_are_a_known_skeleton_in_any_order():
    assert skeleton_of_labels(Path("a.json"), ["tail", "top", "tail"], KITE) is KITE
    assert skeleton_of_labels(Path("a.json"), ["tail", "top", "west"], KITE).keypoints == ("tail", "top", "west")


def test_no_labels_are_no_skeleton():
    with pytest.raises(AnnotationError, match=r"a\.json has no labeled keypoint, nor a list of their labels"):
        skeleton_of_labels(Path("a.json"), [], KITE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_is_read_in_any_encoding_that_it_may_have(encoding: str, tmp_path: Path):
    (tmp_path / "a.json").write_bytes('{"é": 1}'.encode(encoding))

    assert read_json(tmp_path / "a.json") == {"é": 1}


def test_json_lines_are_a_list(tmp_path: Path):
    (tmp_path / "a.json").write_text('{"a": 1}\n\n[2]\n')

    assert read_json(tmp_path / "a.json") == [{"a": 1}, [2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 100_000, r"a\.json nests its values too deep to be labels"),
        ("9" * 5000, r"a\.json is not JSON \(Exceeds the limit"),
        ("[1,\n2", r"a\.json is not JSON \(.* line 2"),
    ],
)
def test_json_that_cannot_be_parsed_is_one_line(content: str, message: str, tmp_path: Path):
    (tmp_path / "a.json").write_text(content)

    with pytest.raises(AnnotationError, match=message):
        read_json(tmp_path / "a.json")


def test_the_sigmas_of_new_names_are_those_of_the_keypoints_whatever_their_spelling():
    skeleton = skeleton_of(Path("a.json"), ["Left Shoulder", "R_wrist", "tail"])

    assert skeleton.sigmas == (0.079, 0.062, 0.079)
