import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mspn.outputs.adapters import (
    SupervisionTracker,
    poses_to_supervision_detections,
    poses_to_supervision_keypoints,
    to_dataframe,
)
from mspn.outputs.tables import KeypointRow
from mspn.structures.image import FrameInfo
from mspn.structures.pose import Pose
from tests.outputs.results import a_pose, a_video, of_frame, of_image


def test_a_data_frame_has_a_row_for_each_keypoint():
    pytest.importorskip("pandas")

    frame = to_dataframe([of_image("a.jpg"), of_frame(a_video("match.mp4"), 3, 0.12)])

    assert list(frame.columns) == list(KeypointRow._fields)
    assert len(frame) == 34
    row = frame.iloc[18]
    assert (row.source, row.frame, row.seconds, row.person, row.keypoint) == ("match.mp4", 3, 0.12, 0, "left_eye")
    assert (row.x, row.y, row.score, row.box_height) == (2, 3, 0.75, 40)
    assert frame.frame.isna().tolist() == [True] * 17 + [False] * 17


def test_poses_of_one_image_are_numbered_and_need_no_source():
    pytest.importorskip("pandas")

    frame = to_dataframe([a_pose(), a_pose()])

    assert list(frame.columns) == list(KeypointRow._fields)
    assert frame.person.tolist() == [0] * 17 + [1] * 17
    assert set(frame.source) == {""}
    assert frame.frame.isna().all()
    assert frame.seconds.isna().all()


def test_an_image_without_people_has_one_row_of_its_own():
    pytest.importorskip("pandas")

    frame = to_dataframe([of_image("a.jpg", poses=[]), of_image("b.jpg")])

    assert frame.source.tolist() == ["a.jpg"] + ["b.jpg"] * 17
    assert frame.person.isna().tolist() == [True] + [False] * 17
    assert (str(frame.person.dtype), str(frame.x.dtype)) == ("Int64", "float64")


def test_no_poses_are_a_data_frame_without_rows():
    pytest.importorskip("pandas")

    assert to_dataframe([]).shape == (0, 15)


def test_supervision_gets_keypoints_with_their_scores():
    pytest.importorskip("supervision")

    keypoints = poses_to_supervision_keypoints([a_pose()])

    assert keypoints.xy.shape == (1, 17, 2)
    assert keypoints.xy[0, 1].tolist() == [2, 3]
    assert keypoints.keypoint_confidence[0, 1] == 0.75
    np.testing.assert_allclose(keypoints.detection_confidence, [0.6])
    assert keypoints.data["class_name"].tolist() == ["person"]


def test_supervision_gets_boxes_as_corners_with_the_detectors_scores():
    pytest.importorskip("supervision")

    detections = poses_to_supervision_detections([a_pose()])

    assert detections.xyxy.tolist() == [[1, 2, 31, 42]]
    np.testing.assert_allclose(detections.confidence, [0.8])
    assert detections.class_id.tolist() == [0]


def test_nobody_is_empty_for_supervision():
    pytest.importorskip("supervision")

    assert len(poses_to_supervision_keypoints([])) == 0
    assert len(poses_to_supervision_detections([])) == 0


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    monkeypatch.setitem(sys.modules, "supervision", None)

    with pytest.raises(ImportError, match="results for pandas need it; pip install pandas"):
        to_dataframe([])
    with pytest.raises(ImportError, match="results for supervision need it; pip install supervision"):
        poses_to_supervision_keypoints([])


class _ByOrder:
    """A tracker that counts from 0, knows nobody below 0.5, and gives the others back in reverse order."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.num_seen = 0

    def update(self, detections: Any) -> Any:
        detections.tracker_id = np.arange(len(detections)) + self.num_seen
        detections.tracker_id[detections.confidence < 0.5] = -1
        self.num_seen += len(detections)
        return detections[::-1]


def test_ids_of_a_tracker_of_boxes_come_to_their_poses():
    pytest.importorskip("supervision")
    tracker = SupervisionTracker(_ByOrder())
    first, second = of_frame(a_video("a.mp4"), 0, 0.0).image.frame, of_frame(a_video("b.mp4"), 0, 0.0).image.frame
    sure, unsure = a_pose(), replace(a_pose(), box_score=0.4)

    def update(poses: list[Pose], frame: FrameInfo) -> list[int | None]:
        tracked = tracker.update(poses, frame)
        assert [pose.box_score for pose in tracked] == [pose.box_score for pose in poses]
        return [pose.track_id for pose in tracked]

    assert update([sure, unsure, sure], first) == [1, None, 3]
    assert update([], first) == []
    tracker.end_tracks()
    assert update([sure], first) == [4]  # new, though the tracker counts from 0 again
    assert update([sure], second) == [1]
