import numpy as np
import pytest
from pycocotools.cocoeval import Params

from mspn.structures.skeleton import (
    COCO_17,
    CROWDPOSE_14,
    LSP_14,
    MPII_16,
    SKELETONS,
    Skeleton,
    convert_keypoints,
    find_skeleton,
    match_keypoints,
)

ALL = list(SKELETONS.values())


def test_a_mirrored_coco_person_swaps_each_left_and_right():
    # nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right in COCO.
    assert COCO_17.mirror_order == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


def test_mpii_pairs_are_those_of_the_released_code():
    pairs = {tuple(sorted(MPII_16.keypoints.index(name) for name in pair)) for pair in MPII_16.mirrored_pairs}

    assert pairs == {(0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)}


@pytest.mark.parametrize("skeleton", ALL, ids=lambda skeleton: skeleton.name)
def test_mirroring_twice_changes_nothing(skeleton: Skeleton):
    order = skeleton.mirror_order

    assert [order[index] for index in order] == list(range(len(skeleton.keypoints)))


@pytest.mark.parametrize("skeleton", ALL, ids=lambda skeleton: skeleton.name)
def test_every_table_speaks_of_its_own_keypoints(skeleton: Skeleton):
    count = len(skeleton.keypoints)

    assert len(set(skeleton.keypoints)) == count
    assert len(skeleton.sigmas) == count
    assert set(skeleton.upper) <= set(skeleton.keypoints)
    assert {name for limb in skeleton.limbs for name in limb} <= set(skeleton.keypoints)
    assert {name for pair in skeleton.mirrored_pairs for name in pair} <= set(skeleton.keypoints)
    assert all(sigma > 0 for sigma in skeleton.sigmas)


@pytest.mark.parametrize(
    ("skeleton", "upper", "lower"),
    [(COCO_17, range(13), range(13, 17)), (MPII_16, range(7, 16), range(7))],
    ids=["coco", "mpii"],
)
def test_body_halves_are_those_of_the_released_code(skeleton: Skeleton, upper: range, lower: range):
    is_upper = [name in skeleton.upper for name in skeleton.keypoints]

    assert np.flatnonzero(is_upper).tolist() == list(upper)
    assert np.flatnonzero(np.logical_not(is_upper)).tolist() == list(lower)


def test_the_lower_half_of_lsp_is_knees_and_ankles():
    assert [name for name in LSP_14.keypoints if name not in LSP_14.upper] == [
        *("right_ankle", "right_knee", "left_knee", "left_ankle"),
    ]


def test_coco_sigmas_are_those_of_pycocotools():
    np.testing.assert_allclose(COCO_17.sigmas, Params("keypoints").kpt_oks_sigmas)


@pytest.mark.parametrize("skeleton", [LSP_14, MPII_16, CROWDPOSE_14], ids=lambda skeleton: skeleton.name)
def test_a_keypoint_that_coco_has_keeps_its_coco_sigma(skeleton: Skeleton):
    shared = [name for name in skeleton.keypoints if name in COCO_17.keypoints]

    ours = [skeleton.sigmas[skeleton.keypoints.index(name)] for name in shared]

    assert ours == [COCO_17.sigmas[COCO_17.keypoints.index(name)] for name in shared]


def test_limb_indices_are_the_positions_of_the_limb_names():
    # The first limb of COCO joins the nose (0) and the left eye (1), the last the right knee (14) and ankle (16).
    assert COCO_17.limb_indices[0] == (0, 1)
    assert COCO_17.limb_indices[-1] == (14, 16)


def test_a_skeleton_is_found_by_its_name():
    assert find_skeleton("mpii-16") is MPII_16


def test_an_unnamed_skeleton_has_any_number_of_keypoints_and_no_pairs():
    skeleton = find_skeleton("unnamed-5")

    assert skeleton.name == "unnamed-5"
    assert skeleton.keypoints == ("keypoint_0", "keypoint_1", "keypoint_2", "keypoint_3", "keypoint_4")
    assert skeleton.sigmas == (0.079,) * 5
    assert skeleton.mirror_order == [0, 1, 2, 3, 4]
    assert skeleton.limb_indices == []


@pytest.mark.parametrize("name", ["coco-18", "unnamed-", "unnamed-five", "unnamed-0", "unnamed-1001", ""])
def test_an_unknown_skeleton_is_refused_with_the_known_ones(name: str):
    with pytest.raises(ValueError, match=rf"no skeleton '{name}'; there are coco-17, .* and unnamed-N for N"):
        find_skeleton(name)


def test_keypoints_are_matched_by_name_and_the_others_are_unlabeled():
    lsp = np.zeros((1, 14, 3), np.float32)
    lsp[0, 0] = (10, 90, 2)  # right ankle: number 16 of COCO
    lsp[0, 12] = (20, 5, 1)  # neck: not in COCO

    coco = convert_keypoints(lsp, LSP_14, COCO_17)

    expected = np.zeros((1, 17, 3), np.float32)
    expected[0, 16] = (10, 90, 2)
    np.testing.assert_array_equal(coco, expected)
    assert coco.dtype == np.float32


def test_converting_to_the_same_skeleton_changes_nothing():
    keypoints = np.random.default_rng(1).uniform(0, 100, (2, 3, 17, 3))

    np.testing.assert_array_equal(convert_keypoints(keypoints, COCO_17, COCO_17), keypoints)


def test_left_and_right_are_found_however_they_are_spelled():
    skeleton = Skeleton(name="face", keypoints=("nose", "L Eye", "REye", "ear-left", "EAR RIGHT", "left_brow"))

    assert skeleton.mirrored_pairs == (("L Eye", "REye"), ("ear-left", "EAR RIGHT"))


@pytest.mark.parametrize("name", ["left_eye", "left eye", "Left-Eye", "LEFT_EYE", "l_eye", "LEye", "leftEye", "eye_l"])
def test_spellings_of_one_keypoint_match(name: str):
    assert match_keypoints(["right_eye", name], ["left_eye"]) == {"left_eye": name}


def test_the_exact_name_wins_and_two_alike_match_nothing():
    assert match_keypoints(["L eye", "left_eye"], ["left_eye"]) == {"left_eye": "left_eye"}
    assert match_keypoints(["L eye", "Left Eye"], ["left_eye"]) == {}
