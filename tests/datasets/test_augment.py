import numpy as np
import pytest

from mspn.config.train import (
    MMPOSE_AUGMENTATION,
    NO_AUGMENTATION,
    PAPER_AUGMENTATION,
    RELEASED_AUGMENTATION,
    AugmentationConfig,
)
from mspn.datasets.augmentation import augment_frame, half_body_box
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import CropFrame
from mspn.structures.skeleton import COCO_17
from tests.golden import golden_pipeline

SIZE = Size(256, 192)
BOX = Box(100, 50, 90, 120)  # already 3 : 4
NOBODY = np.zeros((17, 3))
ALWAYS_HALF = RELEASED_AUGMENTATION.model_copy(update={"half_body_probability": 1.0})


def body(upper: int, lower: int) -> np.ndarray:
    """Some labeled keypoints of each half: upper ones from (0, 0) to (12, 24), lower ones from y = 100 on."""
    keypoints = np.zeros((17, 3))
    for index in range(upper):
        keypoints[index] = (index, 2 * index, 2)
    for index in range(13, 13 + lower):
        keypoints[index] = (3 * index, 100 + index, 1)
    return keypoints


def draw_frames(config: AugmentationConfig, keypoints: np.ndarray = NOBODY, count: int = 500) -> list[CropFrame]:
    rng = np.random.default_rng(21)
    return [augment_frame(BOX, keypoints, SIZE, config, COCO_17, rng) for _ in range(count)]


def draw_halves(config: AugmentationConfig, keypoints: np.ndarray, count: int = 500) -> list[str]:
    """Which half each of many draws takes."""
    rng = np.random.default_rng(22)
    boxes = [half_body_box(keypoints, config, COCO_17, rng) for _ in range(count)]
    return ["whole" if box is None else "upper" if box.top < 100 else "lower" for box in boxes]


def test_without_augmentation_the_frame_is_the_boxs():
    frame = draw_frames(NO_AUGMENTATION, count=1)[0]

    assert frame == CropFrame((145, 110), 90, SIZE)


def test_the_same_state_gives_the_same_frame():
    first, second = (
        augment_frame(BOX, body(13, 4), SIZE, RELEASED_AUGMENTATION, COCO_17, np.random.default_rng(5))
        for _ in range(2)
    )

    assert first == second


def test_released_scales_reach_from_the_padded_box_to_the_widest_padding():
    widths = np.array([frame.width_image for frame in draw_frames(RELEASED_AUGMENTATION, count=4000)])

    # 90 wide, padded by 1.05 and up to 1.6 (or 1.8 in height, which the fit turns into width), then 0.6 to 1.
    assert widths.min() > 90 * 1.05 * 0.6
    assert widths.max() < 90 * 1.05 * 1.8
    assert widths.min() < 90 * 1.05 * 0.6 * 1.1
    assert widths.max() > 90 * 1.05 * 1.8 * 0.9


def test_the_papers_scales_are_0_7_to_1_35():
    widths = np.array([frame.width_image for frame in draw_frames(PAPER_AUGMENTATION, count=4000)])

    assert 90 * 0.7 <= widths.min() < 90 * 0.71
    assert 90 * 1.34 < widths.max() <= 90 * 1.35


@pytest.mark.parametrize(("config", "share"), [(RELEASED_AUGMENTATION, 0.5), (PAPER_AUGMENTATION, 1.0)])
def test_rotations_reach_45_degrees_to_both_sides(config: AugmentationConfig, share: float):
    degrees = np.array([frame.rotation_degrees for frame in draw_frames(config, count=4000)])

    turned = degrees[degrees != 0]
    # Of 4000 draws the share is within 0.04: five standard deviations of a fair coin.
    assert len(turned) / 4000 == pytest.approx(share, abs=0.04)
    assert -45 <= turned.min() < -44
    assert 44 < turned.max() <= 45
    assert turned.mean() == pytest.approx(0, abs=3)


def test_half_of_the_frames_are_mirrored():
    mirrored = [frame.mirrored for frame in draw_frames(RELEASED_AUGMENTATION, count=4000)]

    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.04)


def test_the_center_stays_unless_the_body_is_halved():
    assert {frame.center_image for frame in draw_frames(RELEASED_AUGMENTATION)} == {(145, 110)}


