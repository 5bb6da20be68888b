"""Why average precision is about zero, or why there is none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mspn.evaluation.diagnosis.keypoint_order import describe_order, likely_orders, reorder
from mspn.evaluation.diagnosis.trials import Sample, extent, findable, take_subset
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.boxes import Detection, iou, to_xyxy
from mspn.structures.skeleton import Skeleton

LOW = 0.05
"""AP below this is explained."""
_USUAL_AREA = 0.53
"""A person's outline over the area of the box, in COCO."""

Rows = Sequence[dict[str, Any]]


def explain_low_ap(
    ground_truth: CocoPeople,
    rows: Rows,
    skeleton: Skeleton,
    stats: Mapping[str, float],
    boxes: Mapping[int, Sequence[Detection]] | None = None,
) -> list[str]:
    """What may be wrong where AP is below 0.05 or -1, a line each; where a change would help, by how much.

    Args:
        ground_truth: the labeled people.
        rows: COCO results that were scored.
        skeleton: of both.
        stats: the ten numbers.
        boxes: detected boxes by image id, where the results come from such.
    """
    if stats["AP"] >= LOW:
        return []
    certain = _nobody_to_find(ground_truth) or _nothing_to_score(ground_truth, rows)
    if certain:
        return certain
    sample = take_subset(ground_truth, rows, skeleton)
    reasons = [*_wrong_categories(ground_truth, rows), *_missing_images(ground_truth, rows)]
    for look in _LOOKS:
        reasons += look(sample)
    if boxes is not None:
        reasons += _detected_boxes(sample, boxes)
    return reasons or [_what_is_seen(sample)]


def _nobody_to_find(ground_truth: CocoPeople) -> list[str]:
    people = findable(ground_truth)
    total = len(ground_truth.annotations)
    if not people:
        crowds = sum(bool(person.iscrowd) for person in ground_truth.annotations)
        return [
            f"the labels have nobody to find: of {total} people {crowds} are crowds and {total - crowds} have no"
            " labeled keypoint (visibility 1 or 2)"
        ]
    if all(person.num_keypoints == 0 for person, _ in people):
        return [f"num_keypoints is 0 for all of {len(people)} people with labeled keypoints, so COCO ignores them"]
    return []


def _nothing_to_score(ground_truth: CocoPeople, rows: Rows) -> list[str]:
    if not rows:
        return ["there is not one result"]
    categories = {row["category_id"] for row in rows}
    if ground_truth.category_id not in categories:
        return [f"no result has the labels' category_id {ground_truth.category_id}; they have {sorted(categories)}"]
    shown = {person.image_id for person, _ in findable(ground_truth)}
    if not shown & {row["image_id"] for row in rows}:
        return [f"no result is of one of the {len(shown)} images that show somebody; do the image ids match?"]
    return []


def _wrong_categories(ground_truth: CocoPeople, rows: Rows) -> list[str]:
    wrong = sum(row["category_id"] != ground_truth.category_id for row in rows)
    if 2 * wrong > len(rows):
        return [f"{wrong} of {len(rows)} results have another category_id than the labels' {ground_truth.category_id}"]
    return []


def _missing_images(ground_truth: CocoPeople, rows: Rows) -> list[str]:
    shown = {person.image_id for person, _ in findable(ground_truth)}
    covered = shown & {row["image_id"] for row in rows}
    if 2 * len(covered) < len(shown):
        return [f"there are results of {len(covered)} of the {len(shown)} images that show somebody"]
    return []


def _shifted_ids(sample: Sample) -> list[str]:
    for shift in (1, -1):
        moved = [row | {"image_id": row["image_id"] + shift} for row in sample.rows]
        if reason := _if_it_helps(sample, f"the results' image ids are off by one: with {shift:+d}", rows=moved):
            return reason
    return []


def _areas(sample: Sample) -> list[str]:
    shares = [(person.area or 0) / max(person.bbox[2] * person.bbox[3], 1e-9) for person, _ in sample.people]
    share = float(np.median(shares))
    if 0.05 <= share <= 1.5:
        return []
    people = [
        person.model_copy(update={"area": _USUAL_AREA * person.bbox[2] * person.bbox[3]})
        for person in sample.ground_truth.annotations
    ]
    usual = replace(sample.ground_truth, annotations=people)
    text = f"the labels' areas are {share:.2g} of their boxes, where about {_USUAL_AREA} is usual"
    return _if_it_helps(sample, f"{text}: with that", ground_truth=usual) or [text]


def _labeled_boxes(sample: Sample) -> list[str]:
    people = [(person, keypoints) for person, keypoints in sample.people if (keypoints[:, 2] > 0).sum() > 1]
    if not people:
        return []
    boxes = np.array([person.bbox for person, _ in people])
    extents = np.array([extent(keypoints[keypoints[:, 2] > 0, :2]) for _, keypoints in people])
    as_sizes, as_corners = _median_overlaps(boxes, extents)
    if as_corners > as_sizes + 0.1:
        return [
            "the labels' boxes are [left, top, right, bottom], and COCO's are [left, top, width, height]: read so they"
            f" overlap their keypoints by {as_sizes:.2f}, as corners by {as_corners:.2f}"
        ]
    return []


