"""Stems and down-sampling units by the backbone's name."""

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from mspn.config.model import Backbone, BackboneConfig
from mspn.models.backbones.efficientnet import EFFICIENTNETS, EfficientNetDown, build_efficientnet_stem
from mspn.models.backbones.resnet import RESNETS, ResNetDown
from mspn.models.backbones.rsn import RSNS, RSNDown
from mspn.models.backbones.xception import XCEPTIONS, XceptionDown
from mspn.models.blocks import Downsample, Stem


class BackboneFamily(NamedTuple):
    """What builds the parts of a backbone from the settings."""

    down_unit: Callable[[BackboneConfig], Downsample]
    stem: Callable[[BackboneConfig], nn.Module]
    """Crops to the down-sampling unit's input at 1/4."""


def _common_stem(config: BackboneConfig) -> Stem:
    return Stem(config.stem_channels)


BACKBONES: dict[Backbone, BackboneFamily] = {
    **dict.fromkeys(RESNETS, BackboneFamily(ResNetDown, _common_stem)),
    **dict.fromkeys(XCEPTIONS, BackboneFamily(XceptionDown, _common_stem)),
    **dict.fromkeys(RSNS, BackboneFamily(RSNDown, _common_stem)),
    **dict.fromkeys(EFFICIENTNETS, BackboneFamily(EfficientNetDown, build_efficientnet_stem)),
}
"""The parts of each `backbone` of the settings."""


def build_stem(config: BackboneConfig) -> nn.Module:
    """The backbone's stem: crops to the down-sampling unit's input, at 1/4 of their size."""
    return BACKBONES[config.backbone].stem(config)


def build_downsample(config: BackboneConfig) -> Downsample:
    """The backbone's down-sampling unit."""
    return BACKBONES[config.backbone].down_unit(config)
