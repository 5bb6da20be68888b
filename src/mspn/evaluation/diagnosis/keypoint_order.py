"""Results whose keypoints stand in another order than the labels'."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mspn.evaluation.diagnosis.trials import Pair
from mspn.structures.skeleton import Skeleton

_OPENPOSE = (
    *("nose", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
    *("right_eye", "left_eye", "right_ear", "left_ear"),
)
"""OpenPose's COCO keypoints without the neck, which COCO does not have."""
_MAX_NAMED = 3


def likely_orders(skeleton: Skeleton, pairs: Sequence[Pair]) -> list[list[int]]:
    """Where each of the skeleton's keypoints may stand in the results: sides swapped, OpenPose's order, the reverse,
    and the one that lies nearest to the labels.
    """
    orders = [skeleton.mirror_order, list(range(len(skeleton.keypoints)))[::-1]]
    if set(skeleton.keypoints) == set(_OPENPOSE):
        orders.append([_OPENPOSE.index(name) for name in skeleton.keypoints])
    if pairs:
        orders.append(_nearest_order(pairs))
    return orders


def reorder(rows: Sequence[dict[str, Any]], order: Sequence[int]) -> list[dict[str, Any]]:
    """The rows with their keypoints at these places, one after another."""
    columns = [3 * place + offset for place in order for offset in range(3)]
    return [row | {"keypoints": [row["keypoints"][column] for column in columns]} for row in rows]


def describe_order(skeleton: Skeleton, order: Sequence[int]) -> str:
    """What is wrong with results that the order mends."""
    if list(order) == skeleton.mirror_order:
        return "left and right are swapped in the results: with the sides exchanged"
    moved = [
        (name, place)
        for number, (name, place) in enumerate(zip(skeleton.keypoints, order, strict=True))
        if place != number
    ]
    named = ", ".join(f"{name} stands at place {place}" for name, place in moved[:_MAX_NAMED])
    dots = ", ..." if len(moved) > _MAX_NAMED else ""
    return f"the results' keypoints are in another order ({named}{dots}, counted from 0): in the labels' order"


def _nearest_order(pairs: Sequence[Pair]) -> list[int]:
    """For each keypoint the place in the results whose points lie nearest to its labels; each place once."""
    predicted = np.stack([pair.predicted for pair in pairs])
    labeled = np.stack([pair.labeled for pair in pairs])
    sizes = np.linalg.norm(np.ptp(predicted, axis=1), axis=-1)
    # P x place x keypoint
    distances = np.linalg.norm(predicted[:, :, None] - labeled[:, None, :, :2], axis=-1) / sizes[:, None, None]
    num_keypoints = labeled.shape[1]
    order = [-1] * num_keypoints
    typical = np.full((num_keypoints, num_keypoints), np.inf)
    for keypoint in range(num_keypoints):
        seen = labeled[:, keypoint, 2] > 0
        if seen.any():
            typical[:, keypoint] = np.median(distances[seen, :, keypoint], axis=0)
    free = set(range(num_keypoints))
    for flat in np.argsort(typical, axis=None, kind="stable").tolist():
        place, keypoint = divmod(flat, num_keypoints)
        if order[keypoint] < 0 and place in free:
            order[keypoint] = place
            free.remove(place)
    return order
