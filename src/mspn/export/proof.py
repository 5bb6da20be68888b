"""Proof that an exported file gives what its weights give in torch: a report beside it, checked again at any time."""

import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float
from pydantic import Field, ValidationError

from mspn.errors import ExportError
from mspn.export.build import Source
from mspn.export.digests import digest_of_file
from mspn.heatmaps.decode import Decoded
from mspn.inference.export_metadata import AnyExportMetadata, ExportPrecision
from mspn.io.files import sha256_of, write_text
from mspn.structures.crop import HEATMAP_STRIDE
from mspn.structures.settings import Settings, first_problem

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
    expected: Decoded, answered: Decoded, map_error: float, names: Sequence[str], milliseconds: dict[str, float]
) -> Compared:
    """Compare keypoints of the same crops.

    Args:
        expected: by torch.
        answered: by the exported file.
        map_error: largest difference of their heat maps.
        names: of the keypoints.
        milliseconds: a crop, by runtime.
    """
    moved = (answered.keypoints_heatmap - expected.keypoints_heatmap).norm(dim=-1) * HEATMAP_STRIDE
    is_confident = expected.scores >= _CONFIDENT_PEAK
    if not is_confident.any():
        is_confident[:] = True
    distances = np.where(is_confident, moved.double(), -1.0)
    farthest = np.dstack(np.unravel_index(np.argsort(-distances, axis=None)[:_MAX_OUTLIERS], distances.shape))[0]
    outliers = [
        Outlier(
            crop=int(crop),
            keypoint=names[keypoint],
            distance_px=float(distances[crop, keypoint]),
            peak=float(expected.scores[crop, keypoint]),
        )
        for crop, keypoint in farthest
    ]
    return Compared(len(moved), distances[is_confident.numpy()], map_error, outliers, milliseconds)


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
        files={file.name: sha256_of(file) for file in _files_of(path)},
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
    """Where the report of an exported file lies."""
    return path.with_suffix(".json")


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
    for file in _files_of(path):
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


def _files_of(path: Path) -> list[Path]:
    """The file, and the .bin that an .xml has beside it."""
    return [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
