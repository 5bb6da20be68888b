"""What all conversions of foreign checkpoints share."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from mspn.config import TestConfig
from mspn.model.resnet import RESNETS, BasicBlock, Bottleneck, find_resnet
from mspn.model_config import Backbone, NetworkConfig
from mspn.weights.checkpoint import WeightsError

Layout = Literal["official", "mmpose"]

NORM_TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_MANY = 1000
"""More blocks than any layer has."""


class Converted(NamedTuple):
    """A foreign checkpoint in our terms."""

    config: NetworkConfig
    tensors: dict[str, Tensor]
    test: TestConfig
    """How its authors test it."""
    layout: str
    """What was recognised, for people."""


class ForeignTensors:
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

    def take(self, name: str) -> Tensor:
        """Raises: WeightsError, if there is no such tensor (any more)."""
        if name not in self._left:
            raise WeightsError(f"{self._path} has no tensor {name!r}; it is no {self._network}, or is cut short")
        return self._left.pop(name)

    def check_nothing_left(self) -> None:
        """Raises: WeightsError, naming a tensor that nobody took."""
        if self._left:
            raise WeightsError(
                f"{self._path} has the unknown tensor {min(self._left)!r}; it is another network than {self._network}"
            )


def read_backbone(tensors: Mapping[str, Tensor], conv: str, path: Path) -> Backbone:
    """Which ResNet it is, by its blocks.

    Args:
        tensors: of the checkpoint.
        conv: name of a block's convolution, to be formatted with layer (from 1), block (from 0), convolution (from 1).
        path: for messages.

    Raises:
        WeightsError: if its layers have other numbers of blocks than all ResNets here.
    """
    block = Bottleneck if conv.format(1, 0, 3) in tensors else BasicBlock
    depths = [
        next(number for number in range(_MANY) if conv.format(layer, number, 1) not in tensors)
        for layer in (1, 2, 3, 4)
    ]
    name = find_resnet(block, depths)
    if name is None:
        kind = "bottlenecks" if block is Bottleneck else "basic blocks"
        raise WeightsError(f"{path} has layers of {depths} {kind}; there are {', '.join(RESNETS)}")
    return name
