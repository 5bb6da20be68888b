"""What is exported: a network, with the steps before and after it inside where that is wanted, built from weights.

The parts are put around each other, each a module of its own: `FromPixels(Keypoints(Heatmaps(network)))`. With the
graph comes what its file will say about it.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from mspn import __version__
from mspn.checkpoints.format import Checkpoint, DetectorCheckpoint
from mspn.config.protocol import LOWEST_PEAK, ProtocolConfig, ScoreCalibration
from mspn.detectors.base import IOU_THRESHOLD, MAX_PEOPLE, MIN_SCORE
from mspn.heatmaps.decode import average_mirrored, decode
from mspn.inference.exported_files import (
    AnyExportMetadata,
    DetectorExportMetadata,
    ExportPrecision,
    NetworkInput,
    PoseExportMetadata,
)
from mspn.inference.fold import find_unused, fold_norms
from mspn.models.base import PoseNetwork, normalize
from mspn.models.person_detector import PersonDetector
from mspn.structures.crop import heatmap_to_crop
from mspn.structures.shapes import Float, UInt8
from mspn.structures.skeleton import Skeleton

NETWORK = "network"
"""Name of the network within its graph; what is outside it is never rounded to 8 bits."""


class DecodedCrops(NamedTuple):
    """Outputs with decoding inside, see `PoseExportMetadata`."""

    keypoints: Float[Tensor, "B K 2"]
    scores: Float[Tensor, "B K"]
    peaks: Float[Tensor, "B K"]


class ScoredBoxes(NamedTuple):
    """Outputs of a detector, see `DetectorExportMetadata`."""

    scores: Float[Tensor, "B N"]
    boxes: Float[Tensor, "B N 4"]


class Heatmaps(nn.Module):
    """Normalized crops to the last heat maps."""

    def __init__(self, network: PoseNetwork) -> None:
        super().__init__()
        self.network = fold_norms(network, find_unused(network))

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B K h w"]:
        return self.network.final_heatmaps(pixels)


class Keypoints(nn.Module):
    """Normalized crops to keypoints: the flip, filter, offset and scores of the protocol."""

    def __init__(
        self, heatmaps: Heatmaps, skeleton: Skeleton, protocol: ProtocolConfig, calibration: ScoreCalibration | None
    ) -> None:
        super().__init__()
        self.heatmaps = heatmaps
        self._mirror_order = skeleton.mirror_order
        self._sigmas = skeleton.sigmas
        self._protocol = protocol
        self._calibration = calibration

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        """`DecodedCrops`, as a plain tuple, since .pt2 files know no named ones."""
        decoded = decode(self._averaged(pixels), self._protocol, self._sigmas)
        keypoints_crop = heatmap_to_crop(decoded.keypoints_heatmap)
        return tuple(DecodedCrops(keypoints_crop, self._scores(decoded.scores), decoded.scores))

    def _scores(self, peaks: Float[Tensor, "B K"]) -> Float[Tensor, "B K"]:
        """As `make_poses` has them."""
        calibration = self._calibration
        if calibration is None:
            return peaks.clamp(0, 1)
        log_odds = torch.logit(peaks, eps=LOWEST_PEAK)
        return torch.sigmoid(calibration.slope * log_odds + torch.tensor(calibration.offsets))

    def _averaged(self, pixels: Tensor) -> Tensor:
        if not self._protocol.flip:
            return self.heatmaps(pixels)  # type: ignore[no-any-return]
        both = self.heatmaps(torch.cat([pixels, pixels.flip(3)]))
        maps, of_mirrored = both.unflatten(0, (2, -1)).unbind(0)  # unlike chunk, it leaves the number of people open
        return average_mirrored(maps, of_mirrored, self._mirror_order, shift=self._protocol.mirror_shift)


class PersonCandidates(nn.Module):
    """Normalized images to candidate boxes of people and their scores."""

    def __init__(self, network: PersonDetector) -> None:
        super().__init__()
        self.network = fold_norms(network)

    def forward(self, pixels: Float[Tensor, "B 3 H W"]) -> tuple[Tensor, ...]:
        """`ScoredBoxes`, as a plain tuple."""
        candidates = self.network(pixels)
        return tuple(ScoredBoxes(candidates.logits.sigmoid(), candidates.boxes))


class FromPixels(nn.Module):
    """Colors from 0 to 255 to the outputs of a graph that takes normalized ones."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, pixels: UInt8[Tensor, "B H W 3"]) -> tuple[Tensor, ...]:
        outputs: tuple[Tensor, ...] = self.inside(normalize(pixels))
        return outputs


class Inside(NamedTuple):
    """What an exported file has inside, besides the network."""

    preprocessing: bool = False
    """Input are colors from 0 to 255."""
    decoding: bool = False
    """Outputs are keypoints or boxes."""
    precision: ExportPrecision = "float32"


class Source(NamedTuple):
    """Which weights a file is exported from."""

    name: str
    """As it is written into the file, without folders."""
    sha256: str


class Export(NamedTuple):
    """A graph, and the metadata of its file."""

    network: nn.Module
    """What the graph was made of."""
    graph: nn.Module
    metadata: AnyExportMetadata


def build_pose_export(checkpoint: Checkpoint, source: Source, inside: Inside) -> Export:
    """The graph of a pose network."""
    recipe = checkpoint.metadata.recipe
    skeleton, calibration = recipe.keypoint_table, checkpoint.metadata.score_calibration
    heatmaps = Heatmaps(checkpoint.model)
    graph = Keypoints(heatmaps, skeleton, recipe.test, calibration) if inside.decoding else heatmaps
    metadata = PoseExportMetadata(
        mspn=__version__,
        weights=source.name,
        weights_sha256=source.sha256,
        license=checkpoint.metadata.license,
        precision=inside.precision,
        input=_input("crops", inside, *recipe.model.input_size),
        decoding=inside.decoding,
        outputs=DecodedCrops._fields if inside.decoding else ("heatmaps",),
        skeleton=skeleton,
        model=recipe.model,
        boxes=recipe.data.boxes,
        protocol=recipe.test,
        score_calibration=calibration,
    )
    return Export(checkpoint.model, FromPixels(graph) if inside.preprocessing else graph, metadata)


def build_detector_export(checkpoint: DetectorCheckpoint, source: Source, inside: Inside) -> Export:
    """The graph of a person detector; the suppression of decoding is added to the ONNX model that is made of it."""
    graph = PersonCandidates(checkpoint.model)
    metadata = DetectorExportMetadata(
        mspn=__version__,
        weights=source.name,
        weights_sha256=source.sha256,
        license=checkpoint.metadata.license,
        precision=inside.precision,
        input=_input("images", inside, None, None),
        decoding=inside.decoding,
        outputs=("boxes", "scores", "image_indices") if inside.decoding else ScoredBoxes._fields,
        longer_side=checkpoint.model.config.longer_side,
        min_score=MIN_SCORE,
        iou_threshold=IOU_THRESHOLD,
        max_people=MAX_PEOPLE,
    )
    return Export(checkpoint.model, FromPixels(graph) if inside.preprocessing else graph, metadata)


def _input(name: str, inside: Inside, height: int | None, width: int | None) -> NetworkInput:
    if inside.preprocessing:
        return NetworkInput(name=name, layout="NHWC", type="uint8", height=height, width=width)
    return NetworkInput(name=name, layout="NCHW", type="float32", height=height, width=width)
