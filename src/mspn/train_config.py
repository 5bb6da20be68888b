"""Settings of optimiser, schedule and machine."""

from typing import Literal

from pydantic import Field

from mspn.settings import Settings


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
