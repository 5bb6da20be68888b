from pathlib import Path

import numpy as np

from mspn.outputs.kinematics_report import write_kinematics_page
from mspn.structures.skeleton import COCO_17
from mspn.tracking.kinematics import measure_kinematics
from mspn.tracking.tracks import Track, VideoTracks
from tests.walking_figure import walk


def test_curves_of_a_long_track_end_at_each_long_gap(tmp_path: Path):
    # Only every third of the 1241 frames is on the page; the gaps come after 400 and 771 of them.
    frames = np.concatenate([np.arange(400), np.arange(430, 801), np.arange(831, 1301)])
    seconds = frames / 30
    keypoints = walk(seconds).keypoints
    shape = keypoints.shape[:2]
    track = Track(1, frames, seconds, keypoints, np.ones(shape), np.zeros(shape, bool))
    video = VideoTracks("walk.mp4", COCO_17, frames, seconds, (track,))

    page = write_kinematics_page(video, measure_kinematics(track, COCO_17), tmp_path / "none.mp4", tmp_path)

    # Angle and velocity, left and right of four joints and the trunk, in three pieces.
    assert page.read_text().count("<polyline") == 2 * (4 * 2 + 1) * 3
