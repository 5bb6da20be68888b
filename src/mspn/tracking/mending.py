"""Mistakes of a network that motion gives away: left and right swapped, keypoints that leap away and back."""

import numpy as np
from jaxtyping import Bool, Float

_MAX_GAP_SECONDS = 0.5
"""After a longer one, motion does not tell how a pair goes on."""
_MIN_DEVIATION = 0.005
"""Of a prediction, as a share of the person's size."""
_MAX_COST = 20.0
"""Of one frame, so that a single leap does not outweigh everything."""
_SWITCH_COST, _SWAPPED_COST = 6.0, 0.15
"""Negative logarithms: a network rarely begins or ends to swap a pair, and mostly does not."""
_MIN_LEAP, _MIN_LEAP_SPEED = 0.05, 1.0
"""A leap is longer than this share of the person's size, and so many sizes a second."""
_LEAP_TO_STEP = 2.0
"""And than so many times the step before it, or after the leap back: a fast hand gains speed and loses it."""


def find_swaps(
    left: Float[np.ndarray, "F 2"], right: Float[np.ndarray, "F 2"], seconds: Float[np.ndarray, " F"], size_px: float
) -> Bool[np.ndarray, " F"]:
    """In which frames the two keypoints of a pair have each other's places.

    Of all ways to swap them back, the likeliest is the one in which both go on as they moved in the two frames before
    (the Viterbi algorithm). Legs that cross on the image do not swap: they keep their velocities.

    Args:
        left: (x, y) in pixels in F frames; NaN where it is missing.
        right: as left.
        seconds: of the frames, rising.
        size_px: of the person.
    """
    swapped = np.zeros(len(seconds), bool)
    is_seen = np.isfinite(left).all(-1) & np.isfinite(right).all(-1)
    if is_seen.sum() > 2:
        pairs = np.stack([left[is_seen], right[is_seen]], axis=1)
        swapped[is_seen] = _likeliest_swaps(_continuation_costs(pairs, seconds[is_seen], size_px))
    return swapped


def _continuation_costs(
    pairs: Float[np.ndarray, "n 2 2"], seconds: Float[np.ndarray, " n"], size_px: float
) -> Float[np.ndarray, "n 2 2"]:
    """Cost of each frame from the third on, by whether the pair is swapped between the two frames before, and since."""
    elapsed = np.diff(seconds)
    ratio = (elapsed[1:] / elapsed[:-1])[:, None, None]
    distances = np.empty((len(pairs) - 2, 2, 2))
    for before in (0, 1):
        for since in (0, 1):
            first, second, third = pairs[:-2, :: 1 - 2 * before], pairs[1:-1], pairs[2:, :: 1 - 2 * since]
            predicted = second + ratio * (second - first)
            distances[:, before, since] = ((third - predicted) ** 2).sum((-1, -2))
    # The sum of four squares of a normal variable has the median 3.36.
    variance = max(float(np.median(distances[:, 0, 0])) / 3.36, (_MIN_DEVIATION * size_px) ** 2)
    costs = np.zeros((len(pairs), 2, 2))
    is_near = np.maximum(elapsed[1:], elapsed[:-1]) <= _MAX_GAP_SECONDS
    costs[2:][is_near] = np.minimum(distances[is_near] / (2 * variance), _MAX_COST)
    return costs


def _likeliest_swaps(costs: Float[np.ndarray, "n 2 2"]) -> Bool[np.ndarray, " n"]:
    """The cheapest sequence of swapped (1) and not swapped (0)."""
    states = (0, 1)
    totals = [[last * _SWAPPED_COST + (before != last) * _SWITCH_COST for last in states] for before in states]
    choices = []
    for cost in costs[2:].tolist():
        following, choice = [[0.0, 0.0], [0.0, 0.0]], [[0, 0], [0, 0]]
        for last in states:
            for new in states:
                ways = [totals[before][last] + cost[before ^ last][last ^ new] for before in states]
                choice[last][new] = int(ways[1] < ways[0])
                following[last][new] = min(ways) + new * _SWAPPED_COST + (last != new) * _SWITCH_COST
        totals = following
        choices.append(choice)
    before, last = min(
        ((before, last) for before in states for last in states), key=lambda pair: totals[pair[0]][pair[1]]
    )
    path = [last, before]
    for choice in reversed(choices):
        before, last = choice[before][last], before
        path.append(before)
    return np.array(path[::-1], bool)


def find_leaps(
    points: Float[np.ndarray, "F 2"], seconds: Float[np.ndarray, " F"], size_px: float, max_seconds: float
) -> Bool[np.ndarray, " F"]:
    """In which frames a keypoint is elsewhere, having leapt away, and back within a time.

    Args:
        points: (x, y) in pixels in F frames; NaN where it is missing.
        seconds: of the frames, rising.
        size_px: of the person.
        max_seconds: from the last frame before the leap to the first after it.
    """
    is_seen = np.isfinite(points).all(-1)
    seen, times = points[is_seen], seconds[is_seen]
    steps = np.hypot(*np.diff(seen, axis=0).T)
    shortest = (_MIN_LEAP + _MIN_LEAP_SPEED * np.diff(times)) * size_px
    is_away = steps > shortest + _LEAP_TO_STEP * np.concatenate([[0], steps])[:-1]
    is_back = steps > shortest + _LEAP_TO_STEP * np.concatenate([steps, [0]])[1:]
    changes = np.zeros(len(seen) + 1, int)
    nearest = np.full(len(steps), np.inf)  # to where the keypoint was before, of the frames elsewhere
    for length in range(1, len(seen) - 1):  # number of frames elsewhere
        duration = times[length + 1 :] - times[: -length - 1]
        if duration.min() > max_seconds:
            break
        nearest = np.minimum(nearest[: len(seen) - length], np.hypot(*(seen[length:] - seen[:-length]).T))
        remaining = np.hypot(*(seen[length + 1 :] - seen[: -length - 1]).T)
        is_mistaken = is_away[:-length] & is_back[length:] & (duration <= max_seconds) & (remaining < nearest[:-1] / 2)
        starts = np.flatnonzero(is_mistaken) + 1
        np.add.at(changes, starts, 1)
        np.add.at(changes, starts + length, -1)
    leaps = np.zeros(len(points), bool)
    leaps[is_seen] = np.cumsum(changes)[:-1] > 0
    return leaps
