import math

import pytest
import torch
from torch import Tensor

from mspn.config.train import SupervisionConfig
from mspn.datasets.samples import KeypointLabels
from mspn.heatmaps.targets import draw_targets
from mspn.structures.boxes import Size
from mspn.structures.crop import crop_to_heatmap
from mspn.structures.skeleton import COCO_17
from mspn.training.losses import coarse_loss, compute_losses, kernel_size_at, ohkm_loss, oks_loss

SIGMAS = COCO_17.sigmas
RELEASED = SupervisionConfig()
LABELED = SupervisionConfig(coarse_target="labeled")


def labels_of(visibility: list[list[int]], counted: list[list[bool]] | None = None) -> KeypointLabels:
    visible = torch.tensor(visibility)
    return KeypointLabels(
        keypoints_crop=torch.zeros(*visible.shape, 2),
        visibility=visible,
        counted=torch.ones_like(visible, dtype=torch.bool) if counted is None else torch.tensor(counted),
    )


def flat_maps(*values_255: float) -> Tensor:
    """One person's maps of 2x3 cells, each of one value, given in the released code's units of 255 a peak."""
    return torch.tensor(values_255).reshape(1, -1, 1, 1).expand(1, -1, 2, 3) / 255


@pytest.mark.parametrize(
    ("num_stages", "fine_to_coarse"),
    [
        (1, [[5, 7, 9, 11]]),
        (2, [[7, 9, 11, 15], [5, 7, 9, 11]]),
        (4, [[7, 9, 11, 15], [7, 9, 11, 15], [7, 9, 11, 15], [5, 7, 9, 11]]),
    ],
)
def test_only_the_last_stage_has_narrower_targets(num_stages: int, fine_to_coarse: list[list[int]]):
    kernels = [
        [kernel_size_at(RELEASED, stage=stage, num_stages=num_stages, level=level) for level in range(4)]
        for stage in range(num_stages)
    ]

    assert kernels == fine_to_coarse


def test_without_finer_supervision_the_last_stage_is_as_the_others():
    config = SupervisionConfig(finer_last_stage=False)

    kernels = [
        [kernel_size_at(config, stage=stage, num_stages=2, level=level) for level in range(4)] for stage in (0, 1)
    ]

    assert kernels == [[7, 9, 11, 15], [7, 9, 11, 15]]


@pytest.mark.parametrize(
    ("config", "predicted_255", "expected"),
    [
        # Visible, occluded, unlabeled; targets of 10. Errors 100, 0 and 0 over three keypoints.
        (RELEASED, 0, 100 / 3),
        # Only the visible one is right: 0, 100 and 100 over three.
        (RELEASED, 10, 200 / 3),
        # Both labeled ones count, the unlabeled one only in the mean.
        (LABELED, 0, 200 / 3),
        (LABELED, 10, 0),
    ],
    ids=[
        "visible, nothing predicted",
        "visible, all predicted",
        "labeled, nothing predicted",
        "labeled, all predicted",
    ],
)
def test_coarse_levels_learn_visible_or_labeled_keypoints(
    config: SupervisionConfig, predicted_255: float, expected: float
):
    predicted = flat_maps(predicted_255, predicted_255, predicted_255)

    loss = coarse_loss(predicted, flat_maps(10, 10, 10), labels_of([[2, 1, 0]]), config)

    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_coarse_levels_average_over_people():
    # Errors 1 and 9 of two people with one keypoint each average to 5.
    predicted = torch.cat([flat_maps(1), flat_maps(3)])

    loss = coarse_loss(predicted, torch.zeros_like(predicted), labels_of([[2], [2]]), RELEASED)

    assert loss.item() == pytest.approx(5)


def test_only_the_hardest_keypoints_count_at_the_finest_level():
    # Errors 1, 4, 9; the two largest average to 6.5.
    predicted = flat_maps(1, 2, 3)

    loss = ohkm_loss(
        predicted, torch.zeros_like(predicted), labels_of([[2, 2, 2]]), SupervisionConfig(num_hard_keypoints=2)
    )

    assert loss.item() == pytest.approx(6.5)


