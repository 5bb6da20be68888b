"""What a network starts its training from."""

import logging
import re
from pathlib import Path

import torch

from mspn.model.build import AnyNetwork
from mspn.weights.checkpoint import WeightsError, load_any, read_header
from mspn.weights.imagenet import Scope, start_from_imagenet
from mspn.weights.index import load_index
from mspn.weights.models import find_weights

logger = logging.getLogger(__name__)

_STAGE = re.compile(r"stages\.(\d+)\.")


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
    """Take every tensor over that has the same name and shape; others, of heads for other keypoints, stay random.

    Stages that the file does not have begin as its last one.
    """
    theirs = load_any(path).state_dict()
    ours = network.state_dict()
    last = max((int(stage[1]) for name in theirs if (stage := _STAGE.match(name))), default=0)
    sources = {name: theirs.get(_in_last_stage(name, last)) for name in ours}
    fitting = [name for name, source in sources.items() if source is not None and source.shape == ours[name].shape]
    if not any(name.startswith("stem.") and ours[name].ndim == 4 for name in fitting):
        raise WeightsError(
            f"{path} cannot start this network: not even its first convolution has the same shape; set"
            " train.initial_weights to another file, or to null for random weights"
        )
    for name in fitting:
        ours[name].copy_(sources[name])
    logger.info("starting from %s: %d of %d tensors fit", path, len(fitting), len(ours))


def _in_last_stage(name: str, last: int) -> str:
    """The name of a tensor of ours in a file whose stages end with that number."""
    stage = _STAGE.match(name)
    return name if stage is None else f"stages.{min(int(stage[1]), last)}.{name[stage.end() :]}"
