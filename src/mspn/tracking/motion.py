"""Where followed people are and where they go: a Kalman filter of constant velocity, over all people at once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

_ACCELERATION = 1.0
"""Spectral density of the random acceleration, in squared sizes per cubic second: walkers stop and turn."""
_MEASUREMENT_STD = 0.07
"""Of a detected position, in sizes."""
_FIRST_VELOCITY_STD = 4.0
"""Of somebody who has just come, in sizes a second: a runner, or anybody while the camera pans."""


@dataclass(frozen=True, eq=False)
class Observation:
    """People in one frame as points: keypoints, or the corners of a box."""

    points: Float[np.ndarray, "N P 2"]
    """(x, y) in image pixels."""
    weights: Float[np.ndarray, "N P"]
    """How far a point is to be believed, 0 to 1."""
    corners: Float[np.ndarray, "N 2 2"]
    """Of the box, top left and bottom right."""

    @property
    def sizes(self) -> Float[np.ndarray, " N"]:
        """Square roots of the boxes' areas, in pixels."""
        return np.asarray(np.sqrt((self.corners[:, 1] - self.corners[:, 0]).clip(min=0).prod(-1)).clip(min=1.0))

    def take(self, rows: Int[np.ndarray, " M"]) -> "Observation":
        """Some of the people."""
        return Observation(self.points[rows], self.weights[rows], self.corners[rows])


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
        )

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

    def keep(self, kept: Bool[np.ndarray, " T"]) -> None:
        """Forget everyone else."""
        for name, values in vars(self).items():
            setattr(self, name, values[kept])

    def add(self, other: "Motion") -> None:
        """Follow others too."""
        for name, values in vars(self).items():
            setattr(self, name, np.concatenate([values, getattr(other, name)]))
