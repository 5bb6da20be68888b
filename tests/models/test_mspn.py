from typing import Any

import pytest
import torch

from mspn.checkpoints.convert import to_layout
from mspn.config.model import BackboneConfig, ModelConfig, PoseRefineForm
from mspn.errors import InvalidValueError
from mspn.models.base import RELEASED_PEAK, place
from mspn.models.mspn import MSPN, PoseRefineMachine
from tests.golden import (
    assert_summary_matches,
    golden_inputs,
    golden_network,
    golden_network_figures,
    golden_rsn,
    golden_rsn_figures,
    gradients_of_golden_inputs,
)
from tests.models.networks import random_crops, random_network


def small(**settings: Any) -> ModelConfig:
    return ModelConfig(**({"backbone": "resnet18", "stem_channels": 8, "up_channels": 12} | settings))


@pytest.fixture(scope="module", params=[1, 2], ids=["1 stage", "2 stages"])
def released(request: pytest.FixtureRequest) -> tuple[MSPN, dict[str, Any]]:
    """A network with the golden weights, and what the released code's answered."""
    return golden_network(request.param), golden_network_figures(request.param)


def test_every_head_answers_what_the_released_network_answered(released: tuple[MSPN, dict[str, Any]]):
    network, figures = released
    crops = golden_inputs().crops

    with torch.no_grad():
        outputs = network(crops)
        final = network.final_heatmaps(crops)

    for stage, levels in enumerate(figures["heatmaps"]):
        for level, expected in enumerate(levels):
            assert outputs[stage][level].shape == (2, 17, 64, 48)
            assert_summary_matches(outputs[stage][level] * RELEASED_PEAK, expected)
    assert [len(levels) for levels in outputs] == [4] * len(figures["heatmaps"])
    assert torch.equal(final, outputs[-1][0])


def test_training_costs_and_learns_what_the_released_network_did(released: tuple[MSPN, dict[str, Any]], monkeypatch):
    network, figures = released
    with gradients_of_golden_inputs(network, monkeypatch) as losses:
        assert losses.total.item() == pytest.approx(figures["loss"], rel=1e-5)
        # Rounding grows on the long way back through batch statistics; single values differ by up to 1 %.
        assert_summary_matches(network.stem.conv.conv.weight.grad.flip(1), figures["stem_gradient"], tolerance=2e-2)
        assert_summary_matches(
            network.stages[-1].heads[0].predict.conv.weight.grad, figures["last_head_gradient"], tolerance=1e-4
        )


def test_the_official_layout_has_as_many_parameters_as_the_released_network(released: tuple[MSPN, dict[str, Any]]):
    network, figures = released

    official = to_layout(network, "official")

    learned = [tensor.numel() for name, tensor in official.items() if name.endswith((".weight", ".bias"))]
    assert sum(learned) == figures["parameters_with_conv_biases"]


@pytest.mark.parametrize(("num_stages", "parameters"), [(1, 25_112_264), (2, 56_800_464), (4, 120_176_864)])
def test_networks_have_as_many_parameters_as_mmposes(num_stages: int, parameters: int):
    with torch.device("meta"):
        network = MSPN(ModelConfig(num_stages=num_stages))

    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(("height", "width"), [(250, 192), (256, 200), (16, 32)])
def test_crops_that_are_no_multiple_of_32_are_refused(height: int, width: int):
    network = MSPN(small(num_stages=1)).eval()

    with pytest.raises(ValueError, match=f"crop height and width must be multiples of 32 pixels, not {height}x{width}"):
        network(torch.zeros(1, 3, height, width))
    with pytest.raises(ValueError, match="must be multiples of 32 pixels"):
        network.final_heatmaps(torch.zeros(1, 3, height, width))


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 64, 64, 3)])
def test_crops_without_a_batch_or_three_channels_are_refused(shape: tuple[int, ...]):
    network = MSPN(small(num_stages=1)).eval()

    with pytest.raises(
        ValueError, match=r"crops must have the shape \(batch, 3, height, width\), not \(" + str(shape[0])
    ):
        network(torch.zeros(shape))


@pytest.mark.parametrize(
    "config",
    [small(num_stages=1), small(num_stages=3), small(aggregation=False), small(coarse_heads=False)],
    ids=["1 stage", "3 stages", "no aggregation", "finest heads only"],
)
def test_the_final_heat_maps_are_exactly_those_of_the_whole_network(config: ModelConfig):
    network = random_network(config)
    crops = random_crops()

    with torch.no_grad():
        assert torch.equal(network.final_heatmaps(crops), network(crops)[-1][0])


@pytest.mark.parametrize("num_keypoints", [1, 5, 133])
def test_any_number_of_keypoints_gets_a_map_each_at_every_level(num_keypoints: int):
    network = MSPN(small(num_keypoints=num_keypoints, num_stages=2)).eval()

    outputs = network(torch.zeros(3, 3, 64, 96))

    assert [len(levels) for levels in outputs] == [4, 4]
    assert {tuple(maps.shape) for levels in outputs for maps in levels} == {(3, num_keypoints, 16, 24)}


def test_without_coarse_heads_each_stage_has_one_level():
    network = MSPN(small(coarse_heads=False, num_stages=3)).eval()

    outputs = network(torch.zeros(1, 3, 64, 64))

    assert [len(levels) for levels in outputs] == [1, 1, 1]
    assert all(len(stage.heads) == 1 for stage in network.stages)


def test_a_stage_sees_the_one_before_at_every_level():
    network = random_network(small(num_stages=2))
    crops = random_crops()
    before = network.final_heatmaps(crops)

    for level in range(4):
        for path in (network.links[0].from_down[level], network.links[0].from_up[level]):
            with torch.no_grad():
                path.norm.bias += 0.5
                changed = network.final_heatmaps(crops)
                path.norm.bias -= 0.5

            assert not torch.allclose(changed, before)


