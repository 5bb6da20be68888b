"""Prepare a trained network for inference: fold batch norms, drop unused parts, choose the memory layout."""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mspn.inference.onednn import can_prepack, prepack_convs
from mspn.models.base import Network, PoseNetwork, place


def fold_norms(network: Network, unused: Iterable[nn.Module] = ()) -> Network:
    """A copy of a network in eval mode, in which every convolution does its batch norm's work too.

    That holds of children named `conv` and `norm`, as in `ConvNorm`. Answers differ by rounding only.

    Args:
        network: stays as it is.
        unused: modules of it that are not copied, since nobody will ask for what they compute.
    """
    assert not network.training
    folded = copy.deepcopy(network, {id(module): nn.Identity() for module in unused})
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
        network: in eval mode; it stays as it is.
        device: to compute on.
        dtype: of what the copy takes, computes with and gives.
        unused: modules of it that are left out.
    """
    folded = place(fold_norms(network, unused).to(dtype), device)
    return prepack_convs(folded) if can_prepack(device, dtype) else folded


@torch.inference_mode()
def find_unused(network: PoseNetwork) -> frozenset[nn.Module]:
    """Modules that the last heat maps do not need, such as heads of coarser levels and of earlier stages."""
    idle = {module for module in network.modules() if list(module.parameters(recurse=False))}
    hooks = [module.register_forward_pre_hook(lambda module, _inputs: idle.discard(module)) for module in idle]
    network.final_heatmaps(torch.zeros(1, 3, _SMALL_CROP, _SMALL_CROP, device=next(network.parameters()).device))
    for hook in hooks:
        hook.remove()
    return frozenset(idle)
