"""Where followed people go, by a Kalman filter of constant velocity, and who in a frame is whom of them."""

from dataclasses import dataclass, replace
from importlib import import_module
from threading import Thread
from typing import NamedTuple

import numpy as np

from mspn.structures.boxes import covered_share
from mspn.structures.oks import keypoint_similarity
from mspn.structures.shapes import Bool, Float, Int

_ACCELERATION = 0.5
"""Spectral density of the random acceleration, in squared sizes per cubic second: walkers stop and turn."""
_MEASUREMENT_STD = 0.07
"""Of a detected position, in sizes."""
_FIRST_VELOCITY_STD = 4.0
"""Of somebody who has just come, in sizes a second: a runner, or anybody while the camera pans."""

_COLOR_RATE = 0.1
"""What the latest frame counts in the mean of somebody's colors."""
_COLOR_STD = 16.0
"""Of the colors of one person, in units of CIELAB: light changes, and keypoints miss."""
_MAX_COVERED = 0.15
"""Share of a box in another one, for its colors to be remembered."""
_MAX_STEP = 1.5
"""From where somebody was expected, in sizes."""


@dataclass(frozen=True, eq=False)
class Observation:
    """People in one frame as points: keypoints, or the corners of a box."""

    points: Float[np.ndarray, "N P 2"]
    """(x, y) in image pixels."""
    weights: Float[np.ndarray, "N P"]
    """How far a point is to be believed, 0 to 1."""
    corners: Float[np.ndarray, "N 2 2"]
    """Of the box, top left and bottom right."""
    colors: Float[np.ndarray, "N 2 3"]
    """As `Pose.colors` has them, NaN where unknown."""

    @property
    def sizes(self) -> Float[np.ndarray, " N"]:
        """Square roots of the boxes' areas, in pixels."""
        return np.asarray(np.sqrt((self.corners[:, 1] - self.corners[:, 0]).clip(min=0).prod(-1)).clip(min=1.0))

    @property
    def boxes(self) -> "Observation":
        """The same people, with the corners of their boxes as the points."""
        return Observation(self.corners, np.ones(self.corners.shape[:2]), self.corners, self.colors)

    def take(self, rows: Int[np.ndarray, " M"]) -> "Observation":
        """Some of the people."""
        return Observation(self.points[rows], self.weights[rows], self.corners[rows], self.colors[rows])


@dataclass(eq=False)
class Motion:
    """The believed positions and velocities of T people.

    All points of a person share one velocity, and one covariance of position and velocity for either axis, in units of
    the person's size; a limb that swings moves its point, and hardly the person.
    """

    points: Float[np.ndarray, "T P 2"]
    weights: Float[np.ndarray, "T P"]
    corners: Float[np.ndarray, "T 2 2"]
    sizes: Float[np.ndarray, " T"]
    velocities: Float[np.ndarray, "T 2"]
    """Pixels a second."""
    covariances: Float[np.ndarray, "T 2 2"]
    """Of position (sizes) and velocity (sizes a second)."""
    colors: Float[np.ndarray, "T 2 3"]
    """Means of what was seen where nobody else stood, NaN as long as nothing was."""

    @classmethod
    def start(cls, seen: Observation) -> "Motion":
        """People who are seen for the first time, and seem to stand."""
        covariance = np.diag([_MEASUREMENT_STD**2, _FIRST_VELOCITY_STD**2])
        num_people = len(seen.points)
        return cls(
            points=seen.points,
            weights=seen.weights,
            corners=seen.corners,
            sizes=seen.sizes,
            velocities=np.zeros((num_people, 2)),
            covariances=np.tile(covariance, (num_people, 1, 1)),
            colors=np.full((num_people, 2, 3), np.nan),
        )

    @property
    def boxes(self) -> "Motion":
        """The same people, with the corners of their boxes as the points."""
        return replace(self, points=self.corners, weights=np.ones(self.corners.shape[:2]))

    @property
    def position_variances(self) -> Float[np.ndarray, " T"]:
        """In squared sizes."""
        return self.covariances[:, 0, 0]

    def predict(self, elapsed: float) -> None:
        """Move everyone on by so many seconds."""
        shift = self.velocities * elapsed
        self.points = self.points + shift[:, None]
        self.corners = self.corners + shift[:, None]
        step = np.array([[1.0, elapsed], [0.0, 1.0]])
        noise = np.array([[elapsed**3 / 3, elapsed**2 / 2], [elapsed**2 / 2, elapsed]])
        self.covariances = step @ self.covariances @ step.T + _ACCELERATION * noise

    def correct(self, rows: Int[np.ndarray, " M"], seen: Observation, *, boxes_are_measured: bool) -> None:
        """Take in what is seen of some people; a point that is not believed goes with the others.

        Args:
            rows: whom it is seen of.
            seen: in the same order.
            boxes_are_measured: False: the boxes were predicted, and move as the points say.
        """
        weights = seen.weights[..., None]
        innovations = (seen.points - self.points[rows]) * (weights > 0)
        shared = (innovations * weights).sum(1) / weights.sum(1).clip(min=np.finfo(float).tiny)
        covariances = self.covariances[rows]
        gains = covariances[:, :, 0] / (covariances[:, :1, 0] + _MEASUREMENT_STD**2)
        self.covariances[rows] = covariances - gains[:, :, None] * covariances[:, None, 0]
        self.velocities[rows] += gains[:, 1:] * shared
        self.points[rows] = np.where(weights > 0, seen.points, self.points[rows] + shared[:, None])
        self.weights[rows] = seen.weights
        self.corners[rows] = seen.corners if boxes_are_measured else self.corners[rows] + shared[:, None]
        self.sizes[rows] = seen.sizes

    def remember_colors(self, rows: Int[np.ndarray, " M"], seen: Observation) -> None:
        """Take in the colors of some people; `seen` is everybody in the frame, in the order of `rows`."""
        boxes = seen.corners.reshape(-1, 4)
        covered = covered_share(boxes[:, None], boxes) * ~np.eye(len(boxes), dtype=bool)
        stands_free = covered.max(1, initial=0) <= _MAX_COVERED
        before, now = self.colors[rows], np.where(stands_free[:, None, None], seen.colors, np.nan)
        mean = before + _COLOR_RATE * (now - before)
        self.colors[rows] = np.where(np.isnan(now), before, np.where(np.isnan(before), now, mean))

    def keep(self, kept: Bool[np.ndarray, " T"]) -> None:
        """Forget everyone else."""
        for name, values in vars(self).items():
            setattr(self, name, values[kept])

    def add(self, other: "Motion") -> None:
        """Follow others too."""
        for name, values in vars(self).items():
            setattr(self, name, np.concatenate([values, getattr(other, name)]))


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


