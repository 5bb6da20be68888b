"""Every recipe by its name."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

from mspn.config.recipe import AnyRecipe, DetectorRecipe, Recipe
from mspn.config.recipes.embedded import person_detector, small_256x192, tiny_192x128
from mspn.config.recipes.paper import (
    BASELINE_DEPTHS,
    ablation,
    cascaded_pyramid,
    coco_256x192,
    coco_384x288,
    external_384x288,
    hourglass,
    kernel_settings,
    other_backbone,
    rsn,
    rsn_as_in_their_paper,
    rsn_baseline,
    simple_baseline,
)
from mspn.config.recipes.study import study
from mspn.errors import InvalidValueError
from mspn.structures.boxes import Size

_ALL = [
    *(coco_256x192(stages) for stages in (1, 2, 3, 4)),
    coco_384x288(4),
    external_384x288(),
    small_256x192(),
    tiny_192x128(),
    other_backbone("resnet101", "resnet101"),
    other_backbone("resnet152", "resnet152"),
    other_backbone("resnet254", "resnet254"),
    other_backbone("resnet18-2", "resnet18", num_stages=2),
    other_backbone("l-xcp", "xception-large"),
    other_backbone("s-xcp-4", "xception-small", num_stages=4),
    *(hourglass(stages) for stages in (1, 2, 4, 8)),
    *ablation(),
    *kernel_settings(),
    *(simple_baseline(depth, size) for size in (Size(256, 192), Size(384, 288)) for depth in BASELINE_DEPTHS),
    cascaded_pyramid(),
    rsn("rsn-18", "rsn18"),
    rsn("rsn-50", "rsn50"),
    *(rsn(f"rsn-50-{stages}", "rsn50", stages) for stages in (2, 3, 4)),
    *rsn_as_in_their_paper(),
    rsn_baseline(),
]
RECIPES = {recipe.name: recipe for recipe in _ALL}
"""Of pose networks to use."""

STUDY_RECIPES = {recipe.name: recipe for recipe in study()}
"""Of small pose networks that are trained only to be compared (docs/study.md)."""

DETECTOR_RECIPES = {recipe.name: recipe for recipe in [person_detector()]}


def find_recipe(name: str) -> Recipe:
    """The recipe of the pose network of that name.

    Raises:
        ValueError: naming close ones, if there is none.
    """
    return _find(name, {**RECIPES, **STUDY_RECIPES})


def find_any_recipe(name: str) -> AnyRecipe:
    """The recipe of that name, of a pose network or of a detector; errors as in `find_recipe`."""
    recipes: dict[str, Recipe | DetectorRecipe] = {**RECIPES, **STUDY_RECIPES, **DETECTOR_RECIPES}
    return _find(name, recipes)


_Found = TypeVar("_Found", bound=Recipe | DetectorRecipe)


def _find(name: str, recipes: Mapping[str, _Found]) -> _Found:
    if name in recipes:
        return recipes[name]
    close = difflib.get_close_matches(name, recipes, n=3)
    there_are = ", ".join(known for known in recipes if known not in STUDY_RECIPES)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {there_are}"
    raise InvalidValueError(f"no recipe {name!r}; {hint}")
