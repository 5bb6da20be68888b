"""How far smoothed keypoints are from the truth."""

import numpy as np

from mspn.structures.shapes import Float
from tests.walking_figure import HEIGHT_PX

_MAX_FRAMES = 5


def mean_error(keypoints: Float[np.ndarray, "F K 2"], truth: Float[np.ndarray, "F K 2"]) -> float:
    """Root of the mean squared distance, as a share of the height."""
    return float(np.sqrt(((keypoints - truth) ** 2).sum(-1).mean())) / HEIGHT_PX


def frames_behind(keypoints: Float[np.ndarray, "F K 2"], truth: Float[np.ndarray, "F K 2"]) -> int:
    """By how many frames keypoints lag: where their velocity correlates best with the true one."""
    moved, true = np.diff(keypoints, axis=0), np.diff(truth, axis=0)
    true -= true.mean(0)
    inside = slice(_MAX_FRAMES, len(true) - _MAX_FRAMES)
    shifts = range(-_MAX_FRAMES, _MAX_FRAMES + 1)
    correlations = [float((np.roll(moved, -shift, axis=0)[inside] * true[inside]).sum()) for shift in shifts]
    return shifts[int(np.argmax(correlations))]


def overshoot(keypoints: Float[np.ndarray, "F K 2"], truth: Float[np.ndarray, "F K 2"], *, since: int) -> float:
    """How far the body is ahead of the truth at most, in x, from a frame on, as a share of the height."""
    return float((keypoints - truth)[since:, :, 0].mean(1).max()) / HEIGHT_PX