def _detected_boxes(sample: Sample, boxes: Mapping[int, Sequence[Detection]]) -> list[str]:
    nearest = []
    labeled = []
    for person, _ in sample.people:
        candidates = np.array([detection.box for detection in boxes.get(person.image_id, ())]).reshape(-1, 4)
        if len(candidates):
            ground_truth = to_xyxy(np.array(person.bbox))
            fits = np.maximum(iou(to_xyxy(candidates), ground_truth), iou(candidates, ground_truth))
            nearest.append(candidates[fits.argmax()])
            labeled.append(ground_truth[0])
    if not nearest:
        return ["none of the detected boxes is in an image that shows somebody; do names or ids match?"]
    as_sizes, as_corners = _median_overlaps(np.array(nearest), np.array(labeled))
    if as_corners > as_sizes + 0.1:
        return [
            "the detected boxes are [left, top, right, bottom], and must be [left, top, width, height]: read so they"
            f" overlap the labeled ones by {as_sizes:.2f}, as corners by {as_corners:.2f}"
        ]
    if as_sizes < 0.2:
        return [f"the detected boxes overlap the labeled ones by {as_sizes:.2f} only; are they of these images?"]
    return []


def _order(sample: Sample) -> list[str]:
    orders = likely_orders(sample.skeleton, sample.pairs())
    best = max(orders, key=lambda order: sample.try_out(reorder(sample.rows, order), sample.ground_truth))
    return _if_it_helps(sample, describe_order(sample.skeleton, best), rows=reorder(sample.rows, best))


def _axes(sample: Sample) -> list[str]:
    swapped = _with_points(sample.rows, lambda points: points[:, ::-1])
    return _if_it_helps(sample, "the results give (y, x) in place of (x, y): the other way round", rows=swapped)


def _scale(sample: Sample) -> list[str]:
    if max(abs(value) for row in sample.rows for value in _points(row).ravel()) <= 1.5:
        return ["the results' coordinates lie between 0 and 1; they must be pixels of the image"]
    labeled: dict[int, list[float]] = {}
    for person, keypoints in sample.people:
        labeled.setdefault(person.image_id, []).append(float(keypoints[keypoints[:, 2] > 0, :2].mean()))
    ratios = []
    for image_id, rows in sample.rows_by_image().items():
        best = [float(_points(row).mean()) for row in rows[: len(labeled[image_id])]]
        if best and np.mean(best) > 0:
            ratios.append(np.mean(labeled[image_id]) / np.mean(best))
    if not ratios:
        return []
    factor = float(np.median(ratios))
    rows = _with_points(sample.rows, lambda points: points * factor)
    # Now that results lie on people, each keypoint has a say.
    pairs = replace(sample, rows=rows).pairs()
    finer = [
        float((pair.predicted[seen] * pair.labeled[seen, :2]).sum() / (pair.predicted[seen] ** 2).sum())
        for pair in pairs
        if (seen := pair.labeled[:, 2] > 0).any()
    ]
    factor *= float(np.median(finer)) if finer else 1.0
    scaled = _with_points(sample.rows, lambda points: points * factor)
    return _if_it_helps(sample, f"the results' coordinates are off by a factor: times {factor:.3g}", rows=scaled)


def _scores(sample: Sample) -> list[str]:
    scores = {row["score"] for row in sample.rows}
    if len(scores) == 1 and sum(map(len, sample.rows_by_image().values())) > len(sample.people):
        return [f"all results have the score {scores.pop():g}, so nothing tells the right ones from the others"]
    turned = [row | {"score": -row["score"]} for row in sample.rows]
    return _if_it_helps(sample, "the results' scores are reversed: with the lowest first", rows=turned)


_LOOKS: tuple[Callable[[Sample], list[str]], ...] = (
    _shifted_ids,
    _areas,
    _labeled_boxes,
    _order,
    _axes,
    _scale,
    _scores,
)


def _what_is_seen(sample: Sample) -> str:
    """What to think of where no known cause explains it."""
    share = len(sample.pairs()) / len(sample.people)
    return f"no usual cause found: {share:.0%} of the labeled people have a result around the same place;" + (
        " is the network trained?" if share > 0.5 else " are the image ids those of the same images?"
    )


def _if_it_helps(
    sample: Sample, text: str, rows: Rows | None = None, ground_truth: CocoPeople | None = None
) -> list[str]:
    before = sample.average_precision
    after = sample.try_out(
        sample.rows if rows is None else rows, sample.ground_truth if ground_truth is None else ground_truth
    )
    if after < max(2 * before, before + LOW):
        return []
    return [f"{text}, AP rises from {before:.3f} to {after:.3f} (on {len(sample.ground_truth.images)} images)"]


def _median_overlaps(boxes: np.ndarray, corners: np.ndarray) -> tuple[float, float]:
    """How far boxes overlap others: taken as left, top, width, height, and as corners."""
    return float(np.median(iou(to_xyxy(boxes), corners))), float(np.median(iou(boxes, corners)))


def _points(row: Mapping[str, Any]) -> np.ndarray:
    return np.array(row["keypoints"], np.float64).reshape(-1, 3)[:, :2]


def _with_points(rows: Rows, change: Callable[[np.ndarray], np.ndarray]) -> list[dict[str, Any]]:
    """The rows with other coordinates, and without boxes, which would not fit them."""
    return [
        {name: value for name, value in row.items() if name != "bbox"}
        | {"keypoints": np.column_stack([change(_points(row)), row["keypoints"][2::3]]).ravel().tolist()}
        for row in rows
    ]
