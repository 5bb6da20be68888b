"""Running an exported file and its weights on the same crops or images, for a proof."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mspn.checkpoints.format import Checkpoint, DetectorCheckpoint
from mspn.checkpoints.index import ASSETS
from mspn.detectors.base import Detector
from mspn.detectors.embedded import EmbeddedPersonDetector, ExportedPersonDetector
from mspn.errors import ExportError
from mspn.evaluation.evaluate import evaluate_ap_of_model
from mspn.export.build import Source
from mspn.export.proof import (
    BOUNDS,
    DECODED_LARGEST_PX,
    Compared,
    PrecisionOfBoth,
    Proof,
    compare_keypoints,
    judge,
    timed,
)
from mspn.heatmaps.decode import Decoded, decode
from mspn.inference.export_metadata import DetectorExportMetadata
from mspn.inference.exported import ExportedNetwork, find_network
from mspn.inference.exported_files import OpenFile
from mspn.io.files import sha256_of
from mspn.io.images import read_image
from mspn.predict.estimator import PoseEstimator
from mspn.predict.top_down import PersonCrop, TopDown
from mspn.structures.boxes import Box, Detection, to_xyxy
from mspn.structures.image import Image

_SAMPLE = ASSETS / "sample"
_SHIFTS = (-0.1, 0.0, 0.1)
_SCALES = (0.9, 1.2)
_CONFIDENT_BOX = 0.3
"""Score of the boxes that are compared; others come and go with every rounding."""
_BOX_BOUND_PX = {"float32": 0.1, "float16": 4.0}
"""Of a side of a box, in image pixels."""


def sample_people(top_down: TopDown) -> list[PersonCrop]:
    """Crops of the people of the package's sample images, in boxes that are moved and scaled a little."""
    boxes: dict[str, list[list[float]]] = json.loads((_SAMPLE / "boxes.json").read_text(encoding="utf-8"))
    people = []
    for name, rows in boxes.items():
        image = Image(name, read_image(_SAMPLE / name))
        for left, top, width, height in rows:
            people += [
                top_down.crop(image, Detection(Box(left + x * width, top + y * height, s * width, s * height), 1.0))
                for x in _SHIFTS
                for y in _SHIFTS
                for s in _SCALES
            ]
    return people


def sample_images() -> list[Image]:
    """The package's sample images."""
    return [Image(path.name, read_image(path)) for path in sorted(_SAMPLE.glob("*.jpg"))]


def prove_pose_network(
    file: OpenFile,
    checkpoint: Checkpoint,
    source: Source,
    people: Sequence[PersonCrop],
    sample: str,
    labels: tuple[Path, Path] | None = None,
) -> Proof:
    """Compare an exported pose network with its weights in float32.

    Args:
        file: which is open.
        checkpoint: its weights.
        source: the same, by name and digest.
        people: to compare keypoints of.
        sample: where they are from.
        labels: COCO annotations and the folder of their images, to compare average precision on.

    Raises:
        ExportError: if the file cannot be run, or is not of this package.
    """
    exported = find_network(file)
    if exported.told is None:
        raise ExportError(f"{file.path} does not say which weights it was exported from; only files of this package do")
    ours = PoseEstimator(checkpoint, "none", device="cpu", precision="float32", engine="torch")
    theirs = PoseEstimator(exported, "none", device="cpu")
    expected, milliseconds = timed(lambda: _answer(ours.top_down, people), len(people))
    answered, milliseconds_exported = timed(lambda: _answer(theirs.top_down, people), len(people))
    compared = compare_keypoints(
        expected[0],
        answered[0],
        _map_error(expected, answered),
        exported.told.skeleton.keypoints,
        {"torch": milliseconds} | {exported.network.engine: milliseconds_exported},
    )
    bounds = dict(BOUNDS[exported.told.precision])
    if exported.told.decoding and "largest_px" in bounds:
        bounds["largest_px"] = DECODED_LARGEST_PX
    precisions = None
    if labels is not None:
        of_torch, of_export = (_average_precision(estimator, *labels) for estimator in (ours, theirs))
        precisions = PrecisionOfBoth(annotations_sha256=sha256_of(labels[0]), torch=of_torch, exported=of_export)
    return judge(file.path, source, sample, compared, bounds, precisions)


