"""Diagnosis of an average precision near zero, or of -1: what would raise it, on a subset of the images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mspn.evaluation.average_precision import average_precision
from mspn.labels.formats.coco import CocoAnnotation, CocoPeople
from mspn.labels.units import suspect_units
from mspn.structures.boxes import Detection, iou, to_xyxy
from mspn.structures.shapes import Float
from mspn.structures.skeleton import Skeleton

_MAX_IMAGES = 100
_MIN_LABELED_KEYPOINTS = 6
"""Of a person, for pairing with a result by the box around the keypoints."""
_MIN_IOU = 0.3
"""Between the boxes around a person's keypoints and around the result's."""

BoxesXyxy = Float[np.ndarray, "*n 4"]
"""Left, top, right, bottom in image pixels."""


class Pair(NamedTuple):
    """A labeled person and the result of the same region, in any order of keypoints."""

    labeled: Float[np.ndarray, "K 3"]
    predicted: Float[np.ndarray, "K 2"]


@dataclass(frozen=True, eq=False)
class DiagnosisSubset:
    """Images that have both people to match and results."""

    ground_truth: CocoPeople
    rows: Sequence[dict[str, Any]]
    """Results of these images, and of those whose ids are one higher or lower."""
    skeleton: Skeleton

    @property
    def people(self) -> list[tuple[CocoAnnotation, Float[np.ndarray, "K 3"]]]:
        """The people to match, with their keypoints."""
        return people_to_match(self.ground_truth)

    @cached_property
    def average_precision(self) -> float:
        """AP on these images."""
        return self.score(self.rows, self.ground_truth)

    def score(self, rows: Sequence[dict[str, Any]], ground_truth: CocoPeople) -> float:
        """AP on these images with changed results or a changed ground truth."""
        known = {image.id for image in ground_truth.images}
        return average_precision(ground_truth, [row for row in rows if row["image_id"] in known], self.skeleton)["AP"]

    def rows_by_image(self) -> dict[int, list[dict[str, Any]]]:
        """Results by image id, best first."""
        by_image: dict[int, list[dict[str, Any]]] = {image.id: [] for image in self.ground_truth.images}
        for row in sorted(self.rows, key=lambda row: -row["score"]):
            if row["image_id"] in by_image:
                by_image[row["image_id"]].append(row)
        return by_image

    def pairs(self) -> list[Pair]:
        """Each person with enough labels, paired with the result that overlaps them most."""
        predicted = {
            image_id: np.array([row["keypoints"] for row in rows]).reshape(len(rows), -1, 3)[..., :2]
            for image_id, rows in self.rows_by_image().items()
            if rows
        }
        pairs = []
        for person, keypoints in self.people:
            points = keypoints[keypoints[:, 2] > 0, :2]
            if len(points) < _MIN_LABELED_KEYPOINTS or person.image_id not in predicted:
                continue
            candidates = predicted[person.image_id]
            overlaps = iou(extent(candidates), extent(points))
            if overlaps.max() >= _MIN_IOU:
                pairs.append(Pair(keypoints, candidates[overlaps.argmax()]))
        return pairs


def take_subset(ground_truth: CocoPeople, rows: Sequence[dict[str, Any]], skeleton: Skeleton) -> DiagnosisSubset:
    """The first 100 images that have both people to match and results."""
    usable = {person.image_id for person, _ in people_to_match(ground_truth)} & {row["image_id"] for row in rows}
    images = [image for image in ground_truth.images if image.id in usable][:_MAX_IMAGES]
    chosen = {image.id for image in images}
    indices = [index for index, person in enumerate(ground_truth.annotations) if person.image_id in chosen]
    subset = replace(
        ground_truth,
        images=images,
        annotations=[ground_truth.annotations[index] for index in indices],
        keypoints_image=ground_truth.keypoints_image[indices],
    )
    near = {image_id + shift for image_id in chosen for shift in (-1, 0, 1)}
    return DiagnosisSubset(subset, [row for row in rows if row["image_id"] in near], skeleton)


def people_to_match(ground_truth: CocoPeople) -> list[tuple[CocoAnnotation, Float[np.ndarray, "K 3"]]]:
    """People who are no crowd and have a labeled keypoint."""
    return [
        (person, keypoints)
        for person, keypoints in zip(ground_truth.annotations, ground_truth.keypoints_image, strict=True)
        if not person.iscrowd and (keypoints[:, 2] > 0).any()
    ]


def extent(points: Float[np.ndarray, "*n K 2"]) -> BoxesXyxy:
    """The box around points."""
    return np.concatenate([points.min(-2), points.max(-2)], axis=-1)


_OPENPOSE = (
    *("nose", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)
"""OpenPose's COCO keypoints without the neck, which COCO does not have."""
_MAX_NAMES_SHOWN = 3


