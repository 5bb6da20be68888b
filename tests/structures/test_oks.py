import math

import numpy as np
import pytest

from mspn.structures.boxes import Box
from mspn.structures.oks import oks_nms
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17


def _pose(x: float, rank: float, side: float = 100.0) -> Pose:
    """All keypoints at (x, 0)."""
    return Pose(
        COCO_17,
        np.tile([x, 0.0], (17, 1)),
        np.ones(17),
        score=rank,
        ranking_score=rank,
        box=Box(0, 0, side, side),
        box_score=1.0,
    )


def test_the_lower_ranking_of_two_similar_poses_is_left_out():
    best, copy, other = _pose(0, 0.9), _pose(1, 0.5), _pose(200, 0.7)

    assert oks_nms([copy, other, best], 0.9) == [best, other]


def test_a_pose_that_is_left_out_leaves_out_nobody():
    # 10 pixels apart they have a similarity of 0.65, 20 pixels apart one of 0.32.
    chain = [_pose(0, 0.9), _pose(10, 0.8), _pose(20, 0.7)]

    assert oks_nms(chain, 0.5) == [chain[0], chain[2]]


@pytest.mark.parametrize(("threshold", "kept"), [(0.64, 1), (0.65, 2)])
def test_similarity_is_cocos_for_the_mean_area(threshold: float, kept: int):
    # 10 pixels apart, areas of 2500 and 17500 pixels: exp(-100 / (2 (2 sigma)^2 10000)) averaged over keypoints.
    similarity = sum(math.exp(-100 / (2 * (2 * sigma) ** 2 * 10_000)) for sigma in COCO_17.sigmas) / 17
    assert 0.64 < similarity < 0.65

    pair = [_pose(0, 0.9, side=50.0), _pose(10, 0.8, side=math.sqrt(17_500))]

    assert len(oks_nms(pair, threshold)) == kept


@pytest.mark.parametrize("count", [0, 1])
def test_nobody_and_a_single_person_stay(count: int):
    assert len(oks_nms([_pose(0, 0.5)] * count, 0.9)) == count
