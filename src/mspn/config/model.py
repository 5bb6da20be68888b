"""Settings of the networks: one class a family, discriminated by `kind`."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from mspn.errors import InvalidValueError
from mspn.structures.boxes import Size
from mspn.structures.settings import Settings

Backbone = Literal[
    "resnet18",
    "resnet26",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnet254",
    "xception-small",
    "xception-large",
    "efficientnet-lite0",
    "rsn18",
    "rsn50",
    "rsn101",
]

PoseRefineForm = Literal["official", "mmpose"]

CROP_MULTIPLE = 32
"""The coarsest level is at 1/32 of the crop's size."""
CHANNEL_MEAN = (0.485, 0.456, 0.406)
CHANNEL_DEVIATION = (0.229, 0.224, 0.225)
"""ImageNet's, of RGB from 0 to 1, as the released code and MMPose use."""

_LEVELS = 4
"""At 1/4, 1/8, 1/16 and 1/32 of the crop's size."""

# Weights files and run folders from elsewhere name these, too: what memory and time they ask for is bounded.
_MAX_KEYPOINTS = 1024
_MAX_STAGES = 16
_MAX_CHANNELS = 4096
_MAX_STEM_CHANNELS = 1024
_MAX_CROP_SIDE = 1024
_MAX_IMAGE_SIDE = 4096


class BackboneConfig(Settings):
    """What every network on a classification backbone has."""

    backbone: Backbone = "resnet50"
    """Down-sampling unit."""
    stem_channels: int = Field(64, ge=1, le=_MAX_STEM_CHANNELS)
    """Width. All channels of stem and backbone grow in proportion; 64 is what the backbone's name stands for, and the
    stem's own channels except where the backbone brings a stem of its own (EfficientNets)."""
    bottleneck_stride: Literal["3x3", "1x1"] = "3x3"
    """Convolution of a bottleneck that halves the size: 3x3 in the released code, 1x1 where the paper counted costs."""
    bottleneck_expansion: int = Field(4, ge=1, le=4)
    """A bottleneck's channels: those of its 3x3 convolution times this; 1 in the baseline that RSN is compared with."""
    rsn_expansion: int = Field(1, ge=1, le=4)
    """An RSN's channels: those of the levels are the stem's, doubled at each level, times this."""
    rsn_width: Literal["input", "own"] = "input"
    """An RSN's branches have 26/64 of the channels of their block's input (released code), or of the block's own ones
    before expansion."""


class DetectorConfig(BackboneConfig):
    """Shape of a person detector: a single-stage module with a head at 1/8, 1/16 and 1/32."""

    kind: Literal["person-detector"] = "person-detector"
    backbone: Backbone = "efficientnet-lite0"
    up_channels: int = Field(96, ge=1, le=_MAX_CHANNELS)
    """Channels of the up-sampling units and heads."""
    longer_side: int = Field(416, ge=32, le=_MAX_IMAGE_SIDE, multiple_of=32)
    """Pixels that images are resized to."""

    @property
    def summary(self) -> str:
        return f"person detector on {self.backbone}"


def parse_size(text: str) -> Size:
    """Height and width of a crop in pixels from "384x288".

    Raises:
        InvalidValueError: for any other text, or a size that no network takes.
    """
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and len(text) < 20):
        raise InvalidValueError(f"input size {text}: write height x width in pixels, for example 384x288")
    return _check_crop_size(Size(int(height), int(width)))


def _check_crop_size(size: Size) -> Size:
    if not 0 < min(size) <= max(size) <= _MAX_CROP_SIDE or size.height % CROP_MULTIPLE or size.width % CROP_MULTIPLE:
        raise InvalidValueError(
            f"crop height and width must be multiples of {CROP_MULTIPLE} pixels up to {_MAX_CROP_SIDE}, not"
            f" {size.height}x{size.width}"
        )
    return size


class AnyNetworkConfig(Settings):
    """Settings that every pose network has."""

    num_keypoints: int = Field(17, ge=1, le=_MAX_KEYPOINTS)
    input_size: Size = Size(256, 192)
    """Crop height and width in pixels, as [384, 288] or "384x288"; the network takes any other multiple of 32, too."""

    @field_validator("input_size", mode="before")
    @classmethod
    def _parse_input_size(cls, size: Any) -> Any:
        return parse_size(size) if isinstance(size, str) else size

    @field_validator("input_size")
    @classmethod
    def _check_input_size(cls, size: Size) -> Size:
        return _check_crop_size(size)