def test_the_golden_half_body_is_around_the_labeled_keypoints_of_the_legs():
    golden = golden_pipeline()["half_body"]
    keypoints = np.column_stack([golden["keypoints_image"], np.full(17, 2)])
    rng = np.random.default_rng(23)

    boxes = {half_body_box(keypoints, ALWAYS_HALF, COCO_17, rng) for _ in range(20)}

    # Upper or lower; the released code drew the lower one, then padded it at random and fitted it to 3 : 4.
    lower = next(box for box in boxes if box.center == pytest.approx(golden["center_image"], abs=1e-3))
    width, height = (200 * scale for scale in golden["scale"])
    assert len(boxes) == 2
    assert width / height == pytest.approx(0.75)
    assert 1 <= height / lower.height <= 1.8
    assert lower.width <= width


def test_a_half_body_frame_is_centered_on_the_half_and_drops_the_base_padding():
    config = AugmentationConfig(
        half_body_probability=1, random_padding=(0, 0), base_padding=2, scale=(1, 1), rotation_probability=0
    )

    frames = draw_frames(config, body(13, 0), count=20)

    # The upper half alone: 12 wide, 24 high around (6, 12); three quarters of 24 is 18.
    assert {frame.center_image for frame in frames} == {(6, 12)}
    assert {frame.width_image for frame in frames} == {18}


def test_a_fair_coin_chooses_the_half():
    halves = draw_halves(ALWAYS_HALF, body(13, 4), count=4000)

    assert halves.count("whole") == 0
    # The released code's coin fell to the upper half in 69 of 100 cases.
    assert halves.count("upper") / 4000 == pytest.approx(0.5, abs=0.04)


def test_three_of_ten_are_halved_in_the_released_code():
    halves = draw_halves(RELEASED_AUGMENTATION, body(13, 4), count=4000)

    assert halves.count("whole") / 4000 == pytest.approx(0.7, abs=0.04)


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [
        (3, 0, {"whole"}),  # three labeled keypoints are too few
        (4, 0, {"upper"}),
        (4, 3, {"upper"}),  # a half needs more than three
        (3, 4, {"lower"}),
        (4, 4, {"upper", "lower"}),
        (3, 3, {"upper"}),  # neither half has enough: the upper one serves, as in the released code
        (2, 3, {"whole"}),  # two keypoints make no box
    ],
)
def test_a_half_with_too_few_keypoints_gives_way_to_the_other(upper: int, lower: int, expected: set[str]):
    assert set(draw_halves(ALWAYS_HALF, body(upper, lower), count=50)) == expected


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [(8, 0, {"whole"}), (9, 0, {"whole", "upper"}), (6, 3, {"whole", "upper", "lower"})],
)
def test_the_paper_halves_people_with_more_than_eight_keypoints(upper: int, lower: int, expected: set[str]):
    assert set(draw_halves(PAPER_AUGMENTATION, body(upper, lower), count=50)) == expected


def test_the_papers_half_body_is_drawn_every_other_time():
    halves = draw_halves(PAPER_AUGMENTATION, body(13, 4), count=4000)

    # Four deviations of 4,000 coins are 0.03.
    assert halves.count("whole") / 4000 == pytest.approx(0.5, abs=0.03)
    assert halves.count("upper") / 4000 == pytest.approx(0.25, abs=0.03)


def test_unlabeled_keypoints_do_not_widen_a_half():
    keypoints = body(6, 0)
    keypoints[12] = (900, 900, 0)

    box = half_body_box(keypoints, ALWAYS_HALF, COCO_17, np.random.default_rng(1))

    # Keypoints (0, 0), (1, 2) ... (5, 10).
    assert box == Box(0, 0, 5, 10)


def test_keypoints_on_one_line_make_no_half():
    keypoints = np.zeros((17, 3))
    keypoints[:6] = [(5, y, 2) for y in range(6)]

    assert half_body_box(keypoints, ALWAYS_HALF, COCO_17, np.random.default_rng(1)) is None


