"""Settings of optimizer, schedule and machine, and those that papers and codes used."""

from typing import Literal

from pydantic import Field, model_validator

from mspn.structures.settings import Settings


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
