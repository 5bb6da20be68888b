"""The released code's way through a network: the yardstick for speed."""

import copy
from functools import partial

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.models.base import Network, PoseNetwork, normalize
from mspn.models.blocks import resize
from mspn.models.mspn import UpUnit


class ReferencePath:
    """float32, channels first, batch norms on their own, all heads, resize before the 1x1 convolution, on the CPU."""

    def __init__(self, model: PoseNetwork) -> None:
        self._model = resize_first(copy.deepcopy(model))

    @torch.inference_mode()
    def __call__(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B K h w"]:
        """The last heat maps of RGB crops."""
        heatmaps: Tensor = self._model(normalize(crops).contiguous())[-1][0]
        return heatmaps


def resize_first(network: Network) -> Network:
    """Let a network's up-sampling units resize before their 1x1 convolutions, in place, as the released code does."""
    for module in network.modules():
        if isinstance(module, UpUnit):
            module.forward = partial(_merge_as_released, module)  # type: ignore[method-assign]
    return network


def _merge_as_released(unit: UpUnit, down: Tensor, coarser: Tensor | None) -> Tensor:
    merged: Tensor = unit.lateral(down)
    if unit.from_coarser is not None and coarser is not None:
        merged = merged + unit.from_coarser(resize(coarser, *down.shape[-2:]))
    return merged.relu()
