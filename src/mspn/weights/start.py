"""What a network starts its training from."""

import logging
from pathlib import Path

import torch

from mspn.model.build import AnyNetwork
from mspn.weights.checkpoint import WeightsError, load_any, read_header
from mspn.weights.imagenet import Scope, start_from_imagenet
from mspn.weights.index import load_index
from mspn.weights.models import find_weights

logger = logging.getLogger(__name__)


def start_from(network: AnyNetwork, source: str, scope: Scope) -> None:
    """Fill a network, in place, from weights of ours (a name or a file) or from an ImageNet network.

    Args:
        network: to fill.
        source: name of `mspn models list`, weights file of ours, or file of an ImageNet network.
        scope: what an ImageNet network fills, see `start_from_imagenet`.

    Raises:
        WeightsError: if there is no such name or file, or nothing in it fits.
    """
    if load_index().find(source) is not None or _has_our_header(Path(source)):
        _start_from_ours(network, find_weights(source))
    else:
        start_from_imagenet(network, Path(source), scope)


def _has_our_header(path: Path) -> bool:
    try:
        read_header(path)
    except WeightsError:
        return False
    return True


@torch.no_grad()
def _start_from_ours(network: AnyNetwork, path: Path) -> None:
    """Take every tensor over that has the same name and shape; others, of heads for other keypoints, stay random."""
    theirs = load_any(path).state_dict()
    ours = network.state_dict()
    fitting = [name for name, tensor in ours.items() if name in theirs and theirs[name].shape == tensor.shape]
    if not any(name.startswith("stem.") and ours[name].ndim == 4 for name in fitting):
        raise WeightsError(f"{path} cannot start this network: not even its first convolution has the same shape")
    for name in fitting:
        ours[name].copy_(theirs[name])
    logger.info("starting from %s: %d of %d tensors fit", path, len(fitting), len(ours))
