"""Settings: what a recipe consists of. Each default is written in one `*config.py`, and only there.

Defaults are the released code's where paper and code differ; docs/paper-to-code.md lists the departures.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, PositiveFloat, Tag, ValidationInfo, field_validator, model_validator

from mspn.augmentation_config import AUGMENTATIONS, RELEASED_AUGMENTATION, AugmentationConfig
from mspn.data_config import DataConfig
from mspn.model_config import DetectorConfig, ModelConfig, NetworkConfig
from mspn.scene_config import SceneConfig, SceneDataConfig
from mspn.settings import Settings
from mspn.skeleton import Skeleton, find_skeleton
from mspn.skeleton_file import parse_skeleton
from mspn.train_config import TRAININGS, TrainConfig


class SupervisionConfig(Settings):
    """Coarse-to-fine supervision with online hard keypoint mining (paper Sec. 3.3)."""

    kernel_sizes: tuple[int, ...] = (15, 11, 9, 7, 5)
    """Widths of the target bumps in cells, coarse to fine. Stages use the first four, the last stage the last four."""
    finer_last_stage: bool = True
    """Off: the last stage uses the first four kernels too."""
    coarse_weight: float = Field(0.25, ge=0)
    """Weight of the loss at the three coarser levels; 1 at the finest."""
    coarse_target: Literal["visible", "labelled"] = "visible"
    """visible: coarse levels learn visible keypoints and zero elsewhere (released code);
    labelled: they learn every labelled keypoint, and unlabelled ones do not count (MMPose)."""
    num_hard_keypoints: int | None = Field(8, ge=1)
    """How many of a person's worst keypoints count at the finest level; null: all, as at the coarse levels."""
    mining: Literal["every_stage", "last_stage"] = "every_stage"
    """Stages whose finest level counts the worst keypoints only; in the others it is learned as a coarse level is,
    at full weight. last_stage is CPN's."""
    foreground_weight: float = Field(0.0, ge=0)
    """Each pixel's error is weighted by 1 + foreground_weight * target; a head start for short runs."""

    @model_validator(mode="after")
    def _check_kernels(self) -> "SupervisionConfig":
        if len(self.kernel_sizes) != 5 or any(size < 3 or size % 2 == 0 for size in self.kernel_sizes):
            raise ValueError(f"kernel_sizes must be five odd numbers from 3 on, not {list(self.kernel_sizes)}")
        return self


RELEASED_SUPERVISION = SupervisionConfig()
MMPOSE_SUPERVISION = SupervisionConfig(coarse_target="labelled")
SUPERVISIONS = {"released": RELEASED_SUPERVISION, "mmpose": MMPOSE_SUPERVISION}


class TestConfig(Settings):
    """From heat maps to scored poses (paper Sec. 4.2 and the released code)."""

    __test__: ClassVar[bool] = False  # a name for pytest to leave alone

    padding: tuple[PositiveFloat, PositiveFloat] = (1.09, 1.135)
    """Factors on a box's width and height before it is fitted to the crop's shape."""
    flip: bool = True
    """Average with the heat maps of the mirrored crop."""
    mirror_shift: int = Field(0, ge=0)
    """Cells by which the mirrored crop's maps are moved to the right; 1 for decoder rounded."""
    blur_kernel: int = Field(5, ge=1)
    """Width of the Gaussian filter in cells; odd, 1 for none."""
    decoder: Literal["released", "mmpose", "rounded", "dark", "dark_filtered"] = "released"
    """released: a quarter cell toward the second highest cell, as the paper; mmpose: a quarter cell along each axis
    toward the higher neighbour, and none of it in the outer cells; rounded: the same for weights trained on keypoints
    rounded to the nearest cell (simple baseline), which lies at its corner then; dark: to the top of the parabola
    through the logarithm of the filtered map (Zhang et al. 2020), from the highest cell before the filter;
    dark_filtered: the same from the filtered map's highest cell."""
    score_offset: float = 0.5
    """Added to each keypoint's score before ranking."""
    rescoring: Literal["mean", "confident_mean", "box_only"] = "mean"
    """What ranks a pose: the box's score times the mean of its offset keypoint scores; times the mean of those above
    0.2 (MMPose); or the box's score alone."""
    suppression_oks: float | None = Field(None, gt=0, le=1)
    """Of two poses in a picture that are more similar than this (OKS), the one ranked lower is left out; null: none is.
    Where others suppress, 0.9 is usual."""

    @field_validator("blur_kernel")
    @classmethod
    def _check_blur_kernel(cls, width: int) -> int:
        if width % 2 == 0:
            raise ValueError(f"blur_kernel must be odd, not {width}")
        return width


FAITHFUL_TEST = TestConfig()
MMPOSE_TEST = TestConfig(padding=(1.25, 1.25), decoder="mmpose")
SIMPLE_BASELINE_TEST = TestConfig(
    padding=(1.25, 1.25), mirror_shift=1, blur_kernel=1, decoder="rounded", score_offset=0.0
)
"""Of published simple baselines, the authors' and MMPose's."""
PROTOCOLS = {"faithful": FAITHFUL_TEST, "mmpose": MMPOSE_TEST}

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
    """One of ours by its name, or all of one's own."""
    model: NetworkConfig = ModelConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    augmentation: AugmentationConfig = RELEASED_AUGMENTATION
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    test: TestConfig = FAITHFUL_TEST

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
"""Whatever can be trained, told apart by the kind of its model."""
