"""Proof that an exported file gives what its weights give in torch: a report beside it, checked again at any time.

For a proof, an exported file and its weights run on the same crops or images.
"""

import json
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from pydantic import Field, ValidationError

from mspn.checkpoints.format import Checkpoint, DetectorCheckpoint
from mspn.checkpoints.index import ASSETS
from mspn.detectors.base import Detector
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.detectors.onnx import ExportedPersonDetector
from mspn.errors import ExportError
from mspn.evaluation.evaluate import evaluate_ap_of_model
from mspn.export.files import digest_of_file
from mspn.export.graphs import Source
from mspn.heatmaps.decode import decode
from mspn.inference.exported import ExportedNetwork, find_network
from mspn.inference.exported_files import AnyExportMetadata, DetectorExportMetadata, ExportPrecision, OpenFile
from mspn.io.files import sha256_of, write_text
from mspn.io.images import read_image
from mspn.predict.ensemble import PersonCrop
from mspn.predict.estimator import PoseEstimator
from mspn.predict.top_down import TopDown
from mspn.structures.boxes import Box, Detection, to_xyxy
from mspn.structures.image import Image
from mspn.structures.pose import CropKeypoints
from mspn.structures.settings import Settings, first_problem
from mspn.structures.shapes import Float

_CONFIDENT_PEAK = 0.2
"""MMPose's threshold of confident keypoints; others are where noise is highest, and move with every rounding."""
_MAX_OUTLIERS = 20

_Answer = TypeVar("_Answer")

BOUNDS: dict[ExportPrecision, dict[str, float]] = {
    "float32": {"largest_px": 0.01, "map_error": 1e-3, "average_precision": 0.001},
    "float16": {"p99_px": 0.1, "map_error": 0.05, "average_precision": 0.002},
    "int8": {"p95_px": 4.0, "average_precision": 0.005},
}
"""Highest values of a proof that passes, by what the file computes with."""
DECODED_LARGEST_PX = 0.05
"""In place of `largest_px` where a float32 file decodes itself, with a filter in float32 in place of float64."""


class Outlier(Settings):
    """A keypoint that moved by more than the others may."""

    crop: int
    """Number of the sample's crop, from 0 on."""
    keypoint: str
    distance_px: float
    peak: float
    """In torch."""


class PrecisionOfBoth(Settings):
    """Average precision on labeled people."""

    annotations_sha256: str
    torch: float
    exported: float

    @property
    def difference(self) -> float:
        return abs(self.exported - self.torch)


class Proof(Settings):
    """What was compared, and how near the file comes to torch."""

    format: int = 1
    files: dict[str, str]
    """SHA-256 by name."""
    weights: str
    weights_sha256: str
    versions: dict[str, str]
    sample: str
    """Where the crops or images are from."""
    num_crops: int
    """Or images, of a detector."""
    num_keypoints: int
    """That are compared: the confident ones, or all where none is; or the boxes of a detector."""
    distances_px: dict[str, float]
    """Of keypoints, in crop pixels, or of the sides of boxes, in image pixels: p50, p95, p99, largest."""
    map_error: float
    """Largest difference of heat maps, or of peaks or scores where the file gives no maps; of the highest above 1."""
    outliers: tuple[Outlier, ...] = Field((), max_length=_MAX_OUTLIERS)
    """The farthest of those beyond the largest bound in pixels."""
    milliseconds: dict[str, float]
    """A crop or image, by torch and by the file's runtime, both in float32 or the file's precision."""
    average_precision: PrecisionOfBoth | None = None
    bounds: dict[str, float]
    failures: tuple[str, ...]
    """Bounds that do not hold, in words; none: the file is proven."""


class Compared(NamedTuple):
    """Answers of both, before they are judged."""

    num_crops: int
    distances_px: Float[np.ndarray, " n"]
    map_error: float
    outliers: Sequence[Outlier]
    milliseconds: dict[str, float]


def compare_keypoints(
    expected: CropKeypoints,
    answered: CropKeypoints,
    map_error: float,
    names: Sequence[str],
    milliseconds: dict[str, float],
) -> Compared:
    """Compare keypoints of the same crops.

    Args:
        expected: by torch.
        answered: by the exported file.
        map_error: largest difference of their heat maps.
        names: of the keypoints.
        milliseconds: a crop, by runtime.
    """
    moved = np.linalg.norm(answered.keypoints_crop - expected.keypoints_crop, axis=-1)
    is_confident = expected.peaks >= _CONFIDENT_PEAK
    if not is_confident.any():
        is_confident[:] = True
    distances = np.where(is_confident, moved, -1.0)
    farthest = np.dstack(np.unravel_index(np.argsort(-distances, axis=None)[:_MAX_OUTLIERS], distances.shape))[0]
    outliers = [
        Outlier(
            crop=int(crop),
            keypoint=names[keypoint],
            distance_px=float(distances[crop, keypoint]),
            peak=float(expected.peaks[crop, keypoint]),
        )
        for crop, keypoint in farthest
    ]
    return Compared(len(moved), distances[is_confident], map_error, outliers, milliseconds)


