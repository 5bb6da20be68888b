"""The cost of a network: parameters and multiply-adds, by part."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from mspn.config.model import BackboneConfig, ModelConfig, NetworkConfig
from mspn.models import build_network
from mspn.models.base import PoseNetwork
from mspn.models.mspn import UpUnit
from mspn.structures.boxes import Size

Convention = Literal["paper", "published", "executed"]

_BILLION: dict[Convention, float] = {"paper": 2.0**30, "published": 1e9, "executed": 1e9}
_DEPTHS_OF_PARTS = {"stages": 3, "links": 2, "global_net": 2}
"""Number of components of a module's name that name its part of the network; 1 for other names."""


@dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-adds of one crop in billions; only convolutions count, as in the literature."""

    params: int
    gmacs: float
    """With all heads, as training runs the network; the convention "paper" counts no more than inference."""
    gmacs_inference: float
    """With the last stage's finest head alone, as inference runs the network."""


@dataclass(frozen=True)
class NetworkCost:
    """A network's cost and that of its parts, in the order of the network."""

    total: Cost
    parts: dict[str, Cost]


def count_cost(
    config: NetworkConfig, convention: Convention = "published", input_size: Size | None = None
) -> NetworkCost:
    """Count on a network without weights, in a second or less.

    Args:
        config: the network.
        convention: "published" counts the operations in the order of the released code, in units of 1e9: up-sampling
            units resize, then convolve. "executed" counts what this network runs, as
            `torch.utils.flop_counter.FlopCounterMode` does (multiply-adds are half of its operations): up-sampling
            units convolve first, on a quarter of the cells. "paper" is "published" with three changes that reproduce
            Tables 2-4: bottlenecks have their stride in the first 1x1 convolution, heads that inference does not run
            are left out, and the unit is 2^30.
        input_size: height and width of the crop; None takes the network's own.

    Raises:
        ValueError: if the size is no multiple of 32.
    """
    if convention == "paper" and isinstance(config, BackboneConfig):
        strided: dict[str, Any] = {"bottleneck_stride": "1x1"}
        if isinstance(config, ModelConfig):
            strided["stages"] = tuple(stage.model_copy(update=strided) for stage in config.stages)
        config = config.model_copy(update=strided)
    with torch.device("meta"):
        network = build_network(config).eval()
        crops = torch.zeros(1, 3, *(input_size or config.input_size))
    params: dict[str, int] = {}
    for name, parameter in network.named_parameters():
        params[_part(name)] = params.get(_part(name), 0) + parameter.numel()
    _drop_norms(network)
    resize_first = convention != "executed"
    inference = _multiply_adds(network, network.final_heatmaps, crops, resize_first=resize_first)
    everything = (
        inference if convention == "paper" else _multiply_adds(network, network, crops, resize_first=resize_first)
    )
    billion = _BILLION[convention]
    parts = {
        part: Cost(number, everything.get(part, 0) / billion, inference.get(part, 0) / billion)
        for part, number in params.items()
    }
    total = Cost(sum(params.values()), sum(everything.values()) / billion, sum(inference.values()) / billion)
    return NetworkCost(total, parts)


class _EmptyResize(TorchFunctionMode):
    """Resizes to the right shape without values.

    Resizing counts nothing, and takes most of the time on the meta device, where torch works it out in Python.
    """

    def __torch_function__(
        self, func: Callable[..., Any], _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.interpolate:
            (features,) = args
            return features.new_empty(*features.shape[:2], *kwargs["size"])
        return func(*args, **kwargs)


def _drop_norms(network: nn.Module) -> None:
    """Replace batch norms: their multiply-adds do not count, and they take most of the time on the meta device."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())


def _multiply_adds(
    network: PoseNetwork, run: Callable[[Tensor], Any], crops: Tensor, *, resize_first: bool
) -> dict[str, int]:
    """Multiply-adds of all convolutions that `run` calls, by part."""
    counts: dict[str, int] = {}
    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):

            def count(module: nn.Module, inputs: tuple[Tensor], output: Tensor, part: str = _part(name)) -> None:
                counts[part] = counts.get(part, 0) + conv_multiply_adds(module, inputs[0], output)

            hooks.append(module.register_forward_hook(count))
        elif resize_first and isinstance(module, UpUnit) and module.from_coarser is not None:
            weights = module.from_coarser.conv.weight.numel()

            def add_difference(
                _module: nn.Module,
                inputs: tuple[Tensor, Tensor],
                _output: Tensor,
                part: str = _part(name),
                weights: int = weights,
            ) -> None:
                # The 1x1 convolution runs on the coarse cells; the released code's runs on the fine ones.
                fine, coarse = (features[0, 0].numel() for features in inputs)
                counts[part] = counts.get(part, 0) + (fine - coarse) * weights

            hooks.append(module.register_forward_hook(add_difference))
    with torch.no_grad(), _EmptyResize():
        run(crops)
    for hook in hooks:
        hook.remove()
    return counts


def conv_multiply_adds(conv: nn.Module, features: Tensor, output: Tensor) -> int:
    """Multiply-adds of one crop: each weight is used once per output pixel, or per input pixel if transposed.

    Args:
        conv: `nn.Conv2d` or `nn.ConvTranspose2d`.
        features: its input, (B, C, H, W).
        output: its output, (B, C', H', W').
    """
    assert isinstance(conv.weight, Tensor)
    pixels = features if isinstance(conv, nn.ConvTranspose2d) else output
    return pixels[0, 0].numel() * conv.weight.numel()


def _part(name: str) -> str:
    components = name.split(".")
    return ".".join(components[: _DEPTHS_OF_PARTS.get(components[0], 1)])
