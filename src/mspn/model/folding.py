"""Batch norms folded into the convolutions before them: the same answers with fewer steps."""

import copy
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mspn.model.pose_network import Network


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
