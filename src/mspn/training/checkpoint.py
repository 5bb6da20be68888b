"""Checkpoints of a run: network, optimizer, random state; written atomically, restored exactly."""

import logging
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, FiniteFloat, TypeAdapter
from pydantic_core import from_json

from mspn.checkpoints.torch_file import read_torch_file
from mspn.config.recipe import AnyRecipe, parse_recipe
from mspn.errors import InvalidValueError, SettingsError, WeightsError
from mspn.io.files import replacing, write_text

RECIPE_FILE = "recipe.json"
WEIGHTS_FILE = "weights.safetensors"
BEST_FILE = "best.safetensors"
CHECKPOINT_FOLDER = "checkpoints"

logger = logging.getLogger(__name__)


class Progress(NamedTuple):
    """How far training is."""

    iteration: Annotated[int, Field(ge=0)] = 0
    """Iterations done."""
    seconds: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    """Time spent training, over all sessions."""
    best: FiniteFloat = -1.0
    """Highest average precision so far; -1: none."""
    since_best: Annotated[int, Field(ge=0)] = 0
    """Measurements since then."""

    def with_measured(self, average_precision: float) -> "Progress":
        """After one more measurement."""
        if average_precision > self.best:
            return self._replace(best=average_precision, since_best=0)
        return self._replace(since_best=self.since_best + 1)

    def exhausts(self, patience: int | None) -> bool:
        """Whether training ends early, see `TrainConfig.patience`."""
        return patience is not None and self.since_best >= patience


_PROGRESS = TypeAdapter(Progress)


def save_checkpoint(run: Path, state: Mapping[str, Any], progress: Progress, keep: int) -> None:
    """Write a checkpoint atomically, then delete all but the newest `keep` up to this iteration.

    Raises:
        FileError: if it cannot be written; earlier checkpoints are then kept.
    """
    path = run / CHECKPOINT_FOLDER / f"iteration-{progress.iteration:09d}.pt"
    with replacing(path, RuntimeError) as temporary:
        torch.save({**progress._asdict(), **state}, temporary)
    # Training resumes from the newest readable checkpoint, so a later one is damaged and must not count as one to keep.
    for outdated in [found for found in find_checkpoints(run) if found.name <= path.name][keep:]:
        outdated.unlink(missing_ok=True)


def find_checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run folder, newest first."""
    return sorted((run / CHECKPOINT_FOLDER).glob("iteration-*.pt"), reverse=True)


def restore_checkpoint(run: Path, restore: Callable[[Mapping[str, Any]], None]) -> Progress:
    """Restore a run's newest readable checkpoint; files are read without unpickling objects.

    Args:
        run: folder of the run.
        restore: called with the state.

    Raises:
        ValueError: if all are damaged, or one does not belong to this network.
    """
    problem = ""
    for path in find_checkpoints(run):
        try:
            state = read_torch_file(path)
        except WeightsError as error:
            problem = str(error)
            logger.warning("skipped: %s", problem)
            continue
        try:
            # Checkpoints of earlier versions do not count measurements.
            fields = (state["iteration"], state["seconds"], state["best"], state.get("since_best", 0))
            progress = _PROGRESS.validate_python(fields, strict=True)
            restore(state)
            return progress
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise InvalidValueError(f"{path} does not fit the recipe of its run folder; start a new run") from error
    raise InvalidValueError(f"{problem}; there is no other to go on from, so start a new run")


def save_recipe(run: Path, recipe: AnyRecipe) -> None:
    """Write the resolved recipe into the run folder."""
    write_text(run / RECIPE_FILE, recipe.model_dump_json(indent=2) + "\n")


def load_recipe(run: Path) -> AnyRecipe:
    """Read the recipe of a run folder.

    Raises:
        SettingsError: if there is none or it is damaged.
    """
    path = run / RECIPE_FILE
    if not path.is_file():
        raise SettingsError(f"{run} is no run folder (it has no {RECIPE_FILE}); leave out --resume to start there")
    try:
        values = from_json(path.read_bytes())  # which refuses deep nesting and half characters
    except ValueError as error:
        raise SettingsError(f"{path} is damaged ({error}); start a new run") from error
    return parse_recipe(values, where=str(path))


def capture_random_state(device: torch.device) -> dict[str, Any]:
    """State of the generators of Python, NumPy, torch, and the process's GPU."""
    kind, keys, *position = np.random.get_state(legacy=True)
    state = {
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys, np.int64)), *position],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Set the generators to a state of `capture_random_state`."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, words, *position = state["numpy"]
    np.random.set_state((kind, words.numpy().astype(np.uint32), *position))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
