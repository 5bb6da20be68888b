"""ImageNet networks' tensors as their usual files lay them out."""

import re
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from mspn.crop import CHANNEL_DEVIATION, CHANNEL_MEAN
from mspn.model.efficientnet import EFFICIENTNETS
from mspn.model.resnet import RESNETS
from mspn.model_config import Backbone
from mspn.weights.foreign import rescale_stem_input

DOWN = r"(?:stages\.\d+\.|global_net\.)?down"
"""Pattern of the names of down-sampling layers in an MSPN, a CPN and a simple baseline."""


class ImageNetLayout(NamedTuple):
    """How files of a backbone compare with ours."""

    their_name: Callable[[str], str | None]
    """What they call a tensor of ours; None where they have no such thing."""
    classifier: tuple[str, ...]
    """What the names of tensors that we have no use for begin with."""
    feed_our_crops: Callable[[dict[str, Tensor]], None]
    """Changes the stem's tensors (with our names) if their network sees other pixel values than ours."""


def find_layout(backbone: Backbone) -> ImageNetLayout | None:
    """The layout of a backbone's files, if there is one."""
    if backbone in RESNETS:
        return ImageNetLayout(_torchvision_name, ("fc.",), lambda _tensors: None)
    if backbone in EFFICIENTNETS:
        return _efficientnet_layout(backbone)
    return None


def _torchvision_name(name: str) -> str | None:
    """torchvision's networks see RGB, normalised as ours, and have their stride on the 3x3 convolution, as ours."""
    if match := re.fullmatch(r"stem\.conv\.(conv|norm)\.(\w+)", name):
        return f"{'conv1' if match[1] == 'conv' else 'bn1'}.{match[2]}"
    if match := re.fullmatch(rf"{DOWN}\.layers\.(\d+)\.(\d+)\.(conv\d|shortcut)\.(conv|norm)\.(\w+)", name):
        level, block, part, kind, tensor = match.groups()
        if part == "shortcut":
            layer = f"downsample.{0 if kind == 'conv' else 1}"
        else:
            layer = part if kind == "conv" else part.replace("conv", "bn")
        return f"layer{int(level) + 1}.{block}.{layer}.{tensor}"
    return None


_EFFICIENTNET_LAYERS = {
    "expand": {"conv": "_expand_conv", "norm": "_bn0"},
    "depthwise": {"conv": "_depthwise_conv", "norm": "_bn1"},
    "project": {"conv": "_project_conv", "norm": "_bn2"},
}


def _efficientnet_layout(backbone: Backbone) -> ImageNetLayout:
    """Files of efficientnet-lite-pytorch, which number a network's blocks from its first to its last."""
    shape = EFFICIENTNETS[backbone]
    depths = [sum(group.depth for group in groups) for groups in (shape.stem, *shape.levels)]
    firsts = [0, *accumulate(depths)]

    def their_name(name: str) -> str | None:
        if match := re.fullmatch(r"stem\.conv\.(conv|norm)\.(\w+)", name):
            return f"{'_conv_stem' if match[1] == 'conv' else '_bn0'}.{match[2]}"
        match = re.fullmatch(rf"(?:stem\.blocks|{DOWN}\.layers\.(\d+))\.(\d+)\.(\w+)\.(conv|norm)\.(\w+)", name)
        if match is None:
            return None
        level, block, part, kind, tensor = match.groups()
        number = int(block) + (0 if level is None else firsts[int(level) + 1])
        return f"_blocks.{number}.{_EFFICIENTNET_LAYERS[part][kind]}.{tensor}"

    return ImageNetLayout(their_name, ("_conv_head.", "_bn1.", "_fc."), _from_centred_pixels)


def _from_centred_pixels(ours: dict[str, Tensor]) -> None:
    """Their pixels are (value - 127) / 128 (Google's Lite code), with values from 0 to 255 and RGB."""
    deviation, mean = torch.tensor(CHANNEL_DEVIATION) * 255, torch.tensor(CHANNEL_MEAN) * 255
    rescale_stem_input(ours, scale=deviation / 128, shift=(mean - 127) / 128)
