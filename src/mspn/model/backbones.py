"""Down-sampling units by name."""

from collections.abc import Callable

from mspn.model.down_unit import DownUnit
from mspn.model.resnet import RESNETS, ResNetDown
from mspn.model.xception import XCEPTIONS, XceptionDown
from mspn.model_config import Backbone, BackboneConfig

BACKBONES: dict[Backbone, Callable[[BackboneConfig], DownUnit]] = {
    **dict.fromkeys(RESNETS, ResNetDown),
    **dict.fromkeys(XCEPTIONS, XceptionDown),
}
"""What builds each `backbone` of the settings."""


def build_down_unit(config: BackboneConfig) -> DownUnit:
    """The down-sampling unit that the settings ask for."""
    return BACKBONES[config.backbone](config)
