from typing import Any

import torch

from mspn.config.model import HourglassConfig
from mspn.models.baselines import Hourglass, StackedHourglass
from tests.models.networks import random_crops, random_network


def small(**settings: Any) -> HourglassConfig:
    return HourglassConfig(**({"num_stages": 2, "stem_channels": 8, "channels": 12} | settings))


def test_features_have_the_papers_channels_at_four_scales_both_ways():
    # Table 1: 256 at 1/4, 1/8, 1/16 and 1/32, down and up.
    with torch.device("meta"):
        features = Hourglass(256)(torch.zeros(1, 256, 64, 48), [])

    expected = [(1, 256, 64, 48), (1, 256, 32, 24), (1, 256, 16, 12), (1, 256, 8, 6)]
    assert [tuple(maps.shape) for maps in features.down] == expected
    assert [tuple(maps.shape) for maps in features.up] == expected


def test_plain_hourglasses_have_one_level_a_stage_and_coarse_heads_make_it_four():
    crops = random_crops(batch=1)

    plain, coarse = StackedHourglass(small()).eval(), StackedHourglass(small(coarse_heads=True)).eval()

    assert [len(levels) for levels in plain(crops)] == [1, 1]
    assert [len(levels) for levels in coarse(crops)] == [4, 4]


def test_a_stage_sees_the_one_before_at_every_level():
    network = random_network(small(aggregation=True))
    crops = random_crops()
    before = network.final_heatmaps(crops)

    for level in range(4):
        for path in (network.links[0].from_down[level], network.links[0].from_up[level]):
            with torch.no_grad():
                path.norm.bias += 0.5
                changed = network.final_heatmaps(crops)
                path.norm.bias -= 0.5

            assert not torch.allclose(changed, before)


def test_a_stage_sees_the_features_and_the_heat_maps_of_the_one_before():
    network = random_network(small())
    crops = random_crops()
    before = network.final_heatmaps(crops)

    assert len(network.links[0].from_down) == 0
    for path in (network.links[0].from_features, network.links[0].from_heatmaps):
        with torch.no_grad():
            path.bias += 0.5
            changed = network.final_heatmaps(crops)
            path.bias -= 0.5

        assert not torch.allclose(changed, before)


def test_the_first_stage_does_not_depend_on_the_second():
    network = random_network(small(aggregation=True, coarse_heads=True))
    crops = random_crops()
    first = network(crops)[0]

    with torch.no_grad():
        for parameter in network.stages[1].parameters():
            parameter.add_(1)
        again = network(crops)[0]

    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
