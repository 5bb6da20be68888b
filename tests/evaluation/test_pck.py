import numpy as np
import pytest

from mspn.evaluation.pck import PCK_TORSO, PCKH, compute_pck
from mspn.structures.skeleton import LSP_14, MPII_16, Skeleton

FIVE = Skeleton(name="five", keypoints=("head_top", "neck", "left_wrist", "right_wrist", "pelvis"))

# Four people with heads of 10, 20, 40 and 100 pixels: a half is 5, 10, 20 and 50, a tenth is 1, 2, 4 and 10.
LENGTHS = np.array([10.0, 20, 40, 100])
NOT_FOUND = np.inf
ERRORS = np.array(
    [
        # head top, neck, left wrist, right wrist, pelvis
        [5, 0, 1, 0, 0],
        [10.5, 0, 9, 0, 0],
        [4, 0, 30, 0, 0],
        [0, 0, NOT_FOUND, 9, 0],
    ]
)
LABELED = np.array(
    [
        [1, 0, 1, 0, 1],
        [1, 0, 1, 0, 1],
        [1, 0, 1, 0, 1],
        [0, 0, 1, 1, 1],
    ],
    bool,
)


def test_each_part_counts_what_lies_within_half_a_head():
    correct = compute_pck(ERRORS, LENGTHS, LABELED, FIVE, PCKH)

    # Just half a head (5 of 10) is found, 10.5 of 20 is not; whoever is not found at all has missed.
    assert correct.by_keypoint == pytest.approx(
        {"head_top": 2 / 3, "neck": -1, "left_wrist": 2 / 4, "right_wrist": 1 / 1, "pelvis": 4 / 4}
    )
    # Left and right wrist weigh the same in the table, and by their labels (4 and 1) in the mean, without the pelvis.
    assert correct.table == pytest.approx({"Head": 2 / 3, "Wrist": (2 / 4 + 1) / 2, "Mean": (2 + 2 + 1) / (3 + 4 + 1)})


def test_the_summary_is_at_two_thresholds_and_the_area_between():
    correct = compute_pck(ERRORS, LENGTHS, LABELED, FIVE, PCKH)

    # Of eight keypoints, within 0.09 one, 0.10 three, 0.45 four, 0.50 five. In steps of 0.01, the last one half:
    # one at 0.09, three at 0.10 to 0.44, four at 0.45 to 0.49.
    area = (1 * 1 + 35 * 3 + 5 * 4 + 5 / 2) / 50 / 8
    assert correct.stats == pytest.approx({"PCKh@0.5": 5 / 8, "PCKh@0.1": 3 / 8, "AUC": area})


def test_pck_has_other_thresholds_counts_the_pelvis_and_takes_the_neck_for_head():
    labeled = LABELED.copy()
    labeled[:, 1] = [True, True, False, False]

    correct = compute_pck(ERRORS, LENGTHS, labeled, FIVE, PCK_TORSO)

    # A fifth is 2, 4, 8 and 20 pixels: one of three head tops, both necks, one of four left wrists, the right one.
    assert correct.table == pytest.approx({"Head": (1 / 3 + 1) / 2, "Wrist": (1 / 4 + 1) / 2, "Mean": 9 / 14})
    assert correct.stats["PCK@0.2"] == pytest.approx((1 + 2 + 1 + 1 + 4) / (3 + 2 + 4 + 1 + 4))
    assert correct.stats["PCK@0.1"] == pytest.approx((1 + 2 + 1 + 1 + 4) / 14)


def test_nobody_is_minus_one():
    correct = compute_pck(np.zeros((0, 5)), np.zeros(0), np.zeros((0, 5), bool), FIVE, PCKH)

    assert correct.stats == {"PCKh@0.5": -1, "PCKh@0.1": -1, "AUC": -1}
    assert correct.table == {"Head": -1, "Wrist": -1, "Mean": -1}


def test_perfect_results_have_the_papers_columns_and_an_area_of_one():
    columns = ["Head", "Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle", "Mean"]
    for skeleton, measure in ((MPII_16, PCKH), (LSP_14, PCK_TORSO)):
        shape = (2, len(skeleton.keypoints))

        correct = compute_pck(np.zeros(shape), np.ones(2), np.ones(shape, bool), skeleton, measure)

        assert correct.table == dict.fromkeys(columns, 1.0)
        assert list(correct.table) == columns
        assert correct.stats["AUC"] == pytest.approx(1)