def test_stages_of_different_backbones_are_linked_at_every_level():
    stages = (BackboneConfig(backbone="efficientnet-lite0"), BackboneConfig(backbone="resnet18", stem_channels=8))
    network = random_network(small(backbone="efficientnet-lite0", stem_channels=64, num_stages=2, stages=stages))

    link = network.links[0]
    assert [path.conv.weight.shape[:2] for path in link.from_down] == [(8, 24), (16, 40), (32, 112), (64, 320)]
    assert {path.conv.weight.shape[0] for path in link.from_up} == {8, 16, 32, 64}
    assert link.next_input.conv.weight.shape[0] == 8
    assert len(network(random_crops())) == 2


def test_without_aggregation_a_stage_sees_only_its_input():
    network = MSPN(small(aggregation=False, num_stages=2))

    assert len(network.links[0].from_down) == len(network.links[0].from_up) == 0
    assert {name.split(".")[2] for name, _ in network.named_parameters() if name.startswith("links")} == {"next_input"}


def test_the_first_stage_does_not_depend_on_the_second():
    network = random_network(small(num_stages=2))
    crops = random_crops()
    first = network(crops)[0]

    with torch.no_grad():
        for parameter in network.stages[1].parameters():
            parameter.add_(1)
        again = network(crops)[0]

    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_the_narrow_resnet_18_starts_flat_too():
    # Batch norm makes each map's deviation 1; the head's weight brings it down to 1/255, so a peak of 1 stands out.
    network = MSPN(small(num_stages=2)).train()

    outputs = network(random_crops())

    for maps in (levels[0] for levels in outputs):
        assert maps.std().item() == pytest.approx(1 / 255, rel=0.05)


def test_heads_start_with_the_released_weight_over_255_everywhere():
    network = MSPN(small(num_stages=2))

    for stage in network.stages:
        for head in stage.heads:
            assert (head.predict.norm.weight == 1 / 255).all()
            assert (head.predict.norm.bias == 0).all()


def test_convolutions_start_with_the_kaiming_deviation():
    torch.manual_seed(8)
    network = MSPN(ModelConfig(num_stages=1))

    # The deviation is the root of 2 / (channels out * kernel area): stem 2 / (64 * 49), finest lateral 2 / 256.
    assert network.stem.conv.conv.weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)
    assert network.stages[0].up[0].lateral.conv.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.05)


def test_a_placed_network_has_channels_last_weights_and_answers_the_same():
    network = random_network(small(num_stages=1))
    crops = random_crops()
    expected = network.final_heatmaps(crops)

    placed = place(network, torch.device("cpu"))

    assert placed.stem.conv.conv.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(placed.final_heatmaps(crops), expected, rtol=1e-4, atol=1e-6)


MACHINES: tuple[PoseRefineForm, ...] = ("official", "mmpose")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("variant", ["rsn-18", "rsn-50"])
def test_refined_heads_answer_what_the_released_code_and_mmpose_answered(variant: str, machine: PoseRefineForm):
    network = golden_rsn(variant, machine)
    crops = golden_inputs().crops

    with torch.no_grad():
        (levels,) = network(crops)
        final = network.final_heatmaps(crops)

    for maps, expected in zip(levels, golden_rsn_figures(variant)[f"refined_{machine}"][0], strict=True):
        assert_summary_matches(maps * RELEASED_PEAK, expected)
    assert torch.equal(final, levels[0])


@pytest.mark.parametrize("machine", MACHINES)
def test_a_refined_map_is_its_trunk_times_one_to_two(machine: PoseRefineForm):
    refine = PoseRefineMachine(3, machine).eval()
    # Everything passes the trunk as it is, and nothing the two paths: both sigmoids see 0 and give 1/2.
    with torch.no_grad():
        for parameter in refine.parameters():
            parameter.zero_()
        for keypoint in range(3):
            refine.trunk.conv.weight[keypoint, keypoint, 1, 1] = 1
        refine.trunk.norm.weight.fill_((1 + refine.trunk.norm.eps) ** 0.5)
    maps = torch.tensor([0.5, -0.5, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 8, 8)

    refined = refine(maps)

    torch.testing.assert_close(refined[0, :, 4, 4], torch.tensor([0.625, 0.0, 1.25]))


@pytest.mark.parametrize(("machine", "weights"), [("official", 5015), ("mmpose", 5034)])
def test_a_refine_machine_has_as_many_weights_as_the_original_without_biases(machine: PoseRefineForm, weights: int):
    refine = PoseRefineMachine(17, machine)

    # The originals have 5,100 and 5,068: biases of five convolutions of 17 maps, and of two linear layers.
    assert sum(parameter.numel() for parameter in refine.parameters()) == weights


@pytest.mark.parametrize("machine", MACHINES)
def test_refined_maps_start_flat_too(machine: PoseRefineForm):
    network = MSPN(small(num_stages=1, pose_refine_machine=machine)).train()

    maps = network(random_crops())[0][0]

    # The positive half of a normal distribution, times 1.25 to 2.
    assert 0.5 / 255 < maps.std().item() < 1.3 / 255


def test_a_refine_machine_cannot_learn_from_one_person():
    network = MSPN(small(num_stages=1, pose_refine_machine="official")).train()

    with pytest.raises(
        InvalidValueError, match=r"learns from 2 or more people at once, not 1; raise train\.batch_size"
    ):
        network(random_crops(batch=1))
    network.eval()(random_crops(batch=1))


def test_a_refine_machine_with_frozen_norms_learns_from_one_person():
    network = MSPN(small(num_stages=1, pose_refine_machine="mmpose")).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()

    assert len(network(random_crops(batch=1))[0]) == 4
