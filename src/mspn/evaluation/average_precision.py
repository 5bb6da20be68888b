"""COCO's ten numbers, by pycocotools, the reference, or hotcoco, checked against it."""

import contextlib
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pydantic import BaseModel, FiniteFloat, TypeAdapter, ValidationError

from mspn.errors import AnnotationError, EngineError
from mspn.labels.formats import FORMATS
from mspn.labels.formats.coco import CocoPeople, read_coco_people
from mspn.labels.reading import read_json
from mspn.labels.units import suspect_units, warn_of_units
from mspn.structures.boxes import Detection
from mspn.structures.settings import first_problem
from mspn.structures.skeleton import Skeleton

CocoBackend = Literal["pycocotools", "hotcoco"]
IouType = Literal["keypoints", "bbox"]
"""pycocotools' name for what is compared."""
Rows = Sequence[dict[str, Any]]


def compute_stats(
    engine: CocoBackend, dataset: Mapping[str, Any], results: Rows, iou_type: IouType, sigmas: Sequence[float] = ()
) -> list[float]:
    """COCO's summary: ten numbers for keypoints (at most 20 people an image), twelve for boxes (at most 100).

    Args:
        engine: hotcoco is used only after it has given pycocotools' numbers on a small case.
        dataset: the content of a COCO annotation file.
        results: a COCO results list, of images of the dataset.
        iou_type: what is compared.
        sigmas: of the keypoints.

    Raises:
        EngineError: if hotcoco is not installed, or differs from pycocotools.
    """
    check_engine(engine)
    compute = _by_hotcoco if engine == "hotcoco" else _by_pycocotools
    return compute(dataset, results, iou_type, sigmas)


@cache
def check_engine(engine: CocoBackend) -> None:
    """Check, once per process, that a backend gives pycocotools' numbers on a small case, to the last digit.

    Raises:
        EngineError: if it is not installed or differs.
    """
    if engine == "pycocotools":
        return
    dataset, keypoint_rows, box_rows, sigmas = _small_case()
    cases: tuple[tuple[IouType, Rows], ...] = (("keypoints", keypoint_rows), ("bbox", box_rows))
    for iou_type, rows in cases:
        reference = _by_pycocotools(dataset, rows, iou_type, sigmas)
        numbers = _by_hotcoco(dataset, rows, iou_type, sigmas)
        if numbers != reference:
            raise EngineError(
                f"hotcoco {version('hotcoco')} differs from pycocotools on a small case ({iou_type}: {numbers[0]!r}"
                f" instead of {reference[0]!r}); use --engine pycocotools, or another version of hotcoco"
            )


def _by_pycocotools(
    dataset: Mapping[str, Any], results: Rows, iou_type: IouType, sigmas: Sequence[float]
) -> list[float]:
    # pycocotools modifies its arguments.
    dataset = {**dataset, "annotations": [dict(row) for row in dataset["annotations"]]}
    return _summarize(COCO, COCOeval, dataset, [dict(row) for row in results], iou_type, sigmas)


def _by_hotcoco(dataset: Mapping[str, Any], results: Rows, iou_type: IouType, sigmas: Sequence[float]) -> list[float]:
    try:
        import hotcoco  # noqa: PLC0415 -- an extra that only this engine needs
    except ImportError as error:
        raise EngineError(
            "--engine hotcoco needs the package hotcoco; pip install 'mspn[fast-eval]', or use --engine pycocotools"
        ) from error
    with warnings.catch_warnings():
        # hotcoco warns of sigmas other than COCO's, which are intended here.
        warnings.filterwarnings("ignore", message="hotcoco: kpt_oks_sigmas", category=UserWarning)
        return _summarize(hotcoco.COCO, hotcoco.COCOeval, dataset, list(results), iou_type, sigmas)