def test_mining_divides_by_8_even_when_fewer_keypoints_are_labeled():
    # Errors 1, 4, 9 of three labeled keypoints, 0 of the others, over eight.
    predicted = flat_maps(1, 2, 3, *[100] * 14)

    loss = ohkm_loss(predicted, torch.zeros_like(predicted), labels_of([[2, 1, 2] + [0] * 14]), RELEASED)

    assert loss.item() == pytest.approx(14 / 8)


def test_mining_takes_all_keypoints_of_a_skeleton_with_fewer_than_8():
    # Errors 1, 4, 9 over three.
    predicted = flat_maps(1, 2, 3)

    loss = ohkm_loss(predicted, torch.zeros_like(predicted), labels_of([[2, 2, 2]]), RELEASED)

    assert loss.item() == pytest.approx(14 / 3)


def test_each_person_has_hardest_keypoints_of_their_own():
    # The worst of 1, 4 and the worst of 9, 16 average to 10.
    predicted = torch.cat([flat_maps(1, 2), flat_maps(4, 3)])
    config = SupervisionConfig(num_hard_keypoints=1)

    loss = ohkm_loss(predicted, torch.zeros_like(predicted), labels_of([[2, 2], [2, 2]]), config)

    assert loss.item() == pytest.approx((4 + 16) / 2)


def test_occluded_keypoints_count_at_the_finest_level():
    loss = ohkm_loss(flat_maps(0), flat_maps(10), labels_of([[1]]), RELEASED)

    assert loss.item() == pytest.approx(100)


def test_without_mining_the_finest_level_is_as_the_coarse_ones():
    config = SupervisionConfig(num_hard_keypoints=None)
    predicted, target, labels = flat_maps(1, 2, 3), flat_maps(10, 10, 10), labels_of([[2, 1, 0]])

    assert ohkm_loss(predicted, target, labels, config) == coarse_loss(predicted, target, labels, config)


@pytest.mark.parametrize("loss_at_level", [coarse_loss, ohkm_loss])
def test_cells_near_a_keypoint_weigh_more_when_asked(loss_at_level):
    # Errors 10 and 6 (255 - 249) squared; the second cell's target is 1, so that its error weighs 1 + 3 times.
    predicted = torch.tensor([10.0, 249.0]).reshape(1, 1, 1, 2) / 255
    target = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)

    loss = loss_at_level(predicted, target, labels_of([[2]]), SupervisionConfig(foreground_weight=3))

    assert loss.item() == pytest.approx((100 + 4 * 36) / 2, rel=1e-5)


@pytest.mark.parametrize("config", [RELEASED, LABELED, SupervisionConfig(num_hard_keypoints=None)])
def test_keypoints_that_are_not_counted_never_matter(config: SupervisionConfig):
    generator = torch.Generator().manual_seed(4)
    outputs = [[torch.rand(2, 3, 8, 6, generator=generator, requires_grad=True) for _ in range(4)] for _ in range(2)]
    labels = KeypointLabels(
        keypoints_crop=torch.rand(2, 3, 2, generator=generator) * 24,
        visibility=torch.tensor([[2, 2, 1], [2, 0, 2]]),
        counted=torch.tensor([[True, False, True], [True, True, False]]),
    )
    changed = [[maps.detach() + 5 * ~labels.counted[..., None, None] for maps in levels] for levels in outputs]

    losses = compute_losses(outputs, labels, config, SIGMAS)
    losses.total.backward()

    assert compute_losses(changed, labels, config, SIGMAS).total.item() == losses.total.item()
    for maps in (maps for levels in outputs for maps in levels):
        assert not maps.grad[~labels.counted].any()
        assert maps.grad[0, 0].any()


@pytest.mark.parametrize("config", [RELEASED, LABELED])
def test_a_person_of_whom_nothing_is_counted_costs_nothing(config: SupervisionConfig):
    labels = labels_of([[0, 0]], counted=[[False, False]])

    assert coarse_loss(flat_maps(9, 9), flat_maps(0, 0), labels, config) == 0
    assert ohkm_loss(flat_maps(9, 9), flat_maps(0, 0), labels, config) == 0