class ModelConfig(AnyNetworkConfig, BackboneConfig):
    """Shape of a multi-stage pose network (paper Sec. 3.1 and 3.2)."""

    kind: Literal["mspn"] = "mspn"
    num_stages: int = Field(2, ge=1, le=_MAX_STAGES)
    """Single-stage modules one after another."""
    stages: tuple[BackboneConfig, ...] = Field((), max_length=_MAX_STAGES)
    """The backbone of each stage where they differ, the first as `backbone` above; empty where all have that one."""
    up_channels: int = Field(256, ge=1, le=_MAX_CHANNELS)
    """Channels of the up-sampling units."""
    aggregation: bool = True
    """Whether each stage receives the previous stage's features at every scale."""
    coarse_heads: bool = True
    """Whether the three coarser levels predict heat maps too."""
    pose_refine_machine: PoseRefineForm | None = None
    """RSN's Pose Refine Machine, behind every head, as the released code or as MMPose builds it; null for none, as in
    all published weights."""

    @model_validator(mode="after")
    def _check_stages(self) -> "ModelConfig":
        if self.stages and len(self.stages) != self.num_stages:
            raise InvalidValueError(f"stages lists {len(self.stages)} backbones, but num_stages is {self.num_stages}")
        if self.stages and self.stages[0] != self._backbone:
            raise InvalidValueError(f"the first of stages must be the network's own backbone, {self.backbone}")
        return self

    @property
    def summary(self) -> str:
        backbones = dict.fromkeys(stage.backbone for stage in self.stage_backbones)
        return f"{_stages(self.num_stages)} of {', '.join(backbones)}"

    @property
    def stage_backbones(self) -> tuple[BackboneConfig, ...]:
        """The backbone of each stage."""
        return self.stages or (self._backbone,) * self.num_stages

    @property
    def levels_by_stage(self) -> list[int]:
        """Number of levels at which each stage predicts heat maps."""
        return [_LEVELS if self.coarse_heads else 1] * self.num_stages

    @property
    def _backbone(self) -> BackboneConfig:
        return BackboneConfig(**{name: getattr(self, name) for name in BackboneConfig.model_fields})


class HourglassConfig(AnyNetworkConfig):
    """Shape of a stacked hourglass network (paper Table 1; Newell et al.)."""

    kind: Literal["hourglass"] = "hourglass"
    num_stages: int = Field(4, ge=1, le=_MAX_STAGES)
    """Hourglasses one after another."""
    stem_channels: int = Field(64, ge=1, le=_MAX_STEM_CHANNELS)
    """Channels of the 7x7 convolution."""
    channels: int = Field(256, ge=2, le=_MAX_CHANNELS)
    """Channels everywhere else, at every scale; residuals have half as many inside."""
    aggregation: bool = False
    """Whether each hourglass receives the previous one's features at every scale."""
    coarse_heads: bool = False
    """Whether the levels at 1/8, 1/16 and 1/32 predict heat maps too."""

    @property
    def summary(self) -> str:
        return f"{_stages(self.num_stages)} of hourglass"

    @property
    def levels_by_stage(self) -> list[int]:
        """Number of levels at which each stage predicts heat maps."""
        return [_LEVELS if self.coarse_heads else 1] * self.num_stages


class SimpleBaselineConfig(AnyNetworkConfig, BackboneConfig):
    """Shape of a simple baseline: backbone, deconvolutions, one head (Xiao et al.)."""

    kind: Literal["simplebaseline"] = "simplebaseline"
    up_channels: int = Field(256, ge=1, le=_MAX_CHANNELS)
    """Channels of the three deconvolutions."""

    @property
    def summary(self) -> str:
        return f"simple baseline on {self.backbone}"

    @property
    def levels_by_stage(self) -> list[int]:
        """One stage with one level."""
        return [1]


class CPNConfig(AnyNetworkConfig, BackboneConfig):
    """Shape of a cascaded pyramid network (Chen et al.)."""

    kind: Literal["cpn"] = "cpn"
    up_channels: int = Field(256, ge=2, le=_MAX_CHANNELS)
    """Channels of both pyramids; the bottlenecks of the second have half as many inside."""

    @property
    def summary(self) -> str:
        return f"CPN on {self.backbone}"

    @property
    def levels_by_stage(self) -> list[int]:
        """The levels of GlobalNet, and RefineNet's one."""
        return [_LEVELS, 1]


def _stages(number: int) -> str:
    return f"{number} stage{'s' if number > 1 else ''}"


def _kind(value: Any) -> Any:
    # Weights written before there were other networks name no kind.
    return value.get("kind", "mspn") if isinstance(value, dict) else getattr(value, "kind", None)


NetworkConfig = Annotated[
    Annotated[ModelConfig, Tag("mspn")]
    | Annotated[HourglassConfig, Tag("hourglass")]
    | Annotated[SimpleBaselineConfig, Tag("simplebaseline")]
    | Annotated[CPNConfig, Tag("cpn")],
    Discriminator(_kind),
]
"""Any network's settings."""
