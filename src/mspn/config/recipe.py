"""Recipes: all settings of a network and its training.

Defaults are the released code's where paper and code differ; docs/paper-to-code.md lists the departures.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag, ValidationInfo, field_validator, model_validator

from mspn.config.augmentation import AUGMENTATIONS, RELEASED_AUGMENTATION, AugmentationConfig
from mspn.config.data import DataConfig, SceneConfig, SceneDataConfig
from mspn.config.model import DetectorConfig, ModelConfig, NetworkConfig
from mspn.config.protocol import FAITHFUL_TEST, PROTOCOLS, ProtocolConfig
from mspn.config.skeleton_file import parse_skeleton
from mspn.config.supervision import SUPERVISIONS, SupervisionConfig
from mspn.config.train import TRAININGS, TrainConfig
from mspn.structures.settings import Settings
from mspn.structures.skeleton import Skeleton
from mspn.structures.skeletons import find_skeleton

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