def color_similarity(motion: Motion, seen: Observation) -> Float[np.ndarray, "T N"]:
    """How alike colors of clothes are, 0 to 1; NaN where nothing is known of both."""
    differences = ((motion.colors[:, None] - seen.colors[None]) ** 2).sum(-1)
    is_known = np.isfinite(differences)
    mean = np.where(is_known, differences, 0.0).sum(-1) / is_known.sum(-1).clip(min=1)
    return np.where(is_known.any(-1), np.exp(-mean / (2 * _COLOR_STD**2)), np.nan)


def nearness(motion: Motion, seen: Observation) -> Float[np.ndarray, "T N"]:
    """How near to where people were expected others are, 0 to 1; 0 where nobody can have got to.

    Somebody who comes out from behind something turns, bends, or is half hidden still, so that keypoints and box may
    fit nothing that was expected.
    """
    steps = np.linalg.norm(motion.corners.mean(1)[:, None] - seen.corners.mean(1), axis=-1)
    steps /= np.sqrt(motion.sizes[:, None] * seen.sizes)
    variances = 4 * (motion.position_variances + _MEASUREMENT_STD**2)
    return np.asarray(np.where(steps < _MAX_STEP, np.exp(-(steps**2) / (2 * variances[:, None])), 0.0))


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


def associate_rest(pairs: Pairs, fit: Float[np.ndarray, "T N"], *, is_possible: Bool[np.ndarray, "T N"]) -> Pairs:
    """Pair what is left, by boxes or by looks: somebody half hidden keeps the place, but not all keypoints.

    Args:
        pairs: that are made already.
        fit: of all pairs, see `fit_to_predicted` (the corners of boxes are the points), or `color_similarity`.
        is_possible: which pairs may be made.
    """
    value = np.where(is_possible, fit, 0.0)
    value[pairs.tracks] = 0.0
    value[:, pairs.seen] = 0.0
    rest = _assign(value)
    return Pairs(np.concatenate([pairs.tracks, rest.tracks]), np.concatenate([pairs.seen, rest.seen]))


def import_solver() -> None:
    """Import scipy's solver in the background: it takes half a second, and only somebody who is followed needs it."""
    Thread(target=import_module, args=["scipy.optimize"]).start()


def _assign(value: Float[np.ndarray, "T N"]) -> Pairs:
    """The pairs with the largest sum of values, each above 0."""
    rows, columns = np.nonzero(value)
    if len(np.unique(rows)) < len(rows) or len(np.unique(columns)) < len(columns):
        from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 (see `import_solver`)

        rows, columns = linear_sum_assignment(value, maximize=True)
    is_pair = value[rows, columns] > 0
    return Pairs(rows[is_pair], columns[is_pair])