def prove_detector(
    file: OpenFile, checkpoint: DetectorCheckpoint, source: Source, images: Sequence[Image], sample: str
) -> Proof:
    """Compare the boxes that an exported person detector finds with those of its weights; as `prove_pose_network`."""
    if not isinstance(file.metadata, DetectorExportMetadata):
        raise ExportError(
            f"{file.path} does not say which detector it was exported from; only files of this package do"
        )
    ours = EmbeddedPersonDetector(checkpoint.model, torch.device("cpu"), "float32")
    theirs = ExportedPersonDetector(file, file.metadata)
    expected, milliseconds = timed(lambda: _detect(ours, images), len(images))
    answered, milliseconds_exported = timed(lambda: _detect(theirs, images), len(images))
    pairs = [pair for found in zip(expected, answered, strict=True) for pair in _pairs(*found)]
    compared = Compared(
        len(images),
        np.array([distance for distance, _ in pairs]),
        max((error for _, error in pairs), default=0.0),
        (),
        {"torch": milliseconds} | {file.runtime: milliseconds_exported},
    )
    bounds = {"largest_px": _BOX_BOUND_PX[file.metadata.precision], "map_error": 0.01}
    return judge(file.path, source, sample, compared, bounds)


def _answer(top_down: TopDown, people: Sequence[PersonCrop]) -> tuple[Decoded, Tensor]:
    """Keypoints, and heat maps, or peaks from a network that gives keypoints."""
    leader = top_down.ensemble.leader
    if isinstance(leader.runner, ExportedNetwork) and leader.runner.gives_keypoints:
        decoded = top_down.predict_keypoints(people)
        return decoded, decoded.scores
    heatmaps = top_down.predict_heatmaps(people)
    return decode(heatmaps, leader.test), heatmaps


def _map_error(expected: tuple[Decoded, Tensor], answered: tuple[Decoded, Tensor]) -> float:
    """Largest difference of heat maps, or of peaks where one side has those alone; as a share of the highest above 1.

    Maps of trained networks have peaks of 1 at most; those of untrained ones may be as high as anything.
    """
    has_maps = expected[1].shape == answered[1].shape
    one, other = (values if has_maps else decoded.scores for decoded, values in (expected, answered))
    return ((one - other).abs().max() / one.abs().max().clamp(min=1)).item()


def _average_precision(estimator: PoseEstimator, annotations: Path, images: Path) -> float:
    report = evaluate_ap_of_model(estimator, ["proof"], annotations, images, None, engine="pycocotools", out=None)
    assert report is not None
    return report.stats["AP"]


def _detect(detector: Detector, images: Sequence[Image]) -> list[list[Detection]]:
    return [detector.detect(image) for image in images]


def _pairs(expected: Sequence[Detection], answered: Sequence[Detection]) -> list[tuple[float, float]]:
    """Of each box that one side is confident of, how far the other side's nearest is off, in pixels and in score."""
    pairs = []
    for some, others in ((expected, answered), (answered, expected)):
        confident = [detection for detection in some if detection.score >= _CONFIDENT_BOX]
        corners, other_corners = (to_xyxy([detection.box for detection in found]) for found in (confident, others))
        for detection, box in zip(confident, corners, strict=True):
            sides = np.abs(other_corners - box).max(1, initial=0.0)
            nearest = int(sides.argmin()) if len(others) else None
            pairs.append(
                (np.inf, 1.0)
                if nearest is None
                else (float(sides[nearest]), abs(detection.score - others[nearest].score))
            )
    return pairs
