"""Settings of augmentation, and those that papers and codes used."""

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
