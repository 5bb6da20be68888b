"""Settings of augmentation, loss, optimizer, schedule and machine, and those that papers and codes used."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, ValidationInfo, field_validator, model_validator

from mspn.structures.settings import Settings


class AugmentationConfig(Settings):
    """Random changes to a person's crop frame (paper Sec. 4.2), and to the crop's pixels (by default none).

    Factors multiply the region that the crop covers.
    """

    base_padding: float = Field(1.05, gt=0)
    random_padding: tuple[NonNegativeFloat, NonNegativeFloat] = (0.6, 0.8)
    """The box's width and height grow by factors 1 to 1 + these, each drawn on its own."""
    half_body_probability: float = Field(0.3, ge=0, le=1)
    half_body_above: int = Field(3, ge=0)
    """Only people with more labeled keypoints than this are cut to half a body."""
    half_body_needs: int = Field(3, ge=0)
    """A half is chosen only when it has more labeled keypoints than this."""
    half_body_upper_probability: float = Field(0.5, ge=0, le=1)
    """Of preferring the upper half."""
    half_body_hips: Literal["skeleton", "lower"] = "skeleton"
    """skeleton: they belong to the half that the skeleton says; lower: always to that one (MMPose)."""
    half_body_center: Literal["box", "mean"] = "box"
    """Of the crop: the middle of the half's box, or the mean of its keypoints."""
    half_body_padding: float = Field(1.0, gt=0)
    """In place of base_padding."""
    distribution: Literal["uniform", "normal"] = "uniform"
    """Of scale, rotation and shift between their limits; normal: one deviation from the middle is the limit."""
    scale: tuple[PositiveFloat, PositiveFloat] = (0.6, 1.0)
    """Lowest and highest factor."""
    rotation_probability: float = Field(0.5, ge=0, le=1)
    max_rotation_degrees: float = Field(45.0, ge=0, le=180)
    shift_probability: float = Field(0.0, ge=0, le=1)
    max_shift: float = Field(0.0, ge=0)
    """Along each side, as a share of the padded box's width and height."""
    mirror_probability: float = Field(0.5, ge=0, le=1)
    max_color: float = Field(0.0, ge=0, lt=1)
    """Brightness, contrast and saturation change by up to this share each."""
    gray_probability: float = Field(0.0, ge=0, le=1)
    blur_probability: float = Field(0.0, ge=0, le=1)
    blur: tuple[PositiveFloat, PositiveFloat] = (0.5, 2.0)
    """Smallest and largest deviation of the Gaussian filter, in crop pixels."""
    occlusion_probability: float = Field(0.0, ge=0, le=1)
    occlusion: tuple[PositiveFloat, PositiveFloat] = (0.02, 0.2)
    """Smallest and largest share of the crop that a rectangle hides; keypoints below it still count."""
    jpeg_probability: float = Field(0.0, ge=0, le=1)
    jpeg_quality: tuple[int, int] = (20, 80)
    """Lowest and highest; 1 to 100."""

    @field_validator("scale", "blur", "occlusion", "jpeg_quality")
    @classmethod
    def _check_range(cls, limits: tuple[float, float], info: ValidationInfo) -> tuple[float, float]:
        if limits[0] > limits[1]:
            raise ValueError(f"{info.field_name} must be the lowest value, then the highest, not {list(limits)}")
        return limits

    @model_validator(mode="after")
    def _check_shares(self) -> "AugmentationConfig":
        if self.occlusion[1] > 1:
            raise ValueError(f"occlusion is a share of the crop, 1 at most, not {self.occlusion[1]}")
        if not 1 <= self.jpeg_quality[0] <= self.jpeg_quality[1] <= 100:
            raise ValueError(f"jpeg_quality must be from 1 to 100, not {list(self.jpeg_quality)}")
        return self


RELEASED_AUGMENTATION = AugmentationConfig()
"""The released code's, its half-body coin mended: it drew a normal number where a uniform one was meant."""

PAPER_AUGMENTATION = AugmentationConfig(
    base_padding=1.0,
    random_padding=(0.0, 0.0),
    half_body_probability=0.5,
    half_body_above=8,
    half_body_needs=0,
    scale=(0.7, 1.35),
    rotation_probability=1.0,
)
"""As the paper words it: people with more than eight keypoints are cut to the upper or lower body, with equal chance.

The paper does not say how often. The authors' settings for MPII have its eight keypoints, and a probability of 0.5; cut
always, nine of ten people with that many keypoints would never be seen whole.
"""

