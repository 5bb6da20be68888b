"""Settings of a recipe by their names: changing single ones, checking all of them."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from mspn.config.recipe import NAMED_SETTINGS, AnyRecipe, DetectorRecipe, Recipe, recipe_class
from mspn.config.skeleton_file import named_skeleton
from mspn.errors import SettingsError, SkeletonError, YamlError
from mspn.io.files import parse_yaml
from mspn.structures.settings import first_problem
from mspn.structures.skeleton import Skeleton
from mspn.structures.skeletons import SKELETONS

_SETS = ("data.train", "data.validation")
"""Settings that may be the path of labels alone."""

RecipeKind = TypeVar("RecipeKind", bound=Recipe | DetectorRecipe)


def override(recipe: RecipeKind, assignments: Sequence[str]) -> RecipeKind:
    """Change settings of a recipe by "path.to.setting=value", the value in YAML.

    "skeleton=hand.yaml" takes over the whole skeleton of that file, and the network's number of keypoints with it.

    Raises:
        SettingsError: for an unknown setting, naming close ones, or a value that it cannot have.
    """
    values = recipe.model_dump(mode="json")
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise SettingsError(f"--set {assignment}: write it as name=value, for example train.batch_size=8")
        *parents, key = path.strip().split(".")
        try:
            value = parse_yaml(text)
        except YamlError as error:
            raise SettingsError(f"--set {assignment}: the value is not YAML ({error})") from error
        if isinstance(value, str) and value in NAMED_SETTINGS.get(path, ()):
            value = NAMED_SETTINGS[path][value].model_dump()  # so that what follows can change parts of it
        if path == "skeleton" and isinstance(value, str):
            skeleton = _find_skeleton(value, assignment)
            # A file is kept whole: the recipe must not depend on where it lies.
            value = value if value in SKELETONS else skeleton.model_dump(mode="json")
            values["model"]["num_keypoints"] = len(skeleton.keypoints)
        if path in _SETS and isinstance(value, str) and Path(value).exists():
            value = str(Path(value).absolute())  # a path of the command line is not one below the data root
        try:
            _find_group(values, parents, assignment)[_position(key)] = value
        except (IndexError, TypeError) as error:
            raise SettingsError(f"--set {assignment}: {'.'.join(parents)} is a list and has no item {key!r}") from error
    # The first problem names its setting; a dozen other assignments before it would only hide it.
    changed = parse_recipe(values, where=f"--set {assignments[0]}" if len(assignments) == 1 else "--set")
    if not isinstance(changed, type(recipe)):
        raise SettingsError(f"--set: {recipe.name} cannot become a network of another task; name another recipe")
    return changed


def with_skeleton(recipe: Recipe, skeleton: Skeleton) -> Recipe:
    """The recipe for other keypoints."""
    model = recipe.model.model_copy(update={"num_keypoints": len(skeleton.keypoints)})
    return recipe.model_copy(update={"skeleton": skeleton, "model": model})


def _find_skeleton(name_or_file: str, assignment: str) -> Skeleton:
    try:
        return named_skeleton(name_or_file)
    except SkeletonError as error:
        raise SettingsError(f"--set {assignment}: {error}") from error


def parse_recipe(values: Any, where: str) -> AnyRecipe:
    """Check plain values against the settings; `where` says in errors what was read.

    Raises:
        SettingsError: with one line for the first thing that is wrong.
    """
    try:
        return recipe_class(values).model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{where}: {first_problem(error)}") from error


def _find_group(values: Any, parents: Sequence[str], assignment: str) -> Any:
    """The settings, or the list of them, that a path leads to; list items are counted from 0."""
    node = values
    for parent in parents:
        try:
            node = node[_position(parent)]
        except (KeyError, IndexError, TypeError):
            node = None
        if not isinstance(node, dict | list):
            groups = [name for name, value in values.items() if isinstance(value, dict)]
            close = difflib.get_close_matches(parent, groups, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(groups)}"
            raise SettingsError(f"--set {assignment}: no group of settings {parent!r}; {hint}")
    return node


def _position(key: str) -> str | int:
    return int(key) if key.isdecimal() else key
