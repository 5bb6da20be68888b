"""Networks with few blocks in a row and few stages: further ones would only repeat what a test looks at."""

from typing import TypeVar

import pytest

from mspn.config.model import BackboneConfig, HourglassConfig, ModelConfig, NetworkConfig
from mspn.models.backbones import RESNETS, RSNS, XCEPTIONS

_DEPTHS = (2, 1, 1, 1)
"""The second block of the first layer is like all that follow the first of a layer."""
_ALIKE = {
    **{
        name: next(other for other, (other_block, _) in RESNETS.items() if other_block is block)
        for name, (block, _) in RESNETS.items()
    },
    **dict.fromkeys(RSNS, next(iter(RSNS))),
}
"""Backbones that differ in their depth alone: the first of their kind."""

Config = TypeVar("Config", bound=NetworkConfig)


def cut_backbones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave each backbone two blocks in a row, and one in its other layers."""
    for name, (block, _) in RESNETS.items():
        monkeypatch.setitem(RESNETS, name, (block, _DEPTHS))
    for name in RSNS:
        monkeypatch.setitem(RSNS, name, _DEPTHS)
    for name, shape in XCEPTIONS.items():
        monkeypatch.setitem(XCEPTIONS, name, shape._replace(middle_blocks=2))


def cut_stages(config: Config) -> Config:
    """The network with at most two stages."""
    if isinstance(config, ModelConfig | HourglassConfig):
        return config.model_copy(update={"num_stages": min(config.num_stages, 2)})
    return config


def first_alike(config: Config) -> Config:
    """The same for all networks that are the same once their backbones are cut."""
    if isinstance(config, BackboneConfig):
        return config.model_copy(update={"backbone": _ALIKE.get(config.backbone, config.backbone)})
    return config
