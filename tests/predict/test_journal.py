from pathlib import Path

import numpy as np
import pytest

from mspn.picture import Moment, Picture, Video
from mspn.predict.journal import JOURNAL_FILE, Journal
from mspn.predict.pipeline import PictureResult
from mspn.records import Box, Pose, Size
from mspn.skeleton import COCO_17

SETTINGS = {"models": ["default"], "threshold": 0.3}
PIXELS = np.zeros((60, 50, 3), np.uint8)


def _open(folder: Path, *, resume: bool = True) -> Journal:
    return Journal(folder, SETTINGS, COCO_17, resume=resume)


def _frame(number: int, *, is_live: bool = False) -> Picture:
    video = Video("walk.mp4", Size(60, 50), None, None, is_live)
    return Picture("walk.mp4", PIXELS, Moment(video, number, number / 25))


def _result(picture: Picture, seed: int = 0, problems: tuple[str, ...] = ()) -> PictureResult:
    random = np.random.default_rng(seed)
    pose = Pose(COCO_17, random.random((17, 2)) / 3, random.random(17), 1 / 3, 2 / 3, Box(0.1, 0.2, 1 / 7, 9), 0.7)
    return PictureResult(picture.source, picture, [pose], list(problems))


def test_what_was_noted_comes_back_to_the_last_digit(tmp_path: Path):
    picture = Picture("a.jpg", PIXELS)
    result = _result(picture)
    with _open(tmp_path) as journal:
        journal.note(result)
        journal.note(_result(_frame(3)))

    with _open(tmp_path) as journal:
        (pose,) = journal.recall(picture) or []
        assert journal.num_done_before == 2
        assert journal.recall(_frame(3)) is not None
        assert journal.recall(_frame(4)) is None
        assert journal.recall(Picture("b.jpg", PIXELS)) is None

    (before,) = result.poses
    np.testing.assert_array_equal(pose.keypoints_image, before.keypoints_image)
    np.testing.assert_array_equal(pose.keypoint_scores, before.keypoint_scores)
    assert (pose.score, pose.ranking_score, pose.box, pose.box_score) == (1 / 3, 2 / 3, Box(0.1, 0.2, 1 / 7, 9), 0.7)


def test_a_done_picture_has_a_black_one_of_its_size_to_stand_in_for_it(tmp_path: Path):
    with _open(tmp_path) as journal:
        journal.note(_result(Picture("a.jpg", PIXELS)))
        journal.note(_result(_frame(0)))

    with _open(tmp_path) as journal:
        stand_in = journal.stand_in("a.jpg")
        assert stand_in is not None
        assert stand_in.size == Size(60, 50)
        assert journal.stand_in("walk.mp4") is None
        assert journal.stand_in("b.jpg") is None


def test_a_line_that_was_cut_short_is_taken_away_and_written_again(tmp_path: Path):
    with _open(tmp_path) as journal:
        for number in range(3):
            journal.note(_result(_frame(number), number))
    whole = (tmp_path / JOURNAL_FILE).read_bytes()
    (tmp_path / JOURNAL_FILE).write_bytes(whole[:-100])

    with _open(tmp_path) as journal:
        assert journal.num_done_before == 2
        journal.note(_result(_frame(2), 2))

    assert (tmp_path / JOURNAL_FILE).read_bytes() == whole


@pytest.mark.parametrize("content", ["", '{"settings'])
def test_a_journal_that_was_cut_short_at_its_start_is_begun_anew(tmp_path: Path, content: str):
    (tmp_path / JOURNAL_FILE).write_text(content)

    with _open(tmp_path) as journal:
        journal.note(_result(_frame(0)))

    with _open(tmp_path) as journal:
        assert journal.num_done_before == 1


def test_without_resume_everything_is_to_be_done(tmp_path: Path):
    with _open(tmp_path) as journal:
        journal.note(_result(Picture("a.jpg", PIXELS)))

    with _open(tmp_path, resume=False) as journal:
        assert journal.num_done_before == 0
    with _open(tmp_path) as journal:
        assert journal.num_done_before == 0


def test_what_has_problems_or_comes_from_a_camera_or_is_there_already_is_not_noted(tmp_path: Path):
    with _open(tmp_path) as journal:
        journal.note(_result(Picture("a.jpg", PIXELS)))
        journal.note(_result(Picture("a.jpg", PIXELS)))
        journal.note(_result(Picture("b.jpg", PIXELS), problems=("a box is empty",)))
        journal.note(PictureResult("c.jpg", None, [], ["no picture"]))
        journal.note(_result(_frame(0, is_live=True)))

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
            journal.note(_result(Picture("a.jpg", PIXELS)))