def _summarize(
    coco: Any,
    coco_eval: Any,
    dataset: Mapping[str, Any],
    results: list[dict[str, Any]],
    iou_type: IouType,
    sigmas: Sequence[float],
) -> list[float]:
    """The summary by a backend's classes COCO and COCOeval, whose interface both backends share."""
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = coco()
        ground_truth.dataset = dict(dataset)
        ground_truth.createIndex()
        if results:
            detections = ground_truth.loadRes(results)
        else:  # loadRes does not take an empty list
            detections = coco()
            detections.dataset = {**dataset, "annotations": []}
            detections.createIndex()
        evaluation = coco_eval(ground_truth, detections, iou_type)
        if iou_type == "keypoints":
            evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def _small_case() -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]], list[float]]:
    """Three images with cases on which backends may differ: crowds, people without keypoints, people of every size,
    ties of scores, more than 20 results in an image, unusual sigmas.
    """
    random = np.random.default_rng(17)
    num_keypoints = 5
    annotations: list[dict[str, Any]] = []
    keypoint_rows: list[dict[str, Any]] = []
    box_rows: list[dict[str, Any]] = []
    for number in range(12):
        side = (20.0, 60.0, 150.0)[number // 4]
        left, top = random.uniform(0, 300, 2)
        corner = np.array([left, top])
        keypoints = np.column_stack([corner + random.uniform(0, side, (num_keypoints, 2)), [2, 1, 2, 0, 2]])
        if number % 4 == 3:
            keypoints[:] = 0
        common = {"image_id": number % 3 + 1, "category_id": 1}
        annotations.append(
            {
                **common,
                "id": number + 1,
                "bbox": [float(left), float(top), side, side],
                "area": 0.5 * side * side,
                "iscrowd": int(number % 5 == 4),
                "keypoints": keypoints.ravel().tolist(),
                "num_keypoints": int((keypoints[:, 2] > 0).sum()),
            }
        )
        for _ in range(8):
            score = float(random.integers(1, 6)) / 5
            moved = keypoints.copy()
            moved[:, :2] += random.normal(0, 0.06 * side, (num_keypoints, 2))
            box = np.array([left, top, side, side]) + random.normal(0, 0.1 * side, 4)
            keypoint_rows.append({**common, "keypoints": moved.ravel().tolist(), "score": score})
            box_rows.append({**common, "bbox": [float(value) for value in box.clip(1)], "score": score})
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in (1, 2, 3)]
    dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    return dataset | {"info": {}}, keypoint_rows, box_rows, [0.03, 0.05, 0.07, 0.09, 0.11]


STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
_BOX_STATS = ("AP", "AP50", "AP75")
"""The first of COCO's twelve."""


class CocoResult(BaseModel):
    """A row of a COCO results list."""

    image_id: int
    category_id: int
    keypoints: list[FiniteFloat]
    """K times x, y in image pixels, and a score that is not used."""
    score: FiniteFloat
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat] | None = None
    """COCO's evaluation takes its area as the person's; without it, that of the box around the keypoints."""


def read_ground_truth(annotations: Path, skeleton: Skeleton, category: str | None = None) -> CocoPeople:
    """Read the labeled people that results are scored against; `category` as in `read_coco`.

    Raises:
        AnnotationError: if the file is no COCO keypoint file, or a labeled person in it has no extent.
    """
    if annotations.exists() and annotations.suffix.lower() not in FORMATS["coco"].suffixes:
        raise AnnotationError(
            f"{annotations} is no COCO keypoint file, which average precision needs; "
            f"`mspn data convert {annotations} people.json --to coco` writes one"
        )
    ground_truth = read_coco_people(annotations, skeleton, category)
    for row, keypoints in zip(ground_truth.annotations, ground_truth.keypoints_image, strict=True):
        if not (row.area and row.area > 0) and (keypoints[:, 2] > 0).any():
            raise AnnotationError(
                f"{annotations}: annotation {row.id} has no area above 0, which COCO's similarity divides by, nor a"
                " box or two keypoints to take one from"
            )
    return ground_truth


def average_precision(
    ground_truth: CocoPeople, results: Sequence[dict[str, Any]], skeleton: Skeleton, engine: CocoBackend = "pycocotools"
) -> dict[str, float]:
    """Average precision and recall over object keypoint similarities from 0.50 to 0.95.

    Args:
        ground_truth: the labeled people, in the order of the skeleton's keypoints.
        results: COCO results list, in the same order; the 20 best of each image count.
        skeleton: its sigmas weigh the keypoints.
        engine: backend; both give the same numbers.

    Returns:
        The ten numbers by name, 0 to 1; -1 if the ground truth has no person to evaluate.

    Raises:
        AnnotationError: if a result is of an image that is not in the ground truth.
        EngineError: as `compute_stats`.
    """
    _check_known_images(ground_truth, results)
    # All categories that were read are one: the first.
    rows = [
        row | {"category_id": ground_truth.category_id} if row["category_id"] in ground_truth.category_ids else row
        for row in results
    ]
    stats = compute_stats(engine, _dataset(ground_truth), rows, "keypoints", skeleton.sigmas)
    return dict(zip(STATS, stats, strict=True))


