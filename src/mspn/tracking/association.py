"""Who of the people in a frame is whom of those followed so far."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mspn.structures.oks import keypoint_similarity
from mspn.tracking.motion import Motion, Observation


class Pairs(NamedTuple):
    """Tracks and the observations that continue them."""

    tracks: Int[np.ndarray, " M"]
    seen: Int[np.ndarray, " M"]


_CERTAINTY_POWER = 1 / 16
_FIT_POWER = 4
"""Both are the best on the scenes of `benchmarks/tracking.py`."""


def fit_to_predicted(motion: Motion, seen: Observation, sigmas: Float[np.ndarray, " P"]) -> Float[np.ndarray, "T N"]:
    """How well what is seen fits where people were expected, 0 to 1.

    That is object keypoint similarity (OKS) with two differences. The uncertainty of the prediction widens the
    tolerance: somebody who was hidden for a second may come out a step aside. And of two tracks that fit alike, the
    one whose place was known better fits better.

    Args:
        motion: predicted for the time of the frame.
        seen: in the frame.
        sigmas: of the points, as COCO has them.
    """
    differences = motion.points[:, None] - seen.points[None]
    squared_distances = np.einsum("tnpc,tnpc->tnp", differences, differences)
    weights = np.sqrt(motion.weights)[:, None] * np.sqrt(seen.weights)
    # Points that neither knows still say more than nothing.
    weights = np.where(weights.sum(-1, keepdims=True) > 0, weights, 1.0)
    weights /= weights.sum(-1, keepdims=True)
    areas = (motion.sizes[:, None] ** 2 + seen.sizes**2) / 2
    tolerances = (2 * sigmas) ** 2
    widened = tolerances + motion.position_variances[:, None]
    falloff = np.exp(-squared_distances / (2 * areas[..., None] * widened[:, None]))
    certainty = np.einsum("tnp,tp->tn", weights, tolerances / widened)
    return np.asarray((weights * falloff).sum(-1) * certainty**_CERTAINTY_POWER)


def observed_similarity(seen: Observation, others: Observation, sigmas: Float[np.ndarray, " P"]) -> np.ndarray:
    """OKS of people in the same frame, (N, M)."""
    distances = np.linalg.norm(seen.points[:, None] - others.points[None], axis=-1)
    areas = ((seen.sizes[:, None] ** 2 + others.sizes[None] ** 2) / 2)[..., None]
    return np.asarray(keypoint_similarity(distances, areas, sigmas).mean(-1))


def associate(
    fit: Float[np.ndarray, "T N"],
    *,
    is_confident: Bool[np.ndarray, " N"],
    is_recent: Bool[np.ndarray, " T"],
    min_fit: float,
) -> Pairs:
    """Pair tracks with observations: confident ones with any track first, then doubtful ones with recent tracks left.

    Args:
        fit: of all pairs, see `fit_to_predicted`. The assignment has the largest sum of its fourth power: a good pair
            counts more than two middling ones.
        is_confident: of the observations.
        is_recent: whether a track was seen in the frame before; somebody long unseen does not come back as a doubt.
        min_fit: pairs below it are never made.

    Source: Zhang et al., ByteTrack, ECCV 2022.
    """
    value = np.where(fit >= min_fit, fit**_FIT_POWER, 0.0)
    first = _assign(value * is_confident)
    is_left = is_recent.copy()
    is_left[first.tracks] = False
    second = _assign(value * (is_left[:, None] & ~is_confident))
    return Pairs(np.concatenate([first.tracks, second.tracks]), np.concatenate([first.seen, second.seen]))


def _assign(value: Float[np.ndarray, "T N"]) -> Pairs:
    """The pairs with the largest sum of values, each above 0."""
    rows, columns = np.nonzero(value)
    if len(np.unique(rows)) < len(rows) or len(np.unique(columns)) < len(columns):
        # A second of imports, of use only where somebody is followed.
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

        rows, columns = linear_sum_assignment(value, maximize=True)
    is_pair = value[rows, columns] > 0
    return Pairs(rows[is_pair], columns[is_pair])
