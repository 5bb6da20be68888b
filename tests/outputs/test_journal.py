import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mspn.outputs.journal import JOURNAL_FILE, Journal, JournalReader
from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box, Size
from mspn.structures.image import FrameInfo, Image, Video
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17

SETTINGS = {"models": ["default"], "threshold": 0.3}
PIXELS = np.zeros((60, 50, 3), np.uint8)


def _open(folder: Path, *, resume: bool = True) -> Journal:
    return Journal(folder, SETTINGS, COCO_17, resume=resume)


def _frame(number: int, *, is_live: bool = False) -> Image:
    video = Video("walk.mp4", Size(60, 50), None, None, is_live)
    return Image("walk.mp4", PIXELS, FrameInfo(video, number, number / 25))


def _result(image: Image, seed: int = 0, problems: tuple[str, ...] = ()) -> ImageResult:
    random = np.random.default_rng(seed)
    pose = Pose(COCO_17, random.random((17, 2)) / 3, random.random(17), 1 / 3, 2 / 3, Box(0.1, 0.2, 1 / 7, 9), 0.7)
    return ImageResult(image.source, image, [pose], list(problems))


def test_what_was_noted_comes_back_to_the_last_digit(tmp_path: Path):
    image = Image("a.jpg", PIXELS)
    result = _result(image)
    with _open(tmp_path) as journal:
        journal.append(result)
        journal.append(_result(_frame(3)))

    with _open(tmp_path) as journal:
        (pose,) = journal.lookup(image) or []
        assert journal.num_done_before == 2
        assert journal.lookup(_frame(3)) is not None
        assert journal.lookup(_frame(4)) is None
        assert journal.lookup(Image("b.jpg", PIXELS)) is None

    (before,) = result.poses
    np.testing.assert_array_equal(pose.keypoints_image, before.keypoints_image)
    np.testing.assert_array_equal(pose.keypoint_scores, before.keypoint_scores)
    assert (pose.score, pose.ranking_score, pose.box, pose.box_score) == (1 / 3, 2 / 3, Box(0.1, 0.2, 1 / 7, 9), 0.7)


def test_colors_of_clothes_come_back_and_those_not_seen_are_unknown(tmp_path: Path):
    colors = np.array([[1 / 3, -20.5, 7.0], [np.nan] * 3])
    result = _result(_frame(0))
    dressed = [replace(result.poses[0], colors=colors), *result.poses]
    with _open(tmp_path) as journal:
        journal.append(replace(result, poses=dressed))

    (read,) = JournalReader(tmp_path).results()
    np.testing.assert_array_equal([pose.colors for pose in read.poses], [colors, np.full((2, 3), np.nan)])


def test_a_done_image_has_a_black_one_of_its_size_to_stand_in_for_it(tmp_path: Path):
    with _open(tmp_path) as journal:
        journal.append(_result(Image("a.jpg", PIXELS)))
        journal.append(_result(_frame(0)))

    with _open(tmp_path) as journal:
        cached_image = journal.cached_image("a.jpg")
        assert cached_image is not None
        assert cached_image.size == Size(60, 50)
        assert journal.cached_image("walk.mp4") is None
        assert journal.cached_image("b.jpg") is None


def test_a_line_that_was_cut_short_is_taken_away_and_written_again(tmp_path: Path):
    with _open(tmp_path) as journal:
        for number in range(3):
            journal.append(_result(_frame(number), number))
    whole = (tmp_path / JOURNAL_FILE).read_bytes()
    (tmp_path / JOURNAL_FILE).write_bytes(whole[:-100])

    with _open(tmp_path) as journal:
        assert journal.num_done_before == 2
        journal.append(_result(_frame(2), 2))

    assert (tmp_path / JOURNAL_FILE).read_bytes() == whole


@pytest.mark.parametrize("content", ["", '{"settings'])
def test_a_journal_that_was_cut_short_at_its_start_is_begun_anew(tmp_path: Path, content: str):
    (tmp_path / JOURNAL_FILE).write_text(content)

    with _open(tmp_path) as journal:
        journal.append(_result(_frame(0)))

    with _open(tmp_path) as journal:
        assert journal.num_done_before == 1


def test_without_resume_everything_is_to_be_done(tmp_path: Path):
    with _open(tmp_path) as journal:
        journal.append(_result(Image("a.jpg", PIXELS)))

    with _open(tmp_path, resume=False) as journal:
        assert journal.num_done_before == 0
    with _open(tmp_path) as journal:
        assert journal.num_done_before == 0


def test_what_has_problems_or_comes_from_a_camera_or_is_there_already_is_not_noted(tmp_path: Path):
    with _open(tmp_path) as journal:
        journal.append(_result(Image("a.jpg", PIXELS)))
        journal.append(_result(Image("a.jpg", PIXELS)))
        journal.append(_result(Image("b.jpg", PIXELS), problems=("a box is empty",)))
        journal.append(ImageResult("c.jpg", None, [], ["no image"]))
        journal.append(_result(_frame(0, is_live=True)))

    with _open(tmp_path) as journal:
        assert journal.num_done_before == 1
    assert len((tmp_path / JOURNAL_FILE).read_text().splitlines()) == 2


