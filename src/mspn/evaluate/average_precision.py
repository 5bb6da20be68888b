"""COCO's ten numbers, by pycocotools."""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mspn.data.coco import AnnotationError, read_json
from mspn.skeleton import Skeleton

STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def average_precision(annotations: Path, results: Sequence[dict[str, Any]], skeleton: Skeleton) -> dict[str, float]:
    """Average precision and recall over object keypoint similarities from 0.50 to 0.95.

    Args:
        annotations: COCO keypoint file with the truth.
        results: COCO results list.
        skeleton: its sigmas weigh the keypoints.

    Returns:
        The ten numbers by name, 0 to 1; -1 where the truth has nobody to find.

    Raises:
        AnnotationError: if truth or results lack what is needed, naming it.
    """
    content = read_json(annotations)
    _check_truth(content, annotations)
    known = {image["id"] for image in content["images"]}
    strangers = {row["image_id"] for row in results} - known
    if strangers:
        raise AnnotationError(
            f"results of image_id {min(strangers, key=str)}, which is not among the images of {annotations}"
        )
    if not results:
        return dict.fromkeys(STATS, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"info": {}} | content
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(row) for row in results]), "keypoints")
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
    rows = read_json(path)
    if not isinstance(rows, list):
        raise AnnotationError(
            f"{path} is no COCO results list; it must be [{{image_id, category_id, keypoints, score}}, ...]"
        )
    length = 3 * len(skeleton.keypoints)
    for number, row in enumerate(rows):
        missing = [key for key in ("image_id", "category_id", "keypoints", "score") if key not in row]
        if missing:
            raise AnnotationError(f"{path}: row {number} has no {missing[0]!r}")
        if len(row["keypoints"]) != length or not np.isfinite(row["keypoints"]).all():
            raise AnnotationError(f"{path}: row {number} must have {length} finite keypoint numbers")
    return rows


def _check_truth(content: Any, path: Path) -> None:
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or key not in content:
            raise AnnotationError(f"{path} has no {key!r}; it must be a COCO keypoint file")
    for row in content["annotations"]:
        if "keypoints" not in row:
            raise AnnotationError(f"{path}: annotation {row.get('id')} has no keypoints; a keypoint file is needed")
        if "area" not in row:
            raise AnnotationError(f"{path}: annotation {row.get('id')} has no area, which COCO's similarity divides by")
        row.setdefault("iscrowd", 0)
        row.setdefault("num_keypoints", sum(visibility > 0 for visibility in row["keypoints"][2::3]))
