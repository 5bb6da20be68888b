"""Prepare a trained network for inference: fold batch norms, drop unused parts, choose the memory layout."""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mspn.inference.onednn import can_prepack, prepack_convs
from mspn.models.base import Network, PoseNetwork, place


def fold_norms(network: Network, unused: Iterable[nn.Module] = ()) -> Network:
    """A copy of a network for inference, with batch norms folded into their convolutions.

    Pairs are children named `conv` and `norm`, as in `ConvNorm`. Outputs differ by rounding only.

    Args:
        network: in any mode; not modified.
        unused: modules to leave out of the copy, since their outputs are not needed.
    """
    folded = copy.deepcopy(network, {id(module): nn.Identity() for module in unused}).eval()
    for module in folded.modules():
        conv, norm = (getattr(module, name, None) for name in ("conv", "norm"))
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
            with torch.no_grad():
                module.conv = fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d))
            module.norm = nn.Identity()
    return folded


_SMALL_CROP = 64


def prepare(
    network: Network, device: torch.device, dtype: torch.dtype, unused: frozenset[nn.Module] = frozenset()
) -> Network:
    """A copy that computes the same in fewer steps: norms folded, all in one number format, convolutions packed.

    Args:
        network: in any mode; not modified.
        device: to compute on.
        dtype: of the copy's inputs, weights and outputs.
        unused: modules to leave out of the copy.
    """
    folded = place(fold_norms(network, unused).to(dtype), device)
    return prepack_convs(folded) if can_prepack(device, dtype) else folded


@torch.inference_mode()
def find_unused(network: PoseNetwork) -> frozenset[nn.Module]:
    """Modules that the last heat maps do not need, such as heads of coarser levels and of earlier stages.

    Args:
        network: in any mode; not modified. Other threads may be using it, so a copy with the same tensors runs instead
            (on the meta device it would take none, but torch imports its compiler for that, which takes seconds).
    """
    tensors = [*network.parameters(), *network.buffers()]
    twin = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors}).eval()
    originals = dict(zip(twin.modules(), network.modules(), strict=True))
    unused = {module for module in twin.modules() if list(module.parameters(recurse=False))}
    for module in list(unused):
        module.register_forward_pre_hook(lambda module, _inputs: unused.discard(module))
    twin.final_heatmaps(torch.zeros(1, 3, _SMALL_CROP, _SMALL_CROP, device=tensors[0].device))
    return frozenset(originals[module] for module in unused)
