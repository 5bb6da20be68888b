"""What training needs to go on where it stopped."""

import json
import pickle
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from mspn.config import Recipe
from mspn.files import replacing, write_text
from mspn.recipes import SettingsError, parse_recipe

RECIPE_FILE = "recipe.json"
STATE_FILE = "state.pt"
WEIGHTS_FILE = "weights.safetensors"


class Progress(NamedTuple):
    """How far training is."""

    iteration: int
    """Iterations done."""
    seconds: float
    """Time spent training, over all sessions."""


def save_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write network, optimiser and progress, atomically."""
    with replacing(path) as temporary:
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), **progress._asdict()}, temporary)


def load_state(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    """Put network and optimiser back as they were; the file is read without unpickling objects.

    Raises:
        ValueError: if the file is damaged or does not belong to this network.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"{path} is damaged ({error}); start a new run, or put a whole copy of it there") from error
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return Progress(state["iteration"], state["seconds"])
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not fit the recipe of its run folder; start a new run") from error


def save_recipe(run: Path, recipe: Recipe) -> None:
    """Keep the resolved recipe in the run folder."""
    write_text(run / RECIPE_FILE, recipe.model_dump_json(indent=2) + "\n")


def load_recipe(run: Path) -> Recipe:
    """Read the recipe that a run folder keeps.

    Raises:
        SettingsError: if there is none or it is damaged.
    """
    path = run / RECIPE_FILE
    if not path.is_file():
        raise SettingsError(f"{run} is no run folder (it has no {RECIPE_FILE}); leave out --resume to start there")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(f"{path} is damaged ({error}); start a new run") from error
    return parse_recipe(values, where=str(path))