def likely_orders(skeleton: Skeleton, pairs: Sequence[Pair]) -> list[list[int]]:
    """Index in the results of each of the skeleton's keypoints, for likely mistakes: sides swapped, the reverse,
    OpenPose's order, and the order nearest to the labels.
    """
    orders = [skeleton.mirror_order, list(range(len(skeleton.keypoints)))[::-1]]
    if set(skeleton.keypoints) == set(_OPENPOSE):
        orders.append([_OPENPOSE.index(name) for name in skeleton.keypoints])
    if pairs:
        orders.append(_nearest_order(pairs))
    return orders


def reorder(rows: Sequence[dict[str, Any]], order: Sequence[int]) -> list[dict[str, Any]]:
    """The rows with the keypoints at these indices, in this order."""
    columns = [3 * index + offset for index in order for offset in range(3)]
    return [row | {"keypoints": [row["keypoints"][column] for column in columns]} for row in rows]


def describe_order(skeleton: Skeleton, order: Sequence[int]) -> str:
    """The mistake in results that this order corrects."""
    if list(order) == skeleton.mirror_order:
        return "left and right are swapped in the results: with the sides exchanged"
    moved = [
        (name, index)
        for number, (name, index) in enumerate(zip(skeleton.keypoints, order, strict=True))
        if index != number
    ]
    named = ", ".join(f"{name} is at index {index}" for name, index in moved[:_MAX_NAMES_SHOWN])
    dots = ", ..." if len(moved) > _MAX_NAMES_SHOWN else ""
    return f"the results' keypoints are in another order ({named}{dots}): in the labels' order"


def _nearest_order(pairs: Sequence[Pair]) -> list[int]:
    """For each keypoint the index in the results whose points are nearest to its labels; each index once."""
    predicted = np.stack([pair.predicted for pair in pairs])
    labeled = np.stack([pair.labeled for pair in pairs])
    sizes = np.linalg.norm(np.ptp(predicted, axis=1), axis=-1)
    # pairs x index in the results x keypoint
    distances = np.linalg.norm(predicted[:, :, None] - labeled[:, None, :, :2], axis=-1) / sizes[:, None, None]
    num_keypoints = labeled.shape[1]
    order = [-1] * num_keypoints
    typical = np.full((num_keypoints, num_keypoints), np.inf)
    for keypoint in range(num_keypoints):
        is_labeled = labeled[:, keypoint, 2] > 0
        if is_labeled.any():
            typical[:, keypoint] = np.median(distances[is_labeled, :, keypoint], axis=0)
    free = set(range(num_keypoints))
    for flat in np.argsort(typical, axis=None, kind="stable").tolist():
        index, keypoint = divmod(flat, num_keypoints)
        if order[keypoint] < 0 and index in free:
            order[keypoint] = index
            free.remove(index)
    return order


MAX_AP = 0.05
"""A higher AP is not diagnosed."""
_USUAL_AREA_SHARE = 0.53
"""Typical area of a person's outline over that of the box, in COCO."""
_MIN_CORRECTED_AP = 0.2
"""A correction that leaves AP below this explains nothing: chance alone may raise it from 0 to 0.05."""

Rows = Sequence[dict[str, Any]]


def explain_low_ap(
    ground_truth: CocoPeople,
    rows: Rows,
    skeleton: Skeleton,
    stats: Mapping[str, float],
    boxes: Mapping[int, Sequence[Detection]] | None = None,
) -> list[str]:
    """Possible causes of an AP below 0.05 or of -1, one a line, with the AP that a correction gives.

    Args:
        ground_truth: the labeled people.
        rows: COCO results that were scored.
        skeleton: of both.
        stats: the ten numbers.
        boxes: detected boxes by image id, if the poses were predicted in them.
    """
    if stats["AP"] >= MAX_AP:
        return []
    conclusive = _check_people(ground_truth) or _check_results(ground_truth, rows)
    if conclusive:
        return conclusive
    subset = take_subset(ground_truth, rows, skeleton)
    reasons = [*_wrong_categories(ground_truth, rows), *_missing_images(ground_truth, rows)]
    for check in _CHECKS:
        reasons += check(subset)
    if boxes is not None:
        reasons += _detected_boxes(subset, boxes)
    return reasons or [_no_cause_found(subset)]