def test_the_mean_of_a_coarse_level_is_over_the_counted_keypoints():
    # Errors 100 and 1; the keypoint that is not counted is not in the mean either.
    labels = labels_of([[2, 2, 0]], counted=[[True, True, False]])

    loss = coarse_loss(flat_maps(10, 1, 7), flat_maps(0, 0, 0), labels, RELEASED)

    assert loss.item() == pytest.approx(101 / 2)


def test_the_parts_add_up_to_the_total_with_a_quarter_for_coarse_levels():
    # Flat predictions of 2, nothing labeled as visible: errors 4 at all coarse levels, 0 at the mined finest one.
    outputs = [[torch.full((1, 3, 8, 6), 2 / 255)] * 4] * 2

    losses = compute_losses(outputs, labels_of([[0, 0, 0]]), RELEASED, SIGMAS)

    torch.testing.assert_close(losses.by_stage_and_level, torch.tensor([[0.0, 1, 1, 1], [0.0, 1, 1, 1]]))
    assert losses.total.item() == pytest.approx(6)


def test_mining_can_be_left_to_the_last_stage():
    # Errors 1, 4, 9 of three visible keypoints whose bumps lie outside the map: 14/3 on average, 9 the worst.
    maps = flat_maps(1, 2, 3)
    labels = labels_of([[2, 2, 2]])._replace(keypoints_crop=torch.full((1, 3, 2), -1000.0))
    config = SupervisionConfig(num_hard_keypoints=1, ohkm="last_stage")

    losses = compute_losses([[maps], [maps]], labels, config, SIGMAS).by_stage_and_level
    everywhere = compute_losses([[maps], [maps]], labels, config.model_copy(update={"ohkm": "every_stage"}), SIGMAS)

    torch.testing.assert_close(losses, torch.tensor([[14 / 3], [9.0]]))
    torch.testing.assert_close(everywhere.by_stage_and_level, torch.tensor([[9.0], [9.0]]))


def test_stages_may_have_different_numbers_of_levels():
    # Flat errors of 4, nothing labeled as visible: 4 at coarse levels, a quarter of it counts; 0 at mined ones.
    maps = torch.full((1, 3, 8, 6), 2 / 255)

    losses = compute_losses([[maps] * 3, [maps]], labels_of([[0, 0, 0]]), RELEASED, SIGMAS)

    torch.testing.assert_close(losses.by_stage_and_level, torch.tensor([[0.0, 1, 1], [0.0, 0, 0]]))
    assert losses.total.item() == pytest.approx(2)


def test_maps_that_equal_their_targets_cost_nothing():
    generator = torch.Generator().manual_seed(5)
    keypoints_crop = torch.rand(2, 17, 2, generator=generator) * torch.tensor([47.0, 63.0])
    labels = KeypointLabels(keypoints_crop, torch.full((2, 17), 2), torch.ones(2, 17, dtype=torch.bool))
    kernels = [[7, 9, 11, 15], [5, 7, 9, 11]]
    outputs = [
        [
            draw_targets(crop_to_heatmap(keypoints_crop), labels.visibility > 0, size=Size(16, 12), kernel_size=kernel)
            for kernel in levels
        ]
        for levels in kernels
    ]

    assert compute_losses(outputs, labels, RELEASED, SIGMAS).total == 0


def test_outputs_in_half_precision_are_compared_in_full():
    # 254/256 is a bfloat16; its error against 1 is 1/128, that is 255/128 in the released code's units.
    predicted = torch.full((1, 1, 2, 2), 254 / 256, dtype=torch.bfloat16)

    loss = coarse_loss(predicted, torch.ones(1, 1, 2, 2), labels_of([[2]]), RELEASED)

    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((255 / 128) ** 2)


