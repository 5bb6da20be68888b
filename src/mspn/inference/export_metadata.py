"""What exported networks say about themselves: JSON that programs in any language can read."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from mspn.config.model import NetworkConfig
from mspn.config.protocol import ProtocolConfig, ScoreCalibration
from mspn.errors import ExportError
from mspn.models.base import CHANNEL_DEVIATION, CHANNEL_MEAN
from mspn.structures.settings import Settings, first_problem
from mspn.structures.skeleton import Skeleton

METADATA_KEY = "mspn"
"""Of the JSON text among a file's own metadata."""

IMAGE_SIZES = "image_sizes"
"""Second input of a detector with decoding."""

ExportPrecision = Literal["float32", "float16", "int8"]


class NetworkInput(Settings):
    """The one input of an exported network: people's crops, or whole images."""

    name: Literal["crops", "images"]
    layout: Literal["NHWC", "NCHW"]
    type: Literal["uint8", "float32"]
    """uint8: colors from 0 to 255, which the network normalizes itself; float32: normalized by the caller."""
    colors: Literal["RGB"] = "RGB"
    height: int | None = Field(ge=1)
    """In pixels; null: any multiple of 32."""
    width: int | None = Field(ge=1)
    mean: tuple[float, float, float] = CHANNEL_MEAN
    deviation: tuple[float, float, float] = CHANNEL_DEVIATION
    """normalized = (color / 255 - mean) / deviation."""


class ExportMetadata(Settings):
    """What every exported network says."""

    format: Literal[1] = 1
    mspn: str
    """Version that wrote the file."""
    weights: str
    """Name of the weights, or their file's."""
    weights_sha256: str
    tensors_sha256: str = ""
    """Of the file's own tensors, see `mspn.export.digests`; known once the file is made."""
    license: str
    precision: ExportPrecision
    input: NetworkInput
    decoding: bool
    """Whether outputs are keypoints or boxes, in place of heat maps or candidates."""
    outputs: tuple[str, ...]


class PoseExportMetadata(ExportMetadata):
    """Of a pose network.

    Outputs are `heatmaps` (people, keypoints, height / 4, width / 4) with peak 1. With decoding they are `keypoints`
    (people, keypoints, 2), (x, y) in crop pixels, their `scores` (people, keypoints) from 0 to 1, and the `peaks`
    (people, keypoints) of the heat maps, which rank poses.
    """

    kind: Literal["pose"] = "pose"
    skeleton: Skeleton
    model: NetworkConfig
    boxes: Literal["labeled", "image"] = "labeled"
    """What is cut out: people's boxes, or the whole image, as `data.boxes` of the recipe says."""
    protocol: ProtocolConfig
    """How boxes become crops and heat maps become keypoints."""
    score_calibration: ScoreCalibration | None
    """From peaks to scores; null: scores are the peaks, clipped to 0..1."""


class DetectorExportMetadata(ExportMetadata):
    """Of a person detector.

    Outputs are `scores` (images, candidates) from 0 to 1 and `boxes` (images, candidates, 4): left, top, right, bottom
    in input pixels. With decoding, suppression has chosen among them, best first: `boxes` (people, 4), `scores`
    (people) and `image_indices` (people), the number of each box's image in the batch. It takes a second input then,
    `image_sizes` (images, 2): height and width of the image within the input, of float32, where boxes are cut off.
    """

    kind: Literal["person-detector"] = "person-detector"
    longer_side: int
    """Pixels that images are scaled to, before gray fills the shorter side to a multiple of 32."""
    min_score: float
    iou_threshold: float
    """Of two boxes with a higher IoU, the one with the lower score is dropped."""
    max_people: int


AnyExportMetadata = PoseExportMetadata | DetectorExportMetadata
_ADAPTER: TypeAdapter[AnyExportMetadata] = TypeAdapter(Annotated[AnyExportMetadata, Field(discriminator="kind")])


def parse_metadata(text: str, path: Path) -> AnyExportMetadata:
    """Read the JSON text of a file.

    Raises:
        ExportError: naming the first thing in it that this version does not understand.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise ExportError(f"{path}: its metadata cannot be read by this version: {first_problem(error)}") from error
