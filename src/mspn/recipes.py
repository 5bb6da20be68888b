"""Named experiments: each recipe is a function that returns its settings; `override` changes single ones."""

import difflib
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from mspn.config import AUGMENTATIONS, DataConfig, ModelConfig, PeopleSetConfig, Recipe, SupervisionConfig, TrainConfig
from mspn.records import Size
from mspn.skeleton import FACE

_COCO_TRAIN = DataConfig(
    train=(PeopleSetConfig(annotations="coco/annotations/person_keypoints_train2017.json", images="coco/train2017"),),
    workers=8,
)


def coco_256x192(num_stages: int) -> Recipe:
    """The paper's network and training on COCO (Sec. 4.2), ResNet-50 modules, 256x192 crops."""
    return Recipe(name=f"mspn-{num_stages}", model=ModelConfig(num_stages=num_stages), data=_COCO_TRAIN)


def coco_384x288(num_stages: int) -> Recipe:
    """The same at the paper's larger crop size (Sec. 4.4)."""
    model = ModelConfig(num_stages=num_stages, input_size=Size(384, 288))
    return Recipe(name=f"mspn-{num_stages}-384x288", model=model, data=_COCO_TRAIN)


def small_192x128() -> Recipe:
    """Our embedded network: two narrow ResNet-18 stages for a few thousand photos and one CPU.

    Differs from the paper where little data asks for it: unlabelled keypoints never count as background, every
    keypoint counts (crowd-sourced labels are wrong now and then, and mining would seek out just those), and pixels
    near a keypoint weigh more, which leaves the flat start a little faster. The crop is smaller and slimmer than the
    paper's 4:3, at half the cost: the photos are no larger.
    """
    return Recipe(
        name="mspn-small",
        model=ModelConfig(
            backbone="resnet18", num_stages=2, stem_channels=32, up_channels=96, input_size=Size(192, 128)
        ),
        supervision=SupervisionConfig(coarse_target="labelled", num_hard_keypoints=None, foreground_weight=15.0),
        data=DataConfig(
            train=(
                PeopleSetConfig(
                    annotations="lspet_train/annotations.json",
                    images="lspet_train/images",
                    faces="lspet_train/faces.json",
                    never_labelled=FACE,
                ),
                PeopleSetConfig(annotations="coco_train/annotations.json", images="coco_train/images"),
                PeopleSetConfig(annotations="studio_train/annotations.json", images="studio_train/images"),
                PeopleSetConfig(annotations="web_train/annotations.json", images="web_train/images", weight=2.0),
            ),
        ),
        train=TrainConfig(
            iterations=11_000,
            batch_size=32,
            learning_rate=1e-3,
            warmup_iterations=300,
            precision="bfloat16",
            checkpoint_every=1000,
        ),
    )


_ALL = [
    *(coco_256x192(stages) for stages in (1, 2, 3, 4)),
    coco_384x288(4),
    small_192x128(),
]
RECIPES = {recipe.name: recipe for recipe in _ALL}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: naming close ones, if there is none.
    """
    if name in RECIPES:
        return RECIPES[name]
    close = difflib.get_close_matches(name, RECIPES, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(RECIPES)}"
    raise ValueError(f"no recipe {name!r}; {hint}")


class SettingsError(ValueError):
    """A setting that does not exist or has an impossible value."""


def override(recipe: Recipe, assignments: Sequence[str]) -> Recipe:
    """Change settings of a recipe by "path.to.setting=value", the value in YAML.

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
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError(f"--set {assignment}: the value is not YAML ({error})".replace("\n", " ")) from error
        if path == "augmentation" and value in AUGMENTATIONS:  # so that what follows can change parts of it
            value = AUGMENTATIONS[value].model_dump()
        try:
            _find_group(values, parents, assignment)[_position(key)] = value
        except (IndexError, TypeError) as error:
            raise SettingsError(f"--set {assignment}: {'.'.join(parents)} is a list and has no item {key!r}") from error
    return parse_recipe(values, where="--set " + " ".join(assignments) if assignments else "recipe")


def parse_recipe(values: Any, where: str) -> Recipe:
    """Check plain values against the settings; `where` says in errors what was read.

    Raises:
        SettingsError: with one line for the first thing that is wrong.
    """
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{where}: {path + ': ' if path else ''}{message}") from error


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