def box_average_precision(
    ground_truth: CocoPeople, detections: Mapping[int, Sequence[Detection]], engine: CocoBackend = "pycocotools"
) -> dict[str, float]:
    """COCO's average precision of boxes of people, over IoUs from 0.50 to 0.95 (AP), and at 0.50 and 0.75.

    Args:
        ground_truth: the labeled people; crowds and people without keypoints are people here.
        detections: by image id; the 100 best of each image count. Those whose score is not finite are left out.
        engine: as in `average_precision`.
    """
    rows = [
        {
            "image_id": image_id,
            "category_id": ground_truth.category_id,
            "bbox": [*detection.box],
            "score": detection.score,
        }
        for image_id, image_detections in detections.items()
        for detection in image_detections
        if math.isfinite(detection.score)
    ]
    stats = compute_stats(engine, _dataset(ground_truth), rows, "bbox")
    return dict(zip(_BOX_STATS, stats[: len(_BOX_STATS)], strict=True))


def read_results(path: Path, skeleton: Skeleton) -> list[dict[str, Any]]:
    """Read a COCO results file of any system.

    Raises:
        AnnotationError: if it is no list of image_id, category_id, score and K x 3 finite numbers.
    """
    try:
        rows = TypeAdapter(list[CocoResult]).validate_python(read_json(path))
    except ValidationError as error:
        raise AnnotationError(f"{path}: {first_problem(error, 'the file')}; it must be a COCO results list") from error
    length = 3 * len(skeleton.keypoints)
    for number, row in enumerate(rows):
        if len(row.keypoints) != length:
            raise AnnotationError(f"{path}: row {number} has {len(row.keypoints)} keypoint numbers, not {length}")
    keypoints = np.array([row.keypoints for row in rows], np.float64).reshape(len(rows), len(skeleton.keypoints), 3)
    scores = np.array([row.score for row in rows])
    warn_of_units(path, suspect_units(points=keypoints[..., :2], scores=scores))
    left_out = None if all(row.bbox for row in rows) else {"bbox"}
    return [row.model_dump(exclude=left_out) for row in rows]


def _check_known_images(ground_truth: CocoPeople, results: Sequence[Mapping[str, Any]]) -> None:
    known = {image.id for image in ground_truth.images}
    unknown = {row["image_id"] for row in results} - known
    if unknown:
        raise AnnotationError(
            f"results of {len(unknown)} images, image_id {min(unknown)} the first, which are not among the"
            f" {len(known)} labeled ones ({min(known)} to {max(known)}); are they of other labels?"
        )


def _dataset(ground_truth: CocoPeople) -> dict[str, Any]:
    """The content of a COCO annotation file: keypoints in the skeleton's order, annotation ids counted from 1.

    The file's own ids are not used: COCOeval takes id 0 for no match, and drops people whose ids are equal.
    """
    is_complete = bool(ground_truth.named.all())
    labeled = (ground_truth.keypoints_image[..., 2] > 0).sum(1).tolist()
    # num_keypoints decides who is ignored; it must not count keypoints that the skeleton lacks.
    counts = [
        row.num_keypoints if is_complete and row.num_keypoints is not None else count
        for row, count in zip(ground_truth.annotations, labeled, strict=True)
    ]
    keypoints = ground_truth.keypoints_image.reshape(len(ground_truth.annotations), -1).tolist()
    annotations = [
        {
            "id": number,
            "image_id": row.image_id,
            "category_id": ground_truth.category_id,
            "bbox": [*row.bbox],  # a tuple is no box to pycocotools
            "area": row.area,
            "iscrowd": row.iscrowd,
            "keypoints": keypoints[number - 1],
            "num_keypoints": counts[number - 1],
        }
        for number, row in enumerate(ground_truth.annotations, start=1)
    ]
    return {
        "info": {},
        "images": [{"id": image.id} for image in ground_truth.images],
        "annotations": annotations,
        "categories": [{"id": ground_truth.category_id, "name": "person"}],
    }
