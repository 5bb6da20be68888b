"""From weights to a graph that can be exported, and what its file will say about it."""

from importlib.metadata import version
from typing import NamedTuple

from torch import nn

from mspn.checkpoints.format import Checkpoint, DetectorCheckpoint
from mspn.detectors.base import MIN_SCORE
from mspn.detectors.embedded import IOU_THRESHOLD, MAX_PEOPLE
from mspn.export.graphs import DecodedCrops, FromPixels, Heatmaps, Keypoints, PersonCandidates, ScoredBoxes
from mspn.inference.export_metadata import (
    AnyExportMetadata,
    DetectorExportMetadata,
    ExportPrecision,
    NetworkInput,
    PoseExportMetadata,
)


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
        mspn=version("mspn"),
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
        mspn=version("mspn"),
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
