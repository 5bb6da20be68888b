import torch
from torch import nn

from mspn.config.model import SimpleBaselineConfig
from mspn.models.baselines import SimpleBaseline


def test_there_is_one_stage_with_one_level():
    network = SimpleBaseline(SimpleBaselineConfig(backbone="resnet18", stem_channels=8, up_channels=12)).eval()

    outputs = network(torch.zeros(2, 3, 64, 96))

    assert [[tuple(maps.shape) for maps in levels] for levels in outputs] == [[(2, 17, 16, 24)]]


def test_three_deconvolutions_of_256_channels_double_the_size_each():
    with torch.device("meta"):
        network = SimpleBaseline(SimpleBaselineConfig())

    deconvolutions = [module for module in network.modules() if isinstance(module, nn.ConvTranspose2d)]
    assert [(one.in_channels, one.out_channels) for one in deconvolutions] == [(2048, 256), (256, 256), (256, 256)]
    assert all(one.kernel_size == (4, 4) and one.stride == (2, 2) and one.bias is None for one in deconvolutions)
    assert network.head.bias is not None