def _check_people(ground_truth: CocoPeople) -> list[str]:
    people = people_to_match(ground_truth)
    total = len(ground_truth.annotations)
    if not people:
        crowds = sum(bool(person.iscrowd) for person in ground_truth.annotations)
        return [
            f"the labels have no people to match: of {total} people {crowds} are crowds and {total - crowds} have no"
            " labeled keypoint (visibility 1 or 2)"
        ]
    if all(person.num_keypoints == 0 for person, _ in people):
        return [f"num_keypoints is 0 for all of {len(people)} people with labeled keypoints, so COCO ignores them"]
    return []


def _check_results(ground_truth: CocoPeople, rows: Rows) -> list[str]:
    if not rows:
        return ["there are no results"]
    categories = {row["category_id"] for row in rows}
    if ground_truth.category_id not in categories:
        return [f"no result has the labels' category_id {ground_truth.category_id}; they have {sorted(categories)}"]
    image_ids = {person.image_id for person, _ in people_to_match(ground_truth)}
    if not image_ids & {row["image_id"] for row in rows}:
        return [f"no result is of any of the {len(image_ids)} images with labeled people; do the image ids match?"]
    return []


def _wrong_categories(ground_truth: CocoPeople, rows: Rows) -> list[str]:
    wrong = sum(row["category_id"] != ground_truth.category_id for row in rows)
    if 2 * wrong > len(rows):
        return [f"{wrong} of {len(rows)} results have another category_id than the labels' {ground_truth.category_id}"]
    return []


def _missing_images(ground_truth: CocoPeople, rows: Rows) -> list[str]:
    image_ids = {person.image_id for person, _ in people_to_match(ground_truth)}
    covered = image_ids & {row["image_id"] for row in rows}
    if 2 * len(covered) < len(image_ids):
        return [f"there are results of {len(covered)} of the {len(image_ids)} images with labeled people"]
    return []


def _shifted_ids(subset: DiagnosisSubset) -> list[str]:
    for shift in (1, -1):
        moved = [row | {"image_id": row["image_id"] + shift} for row in subset.rows]
        if reason := _if_it_raises_ap(subset, f"the results' image ids are off by one: with {shift:+d}", rows=moved):
            return reason
    return []


def _areas(subset: DiagnosisSubset) -> list[str]:
    shares = [(person.area or 0) / max(person.bbox[2] * person.bbox[3], 1e-9) for person, _ in subset.people]
    share = float(np.median(shares))
    if 0.05 <= share <= 1.5:
        return []
    people = [
        person.model_copy(update={"area": _USUAL_AREA_SHARE * person.bbox[2] * person.bbox[3]})
        for person in subset.ground_truth.annotations
    ]
    usual = replace(subset.ground_truth, annotations=people)
    text = f"the labels' areas are {share:.2g} of their boxes, where about {_USUAL_AREA_SHARE} is usual"
    return _if_it_raises_ap(subset, f"{text}: with that", ground_truth=usual)


def _labeled_boxes(subset: DiagnosisSubset) -> list[str]:
    boxes = np.array([person.bbox for person, _ in subset.people])
    keypoints = np.array([keypoints for _, keypoints in subset.people])
    points = np.where(keypoints[..., 2:] > 0, keypoints[..., :2], np.nan)
    suspects = suspect_units(boxes=boxes, points=points)
    return [f"the labels' boxes: {suspect.message}" for suspect in suspects if suspect.kind == "corner_boxes"]


def _detected_boxes(subset: DiagnosisSubset, boxes: Mapping[int, Sequence[Detection]]) -> list[str]:
    nearest = []
    labeled = []
    for person, _ in subset.people:
        candidates = np.array([detection.box for detection in boxes.get(person.image_id, ())]).reshape(-1, 4)
        if len(candidates):
            ground_truth = to_xyxy(np.array(person.bbox))
            fits = np.maximum(iou(to_xyxy(candidates), ground_truth), iou(candidates, ground_truth))
            nearest.append(candidates[fits.argmax()])
            labeled.append(ground_truth[0])
    if not nearest:
        return ["none of the detected boxes is in an image with labeled people; do names or ids match?"]
    as_sizes, as_corners = _median_overlaps(np.array(nearest), np.array(labeled))
    if as_corners > as_sizes + 0.1:
        return [
            "the detected boxes are [left, top, right, bottom], and must be [left, top, width, height]: read so they"
            f" overlap the labeled ones by {as_sizes:.2f}, as corners by {as_corners:.2f}"
        ]
    if as_sizes < 0.2:
        return [f"the detected boxes overlap the labeled ones by {as_sizes:.2f} only; are they of these images?"]
    return []