MMPOSE_AUGMENTATION = AugmentationConfig(
    base_padding=1.25,
    random_padding=(0.0, 0.0),
    half_body_above=8,
    half_body_needs=2,
    half_body_upper_probability=0.7,
    half_body_hips="lower",
    half_body_center="mean",
    half_body_padding=1.5,
    distribution="normal",
    scale=(0.5, 1.5),
    rotation_probability=0.6,
    max_rotation_degrees=80.0,
    shift_probability=0.3,
    max_shift=0.16,
)
"""MMPose 1.x. Two keypoints are enough for its upper half, but nine labeled ones of COCO always have three in it."""

STRONG_AUGMENTATION = AugmentationConfig(
    max_color=0.3,
    gray_probability=0.05,
    blur_probability=0.2,
    occlusion_probability=0.3,
    jpeg_probability=0.2,
)
"""The released code's frames, and pixels as other cameras, hands and files would have them."""

NO_AUGMENTATION = AugmentationConfig(
    base_padding=1.0,
    random_padding=(0.0, 0.0),
    half_body_probability=0.0,
    scale=(1.0, 1.0),
    rotation_probability=0.0,
    mirror_probability=0.0,
)

AUGMENTATIONS = {
    "released": RELEASED_AUGMENTATION,
    "paper": PAPER_AUGMENTATION,
    "mmpose": MMPOSE_AUGMENTATION,
    "strong": STRONG_AUGMENTATION,
    "none": NO_AUGMENTATION,
}
"""Names that `augmentation` may be set to."""


class SupervisionConfig(Settings):
    """Coarse-to-fine supervision with online hard keypoint mining (paper Sec. 3.3)."""

    kernel_sizes: tuple[int, ...] = (15, 11, 9, 7, 5)
    """Widths of target Gaussians in cells, coarse to fine. Stages use the first four, the last stage the last four."""
    finer_last_stage: bool = True
    """Off: the last stage uses the first four kernels too."""
    coarse_weight: float = Field(0.25, ge=0, allow_inf_nan=False)
    """Weight of the loss at the three coarser levels; 1 at the finest."""
    coarse_target: Literal["visible", "labeled"] = "visible"
    """visible: coarse levels learn visible keypoints and zero elsewhere (released code);
    labeled: they learn every labeled keypoint, and unlabeled ones do not count (MMPose)."""
    num_hard_keypoints: int | None = Field(8, ge=1)
    """How many of a person's worst keypoints count at the finest level; null: all, as at the coarse levels."""
    ohkm: Literal["every_stage", "last_stage"] = "every_stage"
    """Stages whose finest level counts the worst keypoints only; in the others it is learned as a coarse level is,
    at full weight. last_stage is CPN's."""
    foreground_weight: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Each pixel's error is weighted by 1 + foreground_weight * target; a head start for short runs."""
    oks_weight: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Of the loss of expected OKS at the finest level of each stage, beside the squared errors: maps then learn what
    `test.decoder=expected_oks` reads off them."""

    @model_validator(mode="after")
    def _check_kernels(self) -> "SupervisionConfig":
        if len(self.kernel_sizes) != 5 or any(not 3 <= size <= 255 or size % 2 == 0 for size in self.kernel_sizes):
            raise ValueError(f"kernel_sizes must be five odd numbers from 3 to 255, not {list(self.kernel_sizes)}")
        return self


RELEASED_SUPERVISION = SupervisionConfig()
MMPOSE_SUPERVISION = SupervisionConfig(coarse_target="labeled")
SUPERVISIONS = {"released": RELEASED_SUPERVISION, "mmpose": MMPOSE_SUPERVISION}


class TrainConfig(Settings):
    """Optimizer and schedule (paper Sec. 4.2 and the released code); how the work is spread and kept."""

    iterations: int = Field(96_000, ge=2, le=10**9)
    """Steps of the optimizer."""
    batch_size: int = Field(256, ge=1, le=2**16)
    """People a step, over all processes."""
    learning_rate: float = Field(5e-4, gt=0)
    """For 32 people a batch; scaled in proportion to the batch."""
    warmup_iterations: int = Field(2400, ge=0)
    """The rate climbs linearly at first."""
    warmup_start: float = Field(0.1, ge=0, le=1)
    """Share of the rate that it climbs from."""
    decay: Literal["linear", "steps"] = "linear"
    """After the climb. linear: the rate falls to 0, which the last iteration has; steps: a tenth at each milestone."""
    milestones: tuple[int, ...] = ()
    """Iterations from which on the rate is a tenth of what it was before; for steps."""
    weight_decay: float = Field(1e-5, ge=0)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """The run's weights are an exponential moving average over the iterations, this much of the old kept in each
    (less in the first ones); null: they are the last iteration's."""
    norm: Literal["local", "synchronized", "frozen"] = "local"
    """Batch norms see the people of one process (local), of all processes (synchronized, GPUs only), or keep their
    running statistics (frozen)."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """float16 scales the loss so that gradients do not vanish."""
    accumulate: int = Field(1, ge=1, le=2**16)
    """A process sees its people in this many parts, one after another: less memory for the same gradient (but each
    part has batch statistics of its own)."""
    recompute_activations: bool = False
    """Keep less for the backward pass and compute it again: less memory for about a third more time."""
    compile: bool = False
    """Let torch compile the network: minutes at the start, faster steps on a GPU."""
    device: str = "auto"
    threads: int | None = Field(None, ge=1, le=1024)
    """CPU threads of a process; null: torch decides."""
    seed: int = Field(0, ge=0, lt=2**63)
    metrics_every: int = Field(50, ge=1)
    """Iterations between rows of the metrics; there is one at the end of each epoch, too."""
    checkpoint_every: int = Field(2400, ge=1)
    """Iterations between checkpoints."""
    keep_checkpoints: int = Field(2, ge=1)
    """The newest ones stay."""
    validate_every: int = Field(10, ge=1)
    """Epochs between two measurements on data.validation; there is one at the end, too."""
    patience: int | None = Field(None, ge=1)
    """Training ends early after this many measurements in a row without a better average precision; null: never."""
    tensorboard: bool = False
    """Write TensorBoard events into the run folder (needs the extra `log`)."""
    initial_weights: str | None = None
    """What to start from: one of our weights files or names (what has the same name and shape is taken over, and
    further stages begin as its last one), or a file of an ImageNet network (a ResNet in torchvision's layout, an
    EfficientNet-Lite in that of efficientnet-lite-pytorch); null: random weights."""
    initial_keypoints: dict[str, str] = Field(default_factory=dict)
    """Whose maps of `initial_weights`, weights of this package, start those of a keypoint that has another name there,
    by the name here, such as {"hoof": "left_ankle"}; keypoints of the same name need none."""
    frozen_parts: tuple[str, ...] = ()
    """Parts of the network that keep what they start from, by module names such as ["stem", "stages.1"]: less to
    compute, and nothing is forgotten where there is little data."""
    initial_scope: Literal["all-stages", "first-stage", "stem"] = "all-stages"
    """What an ImageNet network fills. all-stages: the stem and every stage's down-sampling layers (MMPose);
    first-stage: the stem and the first stage's; stem: the stem alone (a ResNet's first convolution and norm, all that
    reached the released code's networks)."""

    @model_validator(mode="after")
    def _check(self) -> "TrainConfig":
        if list(self.milestones) != sorted(set(self.milestones)) or any(step < 1 for step in self.milestones):
            raise ValueError(f"milestones must be rising iterations from 1 on, not {list(self.milestones)}")
        if bool(self.milestones) != (self.decay == "steps"):
            raise ValueError("milestones belong to decay steps: set both, or neither")
        if self.compile and self.recompute_activations:
            raise ValueError("compile and recompute_activations exclude each other; a compiled network saves memory")
        return self


