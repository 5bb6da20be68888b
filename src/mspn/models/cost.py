"""What a network costs: parameters and multiply-adds, by part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mspn.config.model import BackboneConfig, NetworkConfig
from mspn.models import build_network
from mspn.models.base import PoseNetwork
from mspn.models.mspn import UpUnit
from mspn.structures.boxes import Size

Convention = Literal["standard", "paper"]

_BILLION = {"standard": 1e9, "paper": 2.0**30}
_DEPTHS_OF_PARTS = {"stages": 3, "links": 2, "global_net": 2}
"""How many components of a module's name say which part of the network it is in; one elsewhere."""


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-adds of one crop in billions: convolutions only, as everyone counts them."""

    params: int
    gmacs: float
    """standard: all that training runs; paper: the same as inference."""
    gmacs_inference: float
    """What the last heat maps need."""


@dataclass(frozen=True)
class NetworkCost:
    """A network's cost and that of its parts, in the order of the network."""

    total: Cost
    parts: dict[str, Cost]


def count_cost(
    config: NetworkConfig, convention: Convention = "standard", input_size: Size | None = None
) -> NetworkCost:
    """Count on a network without weights, in a second or less.

    Args:
        config: the network.
        convention: "standard" counts the network as it is built, in units of 1e9. "paper" counts as Tables 2-4 do, by
            what fits their numbers: bottlenecks halve the size in their first 1x1 convolution, heads that the result
            does not need are left out, and the unit is 2^30. Either counts up-sampling units as published networks
            run them, the 1x1 convolution behind the resize; ours has it before, on a quarter of the cells.
        input_size: of the crop; None takes the network's own.

    Raises:
        ValueError: if the size is no multiple of 32.
    """
    if convention == "paper" and isinstance(config, BackboneConfig):
        config = config.model_copy(update={"bottleneck_stride": "1x1"})
    with torch.device("meta"):
        network = build_network(config).eval()
        crops = torch.zeros(1, 3, *(input_size or config.input_size))
    params: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        params[_part(name)] = params.get(_part(name), 0) + parameter.numel()
    _drop_norms(network)
    inference = _multiply_adds(network, network.final_heatmaps, crops)
    everything = inference if convention == "paper" else _multiply_adds(network, network, crops)
    billion = _BILLION[convention]
    parts = {
        part: Cost(number, everything.get(part, 0) / billion, inference.get(part, 0) / billion)
        for part, number in params.items()
    }
    total = Cost(sum(params.values()), sum(everything.values()) / billion, sum(inference.values()) / billion)
    return NetworkCost(total, parts)


def _drop_norms(network: nn.Module) -> None:
    """Leave out batch norm: it has no multiply-adds that anyone counts, and takes most of the time on this device."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())


def _multiply_adds(network: PoseNetwork, run: Callable[[Tensor], Any], crops: Tensor) -> dict[str, int]:
    """Multiply-adds of all convolutions that `run` calls, by part."""
    counts: dict[str, int] = {}
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):

            def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor, part: str = _part(name)) -> None:
                counts[part] = counts.get(part, 0) + conv_multiply_adds(module, inputs[0], output)

            hooks.append(module.register_forward_hook(count))
        elif isinstance(module, UpUnit) and module.from_coarser is not None:
            weights = module.from_coarser.conv.weight.numel()

            def correct(
                _module: nn.Module,
                inputs: tuple[Tensor, Tensor],
                _output: Tensor,
                part: str = _part(name),
                weights: int = weights,
            ) -> None:
                # It runs before the resize; everyone counts it behind.
                fine, coarse = (features[0, 0].numel() for features in inputs)
                counts[part] = counts.get(part, 0) + (fine - coarse) * weights

            hooks.append(module.register_forward_hook(correct))
    with torch.no_grad():
        run(crops)
    for hook in hooks:
        hook.remove()
    return counts


def conv_multiply_adds(conv: nn.Module, features: Tensor, output: Tensor) -> int:
    """Of one crop: a convolution uses each weight once a pixel that it writes; a transposed one, that it reads.

    Args:
        conv: `nn.Conv2d` or `nn.ConvTranspose2d`.
        features: what it read, (B, C, H, W).
        output: what it wrote.
    """
    assert isinstance(conv.weight, Tensor)
    read_or_written = features if isinstance(conv, nn.ConvTranspose2d) else output
    return read_or_written[0, 0].numel() * conv.weight.numel()


def _part(name: str) -> str:
    components = name.split(".")
    return ".".join(components[: _DEPTHS_OF_PARTS.get(components[0], 1)])
