"""One network from several training runs: their weights averaged."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mspn.checkpoints.format import Checkpoint
from mspn.config.recipe import Recipe
from mspn.errors import WeightsError
from mspn.models import build_network


def average_weights(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Average the weights of runs of one network, which costs nothing when it runs, unlike an ensemble.

    For runs that started from one another or from the same trained weights: such runs end on the rims of one valley of
    the loss, and its middle serves people whom none has seen better than any rim (Wortsman et al., "Model soups", ICML
    2022). Of runs from different random weights the average is worthless.

    The recipe is that of the last, sessions and training sets are those of all; what was measured on one (results, how
    far values go, what its scores mean) is left out.

    Raises:
        WeightsError: if there are fewer than two, or they are not of one network and one set of keypoints.
    """
    if len(checkpoints) < 2:
        raise WeightsError("an average needs two weights files or more")
    last = checkpoints[-1].metadata
    for checkpoint in checkpoints:
        _check_same_network(checkpoint.metadata.recipe, last.recipe)
    states = [checkpoint.model.state_dict() for checkpoint in checkpoints]
    model = build_network(last.recipe.model)
    model.load_state_dict({name: _mean([state[name] for state in states]) for name in states[-1]})
    metadata = last.model_copy(
        update={
            "data": tuple(dict.fromkeys(name for checkpoint in checkpoints for name in checkpoint.metadata.data)),
            "sessions": tuple(session for checkpoint in checkpoints for session in checkpoint.metadata.sessions),
            "notes": f"average of {len(checkpoints)} runs",
            "results": {},
            "calibration_ranges": {},
            "score_calibration": None,
        }
    )
    return Checkpoint(metadata, model.eval())


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """Counters, which are integers, are those of the last."""
    last = tensors[-1]
    if not last.is_floating_point():
        return last
    return torch.stack([tensor.double() for tensor in tensors]).mean(0).to(last.dtype)


def _check_same_network(one: Recipe, last: Recipe) -> None:
    shape, last_shape = ({"skeleton": recipe.skeleton, **recipe.model.model_dump()} for recipe in (one, last))
    for name in last_shape:
        if shape.get(name) != last_shape[name]:
            raise WeightsError(
                f"only weights of one network can be averaged: {name} is {shape.get(name)} in one of them and"
                f" {last_shape[name]} in the last"
            )
