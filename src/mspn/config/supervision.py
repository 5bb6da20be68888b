"""Settings of the loss: coarse-to-fine supervision and hard keypoint mining."""

from typing import Literal

from pydantic import Field, model_validator

from mspn.structures.settings import Settings


class SupervisionConfig(Settings):
    """Coarse-to-fine supervision with online hard keypoint mining (paper Sec. 3.3)."""

    kernel_sizes: tuple[int, ...] = (15, 11, 9, 7, 5)
    """Widths of target Gaussians in cells, coarse to fine. Stages use the first four, the last stage the last four."""
    finer_last_stage: bool = True
    """Off: the last stage uses the first four kernels too."""
    coarse_weight: float = Field(0.25, ge=0)
    """Weight of the loss at the three coarser levels; 1 at the finest."""
    coarse_target: Literal["visible", "labeled"] = "visible"
    """visible: coarse levels learn visible keypoints and zero elsewhere (released code);
    labeled: they learn every labeled keypoint, and unlabeled ones do not count (MMPose)."""
    num_hard_keypoints: int | None = Field(8, ge=1)
    """How many of a person's worst keypoints count at the finest level; null: all, as at the coarse levels."""
    ohkm: Literal["every_stage", "last_stage"] = "every_stage"
    """Stages whose finest level counts the worst keypoints only; in the others it is learned as a coarse level is,
    at full weight. last_stage is CPN's."""
    foreground_weight: float = Field(0.0, ge=0)
    """Each pixel's error is weighted by 1 + foreground_weight * target; a head start for short runs."""

    @model_validator(mode="after")
    def _check_kernels(self) -> "SupervisionConfig":
        if len(self.kernel_sizes) != 5 or any(not 3 <= size <= 255 or size % 2 == 0 for size in self.kernel_sizes):
            raise ValueError(f"kernel_sizes must be five odd numbers from 3 to 255, not {list(self.kernel_sizes)}")
        return self


RELEASED_SUPERVISION = SupervisionConfig()
MMPOSE_SUPERVISION = SupervisionConfig(coarse_target="labeled")
SUPERVISIONS = {"released": RELEASED_SUPERVISION, "mmpose": MMPOSE_SUPERVISION}
