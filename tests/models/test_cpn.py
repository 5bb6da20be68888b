import torch

from mspn.config.model import CPNConfig
from mspn.models.baselines import CascadedPyramid
from tests.models.networks import random_crops, random_network

SMALL = CPNConfig(backbone="resnet18", stem_channels=8, up_channels=12)


def test_the_global_network_has_four_levels_and_the_refining_one_has_one():
    network = CascadedPyramid(SMALL).eval()

    assert [len(levels) for levels in network(random_crops())] == [4, 1]


def test_coarser_levels_pass_more_bottlenecks():
    network = CascadedPyramid(SMALL)

    assert [len(level) for level in network.refine_net.levels] == [0, 1, 2, 3]


def test_every_level_of_the_global_network_is_refined():
    network = random_network(SMALL)
    features = [maps.detach() for maps in network._global_features(random_crops()).up]
    before = network.refine_net(features)

    for level in range(4):
        changed = [maps + (index == level) for index, maps in enumerate(features)]

        assert not torch.allclose(network.refine_net(changed), before)