@pytest.mark.parametrize(
    ("config", "frames"),
    [
        (
            RELEASED_AUGMENTATION,
            [
                CropFrame((145.0, 110.0), 114.84186562139199, SIZE, 0.0, mirrored=True),
                CropFrame((145.0, 110.0), 144.88580090035603, SIZE, 31.847381866128003, mirrored=False),
                CropFrame((6.0, 12.0), 17.78496000263721, SIZE, 0.0, mirrored=True),
                CropFrame((6.0, 12.0), 20.63916107807306, SIZE, 25.61899931646809, mirrored=True),
            ],
        ),
        (
            PAPER_AUGMENTATION,
            [
                CropFrame((145.0, 110.0), 99.8967933286234, SIZE, -6.893534487621956, mirrored=True),
                CropFrame((145.0, 110.0), 121.07538522259068, SIZE, 31.847381866128003, mirrored=False),
                CropFrame((6.0, 12.0), 17.764315638527606, SIZE, -5.372828666861011, mirrored=True),
                CropFrame((6.0, 12.0), 17.633281842515547, SIZE, 25.61899931646809, mirrored=True),
            ],
        ),
    ],
    ids=["released", "paper"],
)
def test_a_seed_gives_the_frames_that_it_always_gave(config: AugmentationConfig, frames: list[CropFrame]):
    assert draw_frames(config, body(13, 4), count=4) == frames


def test_mmpose_scales_turns_and_shifts_as_a_normal_distribution_cut_at_one_deviation():
    frames = draw_frames(MMPOSE_AUGMENTATION, count=8000)

    # 90 x 120 padded by 1.25 is 112.5 x 150; scales are 0.5 to 1.5, turns up to 80 degrees, shifts up to 16 %.
    scales = np.array([frame.width_image for frame in frames]) / 112.5
    degrees = np.array([frame.rotation_degrees for frame in frames])
    shifts = (np.array([frame.center_image for frame in frames]) - (145, 110)) / (112.5, 150)
    turned, shifted = degrees[degrees != 0], shifts[(shifts != 0).any(1)]
    for values, limit, share in ((scales - 1, 0.5, 1.0), (turned, 80, 0.6), (shifted, 0.16, 0.3)):
        assert 0.97 * limit < np.abs(values).max() <= limit
        # 0.561 of what lies within one deviation lies within half of one; of a uniform distribution it would be 0.5.
        assert np.mean(np.abs(values) < limit / 2) == pytest.approx(0.561, abs=0.03)
        assert len(values) / 8000 == pytest.approx(share, abs=0.03)
        assert values.mean() == pytest.approx(0, abs=0.03 * limit)


def test_mmpose_pads_a_half_by_1_5_around_the_mean_of_its_keypoints():
    config = MMPOSE_AUGMENTATION.model_copy(
        update={"half_body_probability": 1.0, "scale": (1.0, 1.0), "max_shift": 0.0, "rotation_probability": 0.0}
    )
    keypoints = body(11, 0)
    keypoints[10, :2] = (21, 42)

    frames = draw_frames(config, keypoints, count=20)

    # Nine of x = 0 to 9 and one of 21: (45 + 21) / 11 = 6; y is twice x. 21 wide and 42 high by 1.5 is 31.5 x 63, which
    # fits into 47.25 x 63.
    assert {frame.center_image for frame in frames} == {(6, 12)}
    assert {frame.width_image for frame in frames} == {47.25}


def test_mmpose_counts_hips_as_lower_and_prefers_the_upper_half():
    # Keypoints 0 to 10 are above y = 22, the hips, 11 and 12, have y = 22 and 24.
    config = MMPOSE_AUGMENTATION.model_copy(update={"half_body_probability": 1.0})
    rng = np.random.default_rng(22)

    boxes = [half_body_box(body(13, 4), config, COCO_17, rng) for _ in range(4000)]

    # Upper: (0, 0) to (10, 20). Lower: the hips at (11, 22) and (12, 24), and (39, 113) to (48, 116).
    assert {(box.width, box.height) for box in boxes} == {(10, 20), (37, 94)}
    assert np.mean([box.height == 20 for box in boxes]) == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize(
    ("upper", "lower", "expected"),
    [
        (8, 0, {"whole"}),  # nine labeled keypoints are needed
        (9, 0, {"upper"}),
        (11, 2, {"upper"}),  # two keypoints are too few for the lower half
        (11, 3, {"upper", "lower"}),
    ],
)
def test_mmpose_halves_people_with_nine_keypoints_or_more(upper: int, lower: int, expected: set[str]):
    config = MMPOSE_AUGMENTATION.model_copy(update={"half_body_probability": 1.0})

    assert set(draw_halves(config, body(upper, lower), count=50)) == expected
