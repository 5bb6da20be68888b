"""A person seen from the side who walks, stops or jumps, with exact keypoints and joint angles at any time."""

from dataclasses import dataclass

import numpy as np

from mspn.structures.shapes import Float
from mspn.structures.skeleton import COCO_17

HEIGHT_PX = 400.0
_SECONDS_PER_STRIDE = 1.1
# Segment lengths as shares of the height: Drillis and Contini, in Winter, Biomechanics and Motor Control.
_THIGH, _SHANK, _TRUNK, _UPPER_ARM, _FOREARM = 0.245, 0.246, 0.288, 0.186, 0.146
_HEAD = {"nose": (0.06, 0.10), "left_eye": (0.05, 0.12), "right_eye": (0.05, 0.12), "left_ear": (0.0, 0.11)}
_HEAD["right_ear"] = _HEAD["left_ear"]


@dataclass(frozen=True)
class Motion:
    """What a figure does: F frames at any times."""

    seconds: Float[np.ndarray, " F"]
    keypoints: Float[np.ndarray, "F 17 2"]
    """(x, y) in pixels, in the order of COCO_17; the figure is `HEIGHT_PX` tall."""
    angles: dict[str, Float[np.ndarray, " F"]]
    """Degrees, by name; as docs/kinematics.md defines them."""
    heel_strikes: dict[str, Float[np.ndarray, " S"]]
    """Seconds at which a foot is farthest in front of the hips, by side."""


def walk(seconds: Float[np.ndarray, " F"], *, speed: float = 0.75, strides: float = 1.0, direction: int = 1) -> Motion:
    """Walk to the right, or to the left in direction -1.

    Args:
        seconds: of the frames.
        speed: heights a second.
        strides: how far the limbs swing; 0 stands still.
        direction: +1 or -1 along x.
    """
    return _pose(seconds, seconds * speed, strides, direction)


def walk_and_stop(seconds: Float[np.ndarray, " F"], *, stop_at: float, speed: float = 0.75) -> Motion:
    """Glide to the right at a constant speed, as on a skateboard, and stand still from one moment to the next."""
    return _pose(seconds, np.minimum(seconds, stop_at) * speed, 0.0, 1)


def jump(seconds: Float[np.ndarray, " F"], *, jumps: tuple[float, ...] = (1.0, 2.2, 3.4)) -> Motion:
    """Stand, and jump a fifth of the height up at the times given."""
    gravity = 5.6  # heights / s^2, of a person of 1.75 m
    start_speed = np.sqrt(2 * gravity * 0.2)
    since = [np.clip(seconds - time, 0, 2 * start_speed / gravity) for time in jumps]
    height = sum(start_speed * time - gravity / 2 * time**2 for time in since)
    motion = _pose(seconds, np.zeros_like(seconds), 0.0, 1)
    up = np.stack([np.zeros_like(height), -height * HEIGHT_PX], -1)
    return Motion(seconds, motion.keypoints + up[:, None], motion.angles, {})


def with_noise(
    keypoints: Float[np.ndarray, "F K 2"], share_of_height: float, seed: int = 0
) -> Float[np.ndarray, "F K 2"]:
    """Keypoints as a network might see them."""
    noise = np.random.default_rng(seed).normal(size=keypoints.shape)
    return keypoints + noise * share_of_height * HEIGHT_PX


def _pose(seconds: np.ndarray, forward: np.ndarray, strides: float, direction: int) -> Motion:
    """The figure at given distances from its start, in heights."""
    phase = {"left": seconds / _SECONDS_PER_STRIDE, "right": seconds / _SECONDS_PER_STRIDE + 0.5}
    lean = np.full_like(seconds, 5.0)
    angles = {"trunk_lean": lean}
    hips = np.stack([0.5 + forward, 0.47 + 0.015 * strides * np.cos(4 * np.pi * phase["left"])], -1)
    shoulders = hips + _TRUNK * _direction(180 - lean)
    points = {name: shoulders + np.array([x, -y]) for name, (x, y) in _HEAD.items()}
    for side in ("left", "right"):
        swing = strides * np.cos(2 * np.pi * phase[side])
        hip = 12.0 + 20 * swing
        knee = 5.0 + strides * _bumps(phase[side])
        shoulder = 5.0 - 22 * swing
        elbow = 25.0 - 12 * swing
        # Angles from straight down, forward positive; hip and shoulder are measured from the trunk, which leans.
        thigh, upper_arm = hip - lean, shoulder - lean
        points[f"{side}_hip"], points[f"{side}_shoulder"] = hips, shoulders
        points[f"{side}_knee"] = hips + _THIGH * _direction(thigh)
        points[f"{side}_ankle"] = points[f"{side}_knee"] + _SHANK * _direction(thigh - knee)
        points[f"{side}_elbow"] = shoulders + _UPPER_ARM * _direction(upper_arm)
        points[f"{side}_wrist"] = points[f"{side}_elbow"] + _FOREARM * _direction(upper_arm + elbow)
        angles |= {f"{side}_hip": hip, f"{side}_knee": knee, f"{side}_shoulder": shoulder, f"{side}_elbow": elbow}
    keypoints = np.stack([points[name] for name in COCO_17.keypoints], 1) * [direction, 1] * HEIGHT_PX
    return Motion(seconds, keypoints, angles, {side: _farthest_forward(phase[side], seconds) for side in phase})


def _direction(degrees: np.ndarray) -> np.ndarray:
    """Unit vectors at angles from straight down, forward (right) positive; y points down."""
    return np.stack([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))], axis=-1)


def _bumps(phase: np.ndarray) -> np.ndarray:
    """Flexion of a knee over the stride: a little in stance, a lot in swing."""
    distances = [(phase - center + 0.5) % 1 - 0.5 for center in (0.13, 0.72)]
    return np.asarray(13 * np.exp(-((distances[0] / 0.08) ** 2)) + 55 * np.exp(-((distances[1] / 0.13) ** 2)))


def _farthest_forward(phase: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """When the ankle is farthest in front of the hip, within these seconds."""
    fine = np.linspace(0, 1, 10_001)
    thigh = 7.0 + 20 * np.cos(2 * np.pi * fine)
    ahead = _THIGH * np.sin(np.radians(thigh)) + _SHANK * np.sin(np.radians(thigh - 5 - _bumps(fine)))
    offset = phase[0] - seconds[0] / _SECONDS_PER_STRIDE
    times = (fine[ahead.argmax()] - offset + np.arange(-1, seconds[-1] / _SECONDS_PER_STRIDE + 2)) * _SECONDS_PER_STRIDE
    return np.asarray(times[(times >= seconds[0]) & (times <= seconds[-1])])
