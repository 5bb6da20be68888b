"""COCO's ten numbers, by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from pydantic import BaseModel, FiniteFloat, TypeAdapter, ValidationError

from mspn.data.coco import CocoPeople, read_coco_people
from mspn.data.label_files import AnnotationError, read_json
from mspn.settings import first_problem
from mspn.skeleton import Skeleton

STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


class CocoResult(BaseModel):
    """A row of a COCO results list."""

    image_id: int
    category_id: int
    keypoints: list[FiniteFloat]
    """K times x, y in image pixels, and a score that is not used."""
    score: FiniteFloat


def read_truth(annotations: Path, skeleton: Skeleton) -> CocoPeople:
    """Read the labelled people that results are measured against.

    Raises:
        AnnotationError: if the file is no COCO keypoint file, or somebody in it has no area.
    """
    truth = read_coco_people(annotations, skeleton)
    for row in truth.annotations:
        if row.area is None or not row.area > 0:
            raise AnnotationError(
                f"{annotations}: annotation {row.id} has no area above 0, which COCO's similarity divides by"
            )
    return truth


def average_precision(truth: CocoPeople, results: Sequence[dict[str, Any]], skeleton: Skeleton) -> dict[str, float]:
    """Average precision and recall over object keypoint similarities from 0.50 to 0.95.

    Args:
        truth: the labelled people, in the order of the skeleton's keypoints.
        results: COCO results list, in the same order.
        skeleton: its sigmas weigh the keypoints.

    Returns:
        The ten numbers by name, 0 to 1; -1 where the truth has nobody to find.

    Raises:
        AnnotationError: if a result is of a picture that the truth does not have.
    """
    strangers = {row["image_id"] for row in results} - {image.id for image in truth.images}
    if strangers:
        raise AnnotationError(f"results of image_id {min(strangers)}, which is not among the labelled images")
    if not results:
        return dict.fromkeys(STATS, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = _dataset(truth)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes([dict(row) for row in results]), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(skeleton.sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(STATS, (float(value) for value in evaluation.stats), strict=True))


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
    return [row.model_dump() for row in rows]


def _dataset(truth: CocoPeople) -> dict[str, Any]:
    """The truth as pycocotools wants it, its keypoints in the skeleton's order."""
    is_complete = bool(truth.named.all())
    annotations = []
    for row, keypoints in zip(truth.annotations, truth.keypoints_image, strict=True):
        labelled = int((keypoints[:, 2] > 0).sum())
        # COCO's own count, where it stands, decides who is ignored; it must not count what the skeleton lacks.
        count = row.num_keypoints if is_complete and row.num_keypoints is not None else labelled
        changed = {"keypoints": keypoints.ravel().tolist(), "num_keypoints": count, "category_id": truth.category_id}
        annotations.append(row.model_dump() | changed)
    return {
        "info": {},
        "images": [image.model_dump() for image in truth.images],
        "annotations": annotations,
        "categories": [{"id": truth.category_id, "name": "person"}],
    }
