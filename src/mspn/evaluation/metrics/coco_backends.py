"""Backends that compute COCO's numbers: pycocotools, the reference, and hotcoco, checked against it."""

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mspn.errors import EngineError

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
