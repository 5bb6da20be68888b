"""Settings: what a recipe consists of. Each default is written here or in `mspn.model_config`, and only there.

Defaults are the released code's where paper and code differ; docs/paper-to-code.md lists the departures.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, field_validator, model_validator

from mspn.model_config import ModelConfig, NetworkConfig
from mspn.settings import Settings
from mspn.skeleton import Skeleton, find_skeleton


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


class AugmentationConfig(Settings):
    """Random changes to a person's crop frame (paper Sec. 4.2). Factors multiply the region that the crop covers."""

    base_padding: float = Field(1.05, gt=0)
    random_padding: tuple[NonNegativeFloat, NonNegativeFloat] = (0.6, 0.8)
    """The box's width and height grow by factors 1 to 1 + these, each drawn on its own."""
    half_body_probability: float = Field(0.3, ge=0, le=1)
    half_body_above: int = Field(3, ge=0)
    """Only people with more labelled keypoints than this are cut to half a body."""
    half_body_needs: int = Field(3, ge=0)
    """A half is chosen only when it has more labelled keypoints than this."""
    scale: tuple[PositiveFloat, PositiveFloat] = (0.6, 1.0)
    """Lowest and highest factor."""
    rotation_probability: float = Field(0.5, ge=0, le=1)
    max_rotation_degrees: float = Field(45.0, ge=0, le=180)
    mirror_probability: float = Field(0.5, ge=0, le=1)

    @field_validator("scale")
    @classmethod
    def _check_scale(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError(f"scale must be the lowest factor, then the highest, not {list(scale)}")
        return scale


RELEASED_AUGMENTATION = AugmentationConfig()
"""The released code's, its half-body coin mended: it drew a normal number where a uniform one was meant."""

PAPER_AUGMENTATION = AugmentationConfig(
    base_padding=1.0,
    random_padding=(0.0, 0.0),
    half_body_probability=1.0,
    half_body_above=8,
    half_body_needs=0,
    scale=(0.7, 1.35),
    rotation_probability=1.0,
)
"""As the paper words it: more than eight keypoints are cut to the upper or lower body with equal chance."""

NO_AUGMENTATION = AugmentationConfig(
    base_padding=1.0,
    random_padding=(0.0, 0.0),
    half_body_probability=0.0,
    scale=(1.0, 1.0),
    rotation_probability=0.0,
    mirror_probability=0.0,
)

AUGMENTATIONS = {"released": RELEASED_AUGMENTATION, "paper": PAPER_AUGMENTATION, "none": NO_AUGMENTATION}
"""Names that `augmentation` may be set to."""


class PeopleSetConfig(Settings):
    """One labelled data set, COCO keypoint JSON."""

    annotations: str
    """File, relative to the data root."""
    images: str
    """Folder, relative to the data root."""
    faces: str | None = None
    """File of proposed face keypoints by annotation id, relative to the data root."""
    faces_from: float = Field(0.3, ge=0, le=1)
    """Proposals with a lower score do not count."""
    never_labelled: tuple[str, ...] = ()
    """Keypoints that this set does not label for anybody: they never count, not even as background."""
    weight: float = Field(1.0, gt=0)
    """How often each person is drawn per epoch, on average."""


class DataConfig(Settings):
    root: str = "data"
    train: tuple[PeopleSetConfig, ...] = ()
    workers: int = Field(1, ge=0)
    """Processes that read and cut pictures; 0: the training process does."""


class TrainConfig(Settings):
    """Optimiser and schedule (paper Sec. 4.2 and the released code)."""

    iterations: int = Field(96_000, ge=2)
    """The last one has a rate of 0."""
    batch_size: int = Field(256, ge=1)
    learning_rate: float = Field(5e-4, gt=0)
    """For 32 people a batch; scaled in proportion to the batch."""
    warmup_iterations: int = Field(2400, ge=0)
    """The rate climbs linearly from a tenth, then falls linearly to 0."""
    weight_decay: float = Field(1e-5, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "auto"
    threads: int | None = Field(None, ge=1)
    """CPU threads of the network; null: torch decides."""
    seed: int = Field(0, ge=0)
    checkpoint_every: int = Field(2400, ge=1)
    """Iterations between checkpoints; one is also written at each epoch's end."""
    initial_weights: str | None = None
    """File of an ImageNet ResNet in torchvision's layout to start from; null: random weights."""
    initial_scope: Literal["all-stages", "first-stage", "stem"] = "all-stages"
    """What it fills. all-stages: the stem and every stage's down-sampling layers (MMPose); first-stage: the stem and
    the first stage's; stem: its first convolution and norm alone (all that reached the released code's networks)."""


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
    decoder: Literal["released", "mmpose", "rounded"] = "released"
    """released: a quarter cell toward the second highest cell, as the paper; mmpose: a quarter cell along each axis
    toward the higher neighbour, and none of it in the outer cells; rounded: the same for weights trained on keypoints
    rounded to the nearest cell (simple baseline), which lies at its corner then."""
    score_offset: float = 0.5
    """Added to each keypoint's score before ranking."""

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


class Recipe(Settings):
    """Everything that defines an experiment."""

    name: str
    skeleton: str = "coco-17"
    model: NetworkConfig = ModelConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    augmentation: AugmentationConfig = RELEASED_AUGMENTATION
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    test: TestConfig = FAITHFUL_TEST

    @property
    def keypoint_table(self) -> Skeleton:
        return find_skeleton(self.skeleton)

    @field_validator("augmentation", mode="before")
    @classmethod
    def _find_augmentation(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in AUGMENTATIONS:
            raise ValueError(f"no augmentation {value!r}; there are {', '.join(AUGMENTATIONS)}")
        return AUGMENTATIONS[value]

    @model_validator(mode="after")
    def _check_skeleton(self) -> "Recipe":
        if self.model.num_keypoints != len(self.keypoint_table.keypoints):
            raise ValueError(
                f"model.num_keypoints is {self.model.num_keypoints}, but skeleton {self.skeleton} has"
                f" {len(self.keypoint_table.keypoints)}; make them agree"
            )
        return self
