"""Checkpoints of other code: what their layouts have in common, and what they call MSPN's and RSN's convolutions."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mspn.config.model import Backbone, ModelConfig
from mspn.config.protocol import ProtocolConfig
from mspn.errors import WeightsError
from mspn.models.backbones import RESNETS, RSNS, BasicBlock, Bottleneck, find_resnet
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


LEVELS = 4


class Unit(NamedTuple):
    """One convolution and its batch norm, by prefix in each layout."""

    name: str
    official: str
    mmpose_conv: str
    mmpose_norm: str

    @property
    def is_stem(self) -> bool:
        return self.name.startswith("stem.")

    @property
    def is_heatmap(self) -> bool:
        return self.name.endswith(".predict")

    @property
    def is_linear_in_mmpose(self) -> bool:
        """Whether MMPose has a linear layer with bias here: it multiplies pooled maps, as a 1x1 convolution does."""
        return ".middle." in self.name

    def prefixes(self, layout: Layout) -> tuple[str, str]:
        """What the names of the convolution's and of the batch norm's tensors begin with."""
        if layout == "official":
            return f"{self.official}.conv", f"{self.official}.bn"
        if layout == "mmpose-0.x":
            return _old_name(self.mmpose_conv), _old_name(self.mmpose_norm)
        return self.mmpose_conv, self.mmpose_norm


def _old_name(name: str) -> str:
    """A name of MMPose 1.x as 0.x had it."""
    return f"keypoint_{name}" if name.startswith("head.") else name


def find_units(config: ModelConfig, tensors: Iterable[str]) -> Iterator[Unit]:
    """Every convolution of a network, as all layouts name it.

    Args:
        config: of the network.
        tensors: the names of the network's own.
    """
    is_rsn = config.backbone in RSNS
    yield _unit("stem.conv", "top.conv", "backbone.top.top.0")
    for name in (tensor.removesuffix(".conv.weight") for tensor in tensors if tensor.endswith(".conv.weight")):
        if match := re.fullmatch(r"(stages|links)\.(\d+)\.(.+)", name):
            kind, stage, part = match[1], int(match[2]), match[3]
            official = f"stage{stage}"
            mmpose = f"backbone.multi_stage_{'rsn' if is_rsn else 'mspn'}.{stage}"
            if kind == "links":
                yield _link_unit(name, part, official, mmpose)
            elif part.startswith("down."):
                yield (_rsn_block_unit if is_rsn else _resnet_block_unit)(name, part, official, mmpose)
            elif part.startswith("up."):
                yield _up_unit(name, part, official, mmpose)
            else:
                yield _head_unit(name, part, official, stage)


_BLOCK = r"down\.layers\.(\d+)\.(\d+)\.(.+)"


def _match(pattern: str, part: str) -> re.Match[str]:
    match = re.fullmatch(pattern, part)
    assert match is not None, part
    return match


def _resnet_block_unit(name: str, part: str, official: str, mmpose: str) -> Unit:
    layer, number, conv = _match(_BLOCK, part).groups()
    block = f"downsample.layer{int(layer) + 1}.{number}"
    if conv == "shortcut":
        return _unit(name, f"{official}.{block}.downsample", f"{mmpose}.{block}.downsample")
    position = conv.removeprefix("conv")
    return Unit(
        name,
        f"{official}.{block}.conv_bn_relu{position}",
        f"{mmpose}.{block}.conv{position}",
        f"{mmpose}.{block}.bn{position}",
    )


def _rsn_block_unit(name: str, part: str, official: str, mmpose: str) -> Unit:
    layer, number, conv = _match(_BLOCK, part).groups()
    block = f"downsample.layer{int(layer) + 1}.{number}"
    if match := re.fullmatch(r"branches\.(\d)\.(\d)", conv):
        theirs = f"conv_bn_relu2_{int(match[1]) + 1}_{int(match[2]) + 1}"
        return _unit(name, f"{official}.{block}.{theirs}", f"{mmpose}.{block}.{theirs}")
    in_official, in_mmpose = {
        "conv1": ("conv_bn_relu1", "conv_bn_relu1"),
        "conv3": ("conv_bn_relu3", "conv_bn3"),
        "shortcut": ("downsample", "downsample"),
    }[conv]
    return _unit(name, f"{official}.{block}.{in_official}", f"{mmpose}.{block}.{in_mmpose}")


def _up_unit(name: str, part: str, official: str, mmpose: str) -> Unit:
    level, conv = _match(r"up\.(\d+)\.(lateral|from_coarser)", part).groups()
    unit = f"upsample.up{LEVELS - int(level)}"
    in_official, in_mmpose = {"lateral": ("u_skip", "in_skip"), "from_coarser": ("up_conv", "up_conv")}[conv]
    return _unit(name, f"{official}.{unit}.{in_official}", f"{mmpose}.{unit}.{in_mmpose}")


def _head_unit(name: str, part: str, official: str, stage: int) -> Unit:
    kind, number, layer = _match(r"(heads|refine)\.(\d+)\.(.+)", part).groups()
    level = int(number)
    official = f"{official}.upsample.up{LEVELS - level}"
    mmpose = f"head.predict_layers.{LEVELS * stage + LEVELS - 1 - level}"
    if kind == "heads":
        position = {"reduce": 0, "predict": 1}[layer]
        return _unit(name, f"{official}.res_conv{position + 1}", f"{mmpose}.conv_layers.{position}")
    official, mmpose = f"{official}.prm", f"{mmpose}.prm"
    if layer == "trunk":
        return _unit(name, f"{official}.conv_bn_relu_prm_1", f"{mmpose}.conv_bn_relu_prm_1")
    path, _, index = layer.partition(".")
    position = int(index)
    if path == "middle":
        # There, a ReLU is a layer, too.
        linear, norm = (f"{mmpose}.middle_path.{3 * position + offset}" for offset in (0, 1))
        return Unit(name, f"{official}.conv_bn_relu_prm_2_{position + 1}", linear, norm)
    in_mmpose = ("bottom_path.0", "bottom_path.1.depthwise_conv", "bottom_path.1.pointwise_conv")[position]
    return _unit(name, f"{official}.conv_bn_relu_prm_3_{position + 1}", f"{mmpose}.{in_mmpose}")


def _link_unit(name: str, part: str, official: str, mmpose: str) -> Unit:
    if part == "next_input":
        return _unit(name, f"{official}.upsample.up4.cross_conv", f"{mmpose}.upsample.up4.cross_conv")
    path, level = _match(r"(from_down|from_up)\.(\d+)", part).groups()
    number = {"from_down": 1, "from_up": 2}[path]
    unit = f"upsample.up{LEVELS - int(level)}"
    return _unit(name, f"{official}.{unit}.skip{number}", f"{mmpose}.{unit}.out_skip{number}")


def _unit(name: str, official: str, mmpose: str) -> Unit:
    return Unit(name, official, f"{mmpose}.conv", f"{mmpose}.bn")