def _order(subset: DiagnosisSubset) -> list[str]:
    orders = likely_orders(subset.skeleton, subset.pairs())
    best = max(orders, key=lambda order: subset.score(reorder(subset.rows, order), subset.ground_truth))
    return _if_it_raises_ap(subset, describe_order(subset.skeleton, best), rows=reorder(subset.rows, best))


def _axes(subset: DiagnosisSubset) -> list[str]:
    swapped = _with_points(subset.rows, lambda points: points[:, ::-1])
    return _if_it_raises_ap(subset, "the results give (y, x) in place of (x, y): with the two exchanged", rows=swapped)


def _scale(subset: DiagnosisSubset) -> list[str]:
    if max(abs(value) for row in subset.rows for value in _points(row).ravel()) <= 1.5:
        return ["the results' coordinates lie between 0 and 1; they must be pixels of the image"]
    labeled: dict[int, list[float]] = {}
    for person, keypoints in subset.people:
        labeled.setdefault(person.image_id, []).append(float(keypoints[keypoints[:, 2] > 0, :2].mean()))
    ratios = []
    for image_id, rows in subset.rows_by_image().items():
        best = [float(_points(row).mean()) for row in rows[: len(labeled[image_id])]]
        if best and np.mean(best) > 0:
            ratios.append(np.mean(labeled[image_id]) / np.mean(best))
    if not ratios:
        return []
    factor = float(np.median(ratios))
    rows = _with_points(subset.rows, lambda points: points * factor)
    # The results are now close enough to people for a finer estimate from each keypoint.
    pairs = replace(subset, rows=rows).pairs()
    finer = [
        float(
            (pair.predicted[is_labeled] * pair.labeled[is_labeled, :2]).sum() / (pair.predicted[is_labeled] ** 2).sum()
        )
        for pair in pairs
        if (is_labeled := pair.labeled[:, 2] > 0).any()
    ]
    factor *= float(np.median(finer)) if finer else 1.0
    scaled = _with_points(subset.rows, lambda points: points * factor)
    return _if_it_raises_ap(subset, f"the results' coordinates are off by a factor: times {factor:.3g}", rows=scaled)


def _scores(subset: DiagnosisSubset) -> list[str]:
    scores = {row["score"] for row in subset.rows}
    if len(scores) == 1 and sum(map(len, subset.rows_by_image().values())) > len(subset.people):
        return [f"all results have the score {scores.pop():g}, so they cannot be ranked"]
    reversed_rows = [row | {"score": -row["score"]} for row in subset.rows]
    return _if_it_raises_ap(subset, "the results' scores are reversed: with the lowest first", rows=reversed_rows)


_CHECKS: tuple[Callable[[DiagnosisSubset], list[str]], ...] = (
    _shifted_ids,
    _areas,
    _labeled_boxes,
    _order,
    _axes,
    _scale,
    _scores,
)


def _no_cause_found(subset: DiagnosisSubset) -> str:
    """The line if no check finds a cause."""
    share = len(subset.pairs()) / len(subset.people)
    return f"no usual cause found: {share:.0%} of the labeled people have a result in the same region;" + (
        " is the network trained?" if share > 0.5 else " are the image ids those of the same images?"
    )


def _if_it_raises_ap(
    subset: DiagnosisSubset, text: str, rows: Rows | None = None, ground_truth: CocoPeople | None = None
) -> list[str]:
    before = subset.average_precision
    after = subset.score(
        subset.rows if rows is None else rows, subset.ground_truth if ground_truth is None else ground_truth
    )
    if after < max(_MIN_CORRECTED_AP, 2 * before):
        return []
    return [f"{text}, AP rises from {before:.3f} to {after:.3f} (on {len(subset.ground_truth.images)} images)"]


def _median_overlaps(boxes: np.ndarray, corners: np.ndarray) -> tuple[float, float]:
    """Median IoU of boxes with others (corners): read as left, top, width, height, and read as corners."""
    return float(np.median(iou(to_xyxy(boxes), corners))), float(np.median(iou(boxes, corners)))


def _points(row: Mapping[str, Any]) -> np.ndarray:
    return np.array(row["keypoints"], np.float64).reshape(-1, 3)[:, :2]


def _with_points(rows: Rows, change: Callable[[np.ndarray], np.ndarray]) -> list[dict[str, Any]]:
    """The rows with changed coordinates, and without boxes, which would no longer fit."""
    return [
        {name: value for name, value in row.items() if name != "bbox"}
        | {"keypoints": np.column_stack([change(_points(row)), row["keypoints"][2::3]]).ravel().tolist()}
        for row in rows
    ]