class DistillationConfig(Settings):
    """Knowledge distillation: a person detector learns what another one says of each cell of a scene."""

    teacher: str | None = None
    """The other one, as `--detector` takes it: an ONNX file whose levels are at 1/8, 1/16 and 1/32 of an input of
    `scene.side` pixels, such as NanoDet's; null: labels alone."""
    label_weight: float = Field(0.5, ge=0)
    """Of the loss of the labels, where there is a teacher, whose own has weight 1."""


RELEASED_TRAINING = TrainConfig()
"""The released code's."""

PAPER_TRAINING = TrainConfig(iterations=90_000, warmup_iterations=0)
"""As the paper words it: no climb, 90,000 iterations. Its 5e-4 is taken for 32 people, as its authors' code has it."""

MMPOSE_TRAINING = TrainConfig(
    iterations=122_850,
    learning_rate=6.25e-4,
    warmup_iterations=500,
    warmup_start=0.001,
    decay="steps",
    milestones=(99_450, 117_000),
    weight_decay=0.0,
)
"""MMPose's 210 epochs of COCO, 585 batches each: a tenth from epochs 170 and 200 on, 5e-3 for 256 people."""

MMPOSE_RSN_18_TRAINING = MMPOSE_TRAINING.model_copy(
    update={"learning_rate": 2.5e-3, "milestones": (99_450, 111_150, 117_000)}
)
"""MMPose's for RSN-18 alone: 2e-2 for 256 people, a tenth from epochs 170, 190 and 200 on."""

TRAININGS = {
    "released": RELEASED_TRAINING,
    "paper": PAPER_TRAINING,
    "mmpose": MMPOSE_TRAINING,
    "mmpose-rsn-18": MMPOSE_RSN_18_TRAINING,
}
"""Names that `train` may be set to."""
