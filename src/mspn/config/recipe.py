"""Recipes: all settings of a network and its training, by their names; changing single ones, checking all of them.

Defaults are the released code's where paper and code differ; docs/paper-to-code.md lists the departures.
"""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Discriminator, Tag, ValidationError, ValidationInfo, field_validator, model_validator

from mspn.config.data import DataConfig, SceneConfig, SceneDataConfig, named_skeleton, parse_skeleton
from mspn.config.model import DetectorConfig, ModelConfig, NetworkConfig
from mspn.config.protocol import FAITHFUL_TEST, PROTOCOLS, ProtocolConfig
from mspn.config.train import (
    AUGMENTATIONS,
    RELEASED_AUGMENTATION,
    SUPERVISIONS,
    TRAININGS,
    AugmentationConfig,
    DistillationConfig,
    SupervisionConfig,
    TrainConfig,
)
from mspn.errors import SettingsError, SkeletonError, YamlError
from mspn.io.files import parse_yaml
from mspn.structures.settings import Settings, first_problem
from mspn.structures.skeleton import SKELETONS, Skeleton, find_skeleton

NAMED_SETTINGS: dict[str, Mapping[str, Settings]] = {
    "supervision": SUPERVISIONS,
    "augmentation": AUGMENTATIONS,
    "train": TRAININGS,
    "test": PROTOCOLS,
}
"""Names that whole groups of a recipe's settings may be set to."""


class Recipe(Settings):
    """Everything that defines a pose network and its training."""

    name: str
    skeleton: str | Skeleton = "coco-17"
    """A built-in skeleton by its name, or a definition."""
    model: NetworkConfig = ModelConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    augmentation: AugmentationConfig = RELEASED_AUGMENTATION
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    test: ProtocolConfig = FAITHFUL_TEST

    @property
    def keypoint_table(self) -> Skeleton:
        return find_skeleton(self.skeleton) if isinstance(self.skeleton, str) else self.skeleton

    @field_validator("skeleton", mode="before")
    @classmethod
    def _parse_skeleton(cls, value: Any) -> Any:
        return parse_skeleton(value) if isinstance(value, dict) else value

    @field_validator(*NAMED_SETTINGS, mode="before")
    @classmethod
    def _find_named(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, str):
            return value
        named = NAMED_SETTINGS[info.field_name or ""]
        if value not in named:
            raise ValueError(f"no settings named {value!r}; there are {', '.join(named)}")
        return named[value]

    @model_validator(mode="after")
    def _check_skeleton(self) -> "Recipe":
        if self.model.num_keypoints != len(self.keypoint_table.keypoints):
            raise ValueError(
                f"model.num_keypoints is {self.model.num_keypoints}, but skeleton {self.keypoint_table.name} has"
                f" {len(self.keypoint_table.keypoints)}; make them agree"
            )
        return self


class DetectorRecipe(Settings):
    """Everything that defines a person detector and its training."""

    name: str
    model: DetectorConfig = DetectorConfig()
    scene: SceneConfig = SceneConfig()
    data: SceneDataConfig = SceneDataConfig()
    distillation: DistillationConfig = DistillationConfig()
    train: TrainConfig = TrainConfig()
    """A person here is a scene there: batch_size counts scenes."""


def recipe_class(values: Any) -> type[Recipe] | type[DetectorRecipe]:
    """What plain values, or settings, are a recipe of; whatever is no detector's is a pose network's."""
    model = values.get("model") if isinstance(values, dict) else getattr(values, "model", None)
    kind = model.get("kind") if isinstance(model, dict) else getattr(model, "kind", None)
    return DetectorRecipe if kind == DetectorConfig().kind else Recipe


AnyRecipe = Annotated[
    Annotated[Recipe, Tag(Recipe.__name__)] | Annotated[DetectorRecipe, Tag(DetectorRecipe.__name__)],
    Discriminator(lambda values: recipe_class(values).__name__),
]
"""Any recipe; the kind of its model says which."""


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