def test_a_network_with_the_finest_head_only_is_supervised_there_only():
    outputs = [[torch.full((1, 1, 8, 6), 3 / 255)]]
    labels = labels_of([[0]])

    losses = compute_losses(outputs, labels, SupervisionConfig(num_hard_keypoints=None), SIGMAS)

    # One stage, one level: an error of 9 at full weight.
    torch.testing.assert_close(losses.by_stage_and_level, torch.tensor([[9.0]]))


def map_of(values: dict[tuple[int, int], float]) -> Tensor:
    """One map of 64x48 cells for one person, with values by (x, y)."""
    heatmap = torch.zeros(1, 1, 64, 48)
    for (x, y), value in values.items():
        heatmap[0, 0, y, x] = value
    return heatmap


@pytest.mark.parametrize(
    ("values", "expected_oks"),
    [
        ({(20, 30): 0.2}, 1.0),
        # Deviation of a nose: 2 * 0.026 * sqrt(0.09 * 64 * 48) = 0.8647 cells; 3 of them are exp(-6.019).
        ({(20, 33): 0.7}, 0.0024315),
        # Squares of 1 and 3: a quarter lies at the label.
        ({(20, 30): 1.0, (20, 33): 3.0**0.5}, 0.25 + 0.75 * 0.0024315),
        ({(20, 30): 1.0, (20, 33): -5.0}, 1.0),
        ({}, 0.0),
    ],
)
def test_the_oks_loss_is_minus_the_logarithm_of_the_oks_expected_at_the_label(
    values: dict[tuple[int, int], float], expected_oks: float
):
    loss = oks_loss(map_of(values), torch.tensor([[[20.0, 30.0]]]), torch.tensor([[True]]), [0.026])

    assert loss.item() == pytest.approx(-math.log(expected_oks + 0.03), abs=1e-5)


def test_keypoints_that_do_not_count_or_lie_beside_the_map_are_in_no_oks_loss():
    maps = map_of({(20, 33): 1.0}).expand(1, 4, 64, 48)
    points = torch.tensor([[[20.0, 33.0], [20.0, 30.0], [47.5, 30.0], [math.nan, math.nan]]])
    counted = torch.tensor([[True, False, True, False]])

    loss = oks_loss(maps, points, counted, [0.026] * 4)

    assert loss.item() == pytest.approx(-math.log(1.03) / 4, abs=1e-6)  # one of four keypoints
    assert oks_loss(maps, points, torch.zeros(1, 4, dtype=torch.bool), [0.026] * 4).item() == 0


def test_the_oks_loss_of_a_batch_is_the_mean_of_its_parts_whatever_they_label():
    maps = map_of({(20, 33): 0.5, (20, 30): 0.7}).expand(2, 3, 64, 48)
    points = torch.tensor([20.0, 30.0]).expand(2, 3, 2)
    counted = torch.tensor([[True, True, True], [True, False, False]])

    whole, *parts = (
        oks_loss(maps[people], points[people], counted[people], [0.026] * 3).item()
        for people in (slice(0, 2), slice(0, 1), slice(1, 2))
    )

    assert whole == pytest.approx(sum(parts) / 2, rel=1e-6)
    assert parts[0] == pytest.approx(3 * parts[1], rel=1e-6)


def test_the_oks_loss_is_of_the_finest_level_of_each_stage():
    maps = torch.zeros(1, 17, 64, 48)
    labels = KeypointLabels(
        keypoints_crop=torch.full((1, 17, 2), 90.0),
        visibility=torch.full((1, 17), 2),
        counted=torch.ones(1, 17, dtype=torch.bool),
    )
    outputs = [[maps, maps], [maps, maps]]

    plain, with_oks = (
        compute_losses(outputs, labels, SupervisionConfig(oks_weight=weight), SIGMAS) for weight in (0.0, 300.0)
    )

    added = with_oks.by_stage_and_level - plain.by_stage_and_level
    expected = -300 * math.log(0.03)
    torch.testing.assert_close(added, torch.tensor([[expected, 0], [expected, 0]]), rtol=1e-3, atol=1e-3)
    assert (with_oks.total - plain.total).item() == pytest.approx(2 * expected, rel=1e-3)