def test_what_was_done_with_other_settings_is_refused(tmp_path: Path):
    with _open(tmp_path):
        pass

    with pytest.raises(ValueError, match=r"holds results of threshold 0.3, not of threshold 0.5; --resume goes on"):
        Journal(tmp_path, SETTINGS | {"threshold": 0.5}, COCO_17, resume=True)


@pytest.mark.parametrize("content", ["hello\n", "[]\n", '{"source": "a.jpg"}\n'])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: str):
    (tmp_path / JOURNAL_FILE).write_text(content)

    with pytest.raises(ValueError, match="does not say what was done; move it away, or choose another --out"):
        _open(tmp_path)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with _open(tmp_path) as journal:
        journal._file.close()
        journal._file = open("/dev/full", "wb", buffering=0)  # noqa: PTH123, SIM115

        with pytest.raises(OSError, match=r"could not write .*progress.jsonl \(No space left on device\); is"):
            journal.append(_result(Image("a.jpg", PIXELS)))


def _append(folder: Path, source: Path, number: int, *, resume: bool = True) -> None:
    with _open(folder, resume=resume) as journal:
        journal.begin_source(str(source), number)
        journal.append(_result(Image(str(source), PIXELS)))


def test_a_file_that_has_changed_is_not_done_and_comes_back_with_its_new_entry(tmp_path: Path):
    source = tmp_path / "a.jpg"
    source.write_bytes(b"one")
    _append(tmp_path, source, 0)
    source.write_bytes(b"two")
    with _open(tmp_path) as journal:
        journal.begin_source(str(source), 0)
        assert journal.cached_image(str(source)) is None
        assert journal.lookup(Image(str(source), PIXELS)) is None
    _append(tmp_path, source, 0)

    with _open(tmp_path) as journal:
        journal.begin_source(str(source), 0)
        assert journal.cached_image(str(source)) is not None


def test_frames_of_a_video_that_has_changed_do_not_mix_with_those_of_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    video = Path("walk.mp4")
    for content, frames in ((b"one", range(5)), (b"two", range(2))):
        video.write_bytes(content)
        with _open(tmp_path) as journal:
            journal.begin_source("walk.mp4", 0)
            for number in frames:
                journal.append(_result(_frame(number)))

    with _open(tmp_path) as journal:
        journal.begin_source("walk.mp4", 0)
        assert [number for number in range(5) if journal.lookup(_frame(number)) is not None] == [0, 1]


def test_of_large_files_size_and_time_must_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mspn.outputs.journal._MAX_DIGESTED_BYTES", 2)
    source = tmp_path / "a.mp4"
    source.write_bytes(b"one")
    os.utime(source, ns=(0, 5))
    _append(tmp_path, source, 0)

    for seconds, is_done in ((5, True), (6, False)):
        os.utime(source, ns=(0, seconds))
        with _open(tmp_path) as journal:
            journal.begin_source(str(source), 0)
            assert (journal.cached_image(str(source)) is not None) == is_done


def test_a_line_without_its_end_does_not_count(tmp_path: Path):
    _append(tmp_path, Path("a.jpg"), 0)
    path = tmp_path / JOURNAL_FILE
    path.write_bytes(path.read_bytes()[:-1])

    _append(tmp_path, Path("b.jpg"), 1)

    with _open(tmp_path) as journal:
        assert journal.num_done_before == 1
        assert journal.cached_image("b.jpg") is not None


_ENTRY = json.dumps(
    {"source": "a", "number": 0, "version": None, "frame": None, "seconds": None, "width": 5, "height": 5, "poses": []}
)


@pytest.mark.parametrize(
    "line",
    [
        '{"source": "a.jpg"}',
        _ENTRY.replace('"a"', "5"),
        _ENTRY.replace('"width": 5', '"width": 0'),
        _ENTRY.replace("[]", "[{}]"),
        "[1, 2]",
        "[" * 100_000,
        "null",
        "hello",
    ],
)
def test_a_damaged_line_is_not_done_and_the_others_are(tmp_path: Path, line: str):
    _append(tmp_path, Path("a.jpg"), 0)
    with (tmp_path / JOURNAL_FILE).open("a") as file:
        file.write(line + "\n")
    _append(tmp_path, Path("b.jpg"), 1)

    with _open(tmp_path) as journal:
        assert journal.num_done_before == 2


def test_outputs_of_all_runs_and_the_source_folder_of_the_first_are_kept(tmp_path: Path):
    for outputs, folder in ((("json", "csv"), "in"), (("coco", "json"), "elsewhere")):
        with Journal(tmp_path, SETTINGS, COCO_17, resume=True, outputs=outputs, source_folder=Path(folder)) as journal:
            journal.append(_result(Image("a.jpg", PIXELS)))

    assert journal.outputs == ("coco", "json", "csv")
    assert journal.source_folder == Path("in")
    assert set(JournalReader(tmp_path).outputs) == {"coco", "json", "csv"}
