"""Checkpoints of other code: what their layouts have in common."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mspn.config.model import Backbone
from mspn.config.protocol import ProtocolConfig
from mspn.errors import WeightsError
from mspn.models.backbones import RESNETS, BasicBlock, Bottleneck, find_resnet
from mspn.models.base import PoseNetwork

Layout = Literal["official", "mmpose", "mmpose-0.x"]
"""The released code's; MMPose's from 1.0 on; MMPose's before."""

NORM_TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


class Converted(NamedTuple):
    """A checkpoint of other code, with the names and number ranges of this package."""

    network: PoseNetwork
    """Without memory, on the meta device."""
    tensors: dict[str, Tensor]
    test: ProtocolConfig
    """How its authors test it."""
    layout: str
    """What was recognized, for people."""


class ExternalTensors:
    """A checkpoint's tensors; each is taken once, and none may be left over.

    Args:
        tensors: by their names in the checkpoint.
        path: of the checkpoint, for messages.
        network: what it is taken for, for messages.
    """

    def __init__(self, tensors: Mapping[str, Tensor], path: Path, network: str) -> None:
        self._left = dict(tensors)
        self._path = path
        self._network = network

    def take(self, name: str, shape: Sequence[int]) -> Tensor:
        """The tensor of that name.

        Raises:
            WeightsError: if there is none (any more), or it has another shape, the wrong kind of numbers, or numbers
                that are not finite.
        """
        if name not in self._left:
            raise WeightsError(f"{self._path} has no tensor {name!r}; it is no {self._network}, or is cut short")
        tensor = self._left.pop(name)
        if tuple(tensor.shape) != tuple(shape):
            raise WeightsError(f"{self._path}: tensor {name!r} is {tuple(tensor.shape)}, not {tuple(shape)}")
        counts_batches = name.endswith("num_batches_tracked")
        if tensor.is_complex() or tensor.is_floating_point() == counts_batches:
            raise WeightsError(f"{self._path}: tensor {name!r} has numbers of the kind {tensor.dtype}")
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{self._path}: tensor {name!r} has numbers that are not finite")
        return tensor

    def check_nothing_left(self) -> None:
        """Raises: WeightsError, naming a tensor that was not used."""
        if self._left:
            raise WeightsError(
                f"{self._path} has the unknown tensor {min(self._left)!r}; it is another network than {self._network}"
            )


def count_blocks(tensors: Mapping[str, Tensor], layers: str) -> list[int]:
    """Blocks in each of the four layers. A block counts by any of its tensors; a missing one is named when it is taken.

    Args:
        tensors: of the checkpoint.
        layers: what the names of all layers' tensors begin with, up to the layer's number.
    """
    pattern = re.compile(re.escape(layers) + r"(\d)\.(\d{1,4})\.\w+\.")
    found = [match for name in tensors if (match := pattern.match(name))]
    return [1 + max((int(one[2]) for one in found if int(one[1]) == layer), default=-1) for layer in (1, 2, 3, 4)]


def read_backbone(tensors: Mapping[str, Tensor], layers: str, third: str, path: Path) -> Backbone:
    """Which ResNet it is, by its blocks.

    Args:
        tensors: of the checkpoint.
        layers: as in `count_blocks`.
        third: name of a bottleneck's third convolution.
        path: for messages.

    Raises:
        WeightsError: if its layers have other numbers of blocks than all ResNets here.
    """
    depths = count_blocks(tensors, layers)
    is_bottleneck = any(re.match(rf"{re.escape(layers)}\d\.\d{{1,4}}\.{third}\.", name) for name in tensors)
    block = Bottleneck if is_bottleneck else BasicBlock
    name = find_resnet(block, depths)
    if name is None:
        kind = "bottlenecks" if block is Bottleneck else "basic blocks"
        raise WeightsError(f"{path} has layers of {depths} {kind}; there are {', '.join(RESNETS)}")
    return name


def rescale_stem_input(tensors: dict[str, Tensor], scale: Tensor, shift: Tensor) -> None:
    """Let a stem's first convolution and norm see our crops where they saw ours * scale + shift, in place.

    Args:
        tensors: with our names.
        scale: of each of the three channels.
        shift: of each of the three channels.
    """
    weight = tensors["stem.conv.conv.weight"]
    tensors["stem.conv.conv.weight"] = weight * scale[:, None, None]
    constant = (weight.sum((2, 3)) * shift).sum(1)
    # norm(conv + constant) with the mean lowered by the constant is the same without it.
    tensors["stem.conv.norm.running_mean"] = tensors["stem.conv.norm.running_mean"] - constant