def judge(
    path: Path,
    source: Source,
    sample: str,
    compared: Compared,
    bounds: dict[str, float],
    average_precision: PrecisionOfBoth | None = None,
) -> Proof:
    """Hold what was compared against the bounds.

    Args:
        path: of the exported file.
        source: the weights.
        sample: where the crops or images are from.
        compared: answers of both.
        bounds: highest values, see `BOUNDS`.
        average_precision: of both; None where no labels are given.
    """
    distances = compared.distances_px if len(compared.distances_px) else np.zeros(1)
    percentiles = {f"p{rank}_px": float(np.percentile(distances, rank)) for rank in (50, 95, 99)}
    measured = {**percentiles, "largest_px": float(distances.max()), "map_error": compared.map_error}
    if average_precision is not None:
        measured["average_precision"] = average_precision.difference
    limit_px = max((value for name, value in bounds.items() if name.endswith("_px")), default=0.0)
    return Proof(
        files={file.name: sha256_of(file) for file in files_of(path)},
        weights=source.name,
        weights_sha256=source.sha256,
        versions={name: version(name) for name in ("mspn", *compared.milliseconds)},
        sample=sample,
        num_crops=compared.num_crops,
        num_keypoints=len(compared.distances_px),
        distances_px={name.removesuffix("_px"): value for name, value in measured.items() if name.endswith("_px")},
        map_error=compared.map_error,
        outliers=tuple(outlier for outlier in compared.outliers if outlier.distance_px > limit_px),
        milliseconds=compared.milliseconds,
        average_precision=average_precision,
        bounds=bounds,
        failures=tuple(
            f"{_WORDS[name]} {measured[name]:.2g} is above {bound:g}"
            for name, bound in bounds.items()
            if name in measured and not measured[name] <= bound
        ),
    )


_WORDS = {
    "largest_px": "the largest keypoint distance in pixels,",
    "p99_px": "the 99th percentile of keypoint distances in pixels,",
    "p95_px": "the 95th percentile of keypoint distances in pixels,",
    "map_error": "the largest error of the heat maps,",
    "average_precision": "the difference of average precision,",
}


def proof_path(path: Path) -> Path:
    """Where the report of an exported file lies; files of one stem, `pose.onnx` and `pose.xml`, have one each."""
    return path.with_name(f"{path.name}.json")


def write_proof(path: Path, proof: Proof) -> None:
    """Store a report beside an exported file."""
    write_text(proof_path(path), proof.model_dump_json(indent=2) + "\n")


def check_unchanged(path: Path, metadata: AnyExportMetadata) -> None:
    """Refuse a file whose tensors are not those that it was written with, or that the report beside it is not of.

    Raises:
        ExportError: if the file, or the report, was changed.
    """
    if digest_of_file(path) != metadata.tensors_sha256:
        raise ExportError(f"{path}: its weights were changed after the export (their SHA-256 differs); export it again")
    report = proof_path(path)
    if not report.is_file():
        return
    try:
        proof = Proof.model_validate_json(report.read_text(encoding="utf-8"))
    except (ValidationError, UnicodeDecodeError) as error:
        what = first_problem(error) if isinstance(error, ValidationError) else "it is no text"
        raise ExportError(
            f"{report} is no proof of an exported file ({what}); move it away, or export again"
        ) from error
    for file in files_of(path):
        if path.name in proof.files and proof.files.get(file.name) != sha256_of(file):
            raise ExportError(
                f"{file} is not the file that was proven: its SHA-256 differs from that in {report}; export it again"
            )


def timed(run: Callable[[], _Answer], num_crops: int) -> tuple[_Answer, float]:
    """What a function gives, and the milliseconds a crop of its faster second run."""
    answer = run()
    start = time.perf_counter()
    run()
    return answer, 1000 * (time.perf_counter() - start) / num_crops


def files_of(path: Path) -> list[Path]:
    """The file, and the .bin that an .xml has beside it."""
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]


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


def _answer(top_down: TopDown, people: Sequence[PersonCrop]) -> tuple[CropKeypoints, np.ndarray]:
    """Keypoints, and heat maps, or peaks from a network that gives keypoints."""
    leader = top_down.ensemble.leader
    if isinstance(leader.runner, ExportedNetwork) and leader.runner.gives_keypoints:
        found = top_down.predict_keypoints(people)
        return found, found.peaks
    heatmaps = top_down.predict_heatmaps(people)
    return decode(heatmaps, leader.test, leader.recipe.keypoint_table.sigmas).in_crop(), heatmaps.numpy()


def _map_error(expected: tuple[CropKeypoints, np.ndarray], answered: tuple[CropKeypoints, np.ndarray]) -> float:
    """Largest difference of heat maps, or of peaks where one side has those alone; as a share of the highest above 1.

    Maps of trained networks have peaks of 1 at most; those of untrained ones may be as high as anything.
    """
    has_maps = expected[1].shape == answered[1].shape
    one, other = (values if has_maps else found.peaks for found, values in (expected, answered))
    return float(np.abs(one - other).max() / max(np.abs(one).max(), 1.0))


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
