"""Scenes of people who walk past each other and behind a pillar, with exact ids and what a detector would say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np

from mspn.structures.boxes import Box, Size
from mspn.structures.image import FrameInfo, Video
from mspn.structures.pose import Pose
from mspn.structures.shapes import Bool, Float, UInt8
from mspn.structures.skeleton import COCO_17
from tests.walking_figure import HEIGHT_PX, walk

SIZE = Size(720, 1280)
FRAMES_PER_SECOND = 25
_PILLAR = (600.0, 680.0)
"""From and to which column it hides everyone."""
_MIN_VISIBLE, _CLEARLY_VISIBLE = 0.25, 0.6
"""Shares of the keypoints: less than the first is neither labeled nor found, less than the second is doubtful."""


@dataclass(frozen=True, eq=False)
class Walker:
    """Somebody in all F frames of a scene."""

    keypoints: Float[np.ndarray, "F 17 2"]
    is_visible: Bool[np.ndarray, "F 17"]
    is_labeled: Bool[np.ndarray, " F"]
    """Whether enough of the person can be seen."""

    def box(self, frame: int) -> Box:
        """Around the keypoints, with a margin."""
        lowest, highest = self.keypoints[frame].min(0), self.keypoints[frame].max(0)
        margin = 0.08 * (highest[1] - lowest[1])
        left, top = (lowest - margin).tolist()
        width, height = (highest - lowest + 2 * margin).tolist()
        return Box(left, top, width, height)


@dataclass(frozen=True)
class Detector:
    """How a network errs; shares of boxes, and of the person's height."""

    missed: float = 0.0
    false: float = 0.0
    keypoint_noise: float = 0.01
    box_noise: float = 0.02


@dataclass(frozen=True, eq=False)
class Scene:
    """People by their ids, which count from 0."""

    walkers: Sequence[Walker]
    seconds: Float[np.ndarray, " F"]

    def labels(self, frame: int) -> dict[int, Pose]:
        """Who can be seen, exactly, by id."""
        return {
            person: _pose(walker.keypoints[frame], np.ones(17), walker.box(frame), 1.0)
            for person, walker in enumerate(self.walkers)
            if walker.is_labeled[frame]
        }

    def frame_info(self, frame: int) -> FrameInfo:
        return FrameInfo(_VIDEO, frame, float(self.seconds[frame]))

    def detect(self, detector: Detector, seed: int = 0) -> Iterator[list[Pose]]:
        """What a detector and a network say of each frame: people who are half hidden have low scores."""
        random = np.random.default_rng(seed)
        for frame in range(len(self.seconds)):
            poses = []
            for walker in self.walkers:
                if walker.is_labeled[frame] and random.random() >= detector.missed:
                    poses.append(_see(walker, frame, detector, random))
                if walker.is_labeled[frame] and random.random() < detector.false:
                    poses.append(_mistake(walker, frame, random))
            yield poses


_VIDEO = Video("scene.mp4", SIZE, Fraction(FRAMES_PER_SECOND), None, is_live=False)


def make_scene(num_people: int, *, num_seconds: float, seed: int = 0) -> Scene:
    """People who enter from either side at any time, pass the pillar, some after a stop, and leave."""
    random = np.random.default_rng(seed)
    seconds = np.arange(round(num_seconds * FRAMES_PER_SECOND)) / FRAMES_PER_SECOND
    nearest_first = -np.sort(-random.uniform(130, 320, num_people))
    paths = [_walk_through(seconds, height, random) for height in nearest_first]
    walkers = []
    for person, keypoints in enumerate(paths):
        hidden = (keypoints[..., 0] > _PILLAR[0]) & (keypoints[..., 0] < _PILLAR[1])
        for nearer in paths[:person]:
            hidden |= _is_behind(keypoints, nearer)
        is_inside = ((keypoints >= 0) & (keypoints < (SIZE.width, SIZE.height))).all(-1)
        is_visible = is_inside & ~hidden
        walkers.append(Walker(keypoints, is_visible, is_visible.mean(1) >= _MIN_VISIBLE))
    return Scene(walkers, seconds)


def draw_frame(scene: Scene, frame: int) -> UInt8[np.ndarray, "H W 3"]:
    """The scene as a picture: everyone with clothes of their own pattern, the nearest last."""
    canvas = np.full((*SIZE, 3), (168, 176, 184), np.uint8)
    canvas[SIZE.height // 2 :] = (120, 124, 118)
    for person, walker in reversed(list(enumerate(scene.walkers))):
        points = np.rint(walker.keypoints[frame]).astype(int)
        height = int(np.ptp(points[:, 1]))
        corner = (points.min(0) - height // 4).clip(0)
        rows, columns = (slice(*ends) for ends in zip(corner[::-1], (points.max(0) + height // 4)[::-1], strict=True))
        part = canvas[rows, columns]
        if not part.size:
            continue
        figure = np.zeros(part.shape[:2], np.uint8)
        points -= corner
        for start, end in COCO_17.limb_indices:
            cv2.line(figure, points[start].tolist(), points[end].tolist(), 255, max(height // 9, 2), cv2.LINE_AA)
        cv2.fillConvexPoly(figure, points[[5, 6, 12, 11]], 255)
        cv2.circle(figure, points[:5].mean(0).astype(int).tolist(), height // 10, 255, -1, cv2.LINE_AA)
        rows_of_pattern, columns_of_pattern = (
            (np.arange(length) - nose) % side
            for length, nose, side in zip(part.shape[:2], points[0][::-1], SIZE, strict=True)
        )
        clothes = _pattern(person)[rows_of_pattern[:, None], columns_of_pattern]
        part[figure > 127] = clothes[figure > 127]
    canvas[:, int(_PILLAR[0]) : int(_PILLAR[1])] = (90, 84, 80)
    return canvas


@lru_cache(maxsize=32)
def _pattern(person: int) -> UInt8[np.ndarray, "H W 3"]:
    """Of somebody's clothes, as large as the picture."""
    spots = np.random.default_rng(person).integers(30, 230, (45, 80, 3), np.uint8)
    return cv2.resize(spots, SIZE[::-1], interpolation=cv2.INTER_AREA)


def _walk_through(seconds: np.ndarray, height: float, random: np.random.Generator) -> np.ndarray:
    """Keypoints of somebody of a height in pixels, from the left or the right."""
    direction = int(random.choice([-1, 1]))
    pace = random.uniform(0.45, 0.8) * height  # pixels a second
    start = random.uniform(-0.3, 0.7) * seconds[-1]
    stop, pause = start + random.uniform(1, 6), random.choice([0.0, random.uniform(0.5, 2)])
    walked = pace * (np.minimum(seconds, stop) - start + np.maximum(seconds - stop - pause, 0))
    figure = walk(seconds + random.uniform(0, 5), speed=0.0, direction=direction).keypoints * height / HEIGHT_PX
    feet = 330 + 1.15 * height + random.uniform(-15, 15)  # who is nearer stands lower
    left = walked - height if direction > 0 else SIZE.width + height - walked
    return np.asarray(figure + np.stack([left, np.full_like(left, feet - height)], -1)[:, None])


def _is_behind(keypoints: np.ndarray, nearer: np.ndarray) -> np.ndarray:
    """Which keypoints the body of somebody nearer covers."""
    lowest, highest = nearer.min(1)[:, None], nearer.max(1)[:, None]
    inset = 0.2 * (highest - lowest) * [1, 0]
    return np.asarray(((keypoints > lowest + inset) & (keypoints < highest - inset)).all(-1))


def _see(walker: Walker, frame: int, detector: Detector, random: np.random.Generator) -> Pose:
    is_visible, true_box = walker.is_visible[frame], walker.box(frame)
    spread = np.where(is_visible, 1.0, 5.0)[:, None] * detector.keypoint_noise * true_box.height
    keypoints = walker.keypoints[frame] + spread * random.normal(size=(17, 2))
    scores = np.where(is_visible, random.uniform(0.6, 0.95, 17), random.uniform(0.02, 0.25, 17))
    shift = detector.box_noise * np.tile([true_box.width, true_box.height], 2) * random.normal(size=4)
    score_range = (0.5, 0.95) if is_visible.mean() >= _CLEARLY_VISIBLE else (0.12, 0.5)
    return _pose(keypoints, scores, Box(*(true_box + shift).tolist()), random.uniform(*score_range))


def _mistake(walker: Walker, frame: int, random: np.random.Generator) -> Pose:
    """A pose of somebody's shape where nobody is."""
    shift = random.uniform((0, -60), (SIZE.width, 60)) - (walker.keypoints[frame].mean(0)[0], 0)
    box = walker.box(frame)
    box = Box(box.left + float(shift[0]), box.top + float(shift[1]), box.width, box.height)
    return _pose(walker.keypoints[frame] + shift, random.uniform(0.05, 0.5, 17), box, random.uniform(0.12, 0.6))


def _pose(keypoints: np.ndarray, scores: np.ndarray, box: Box, box_score: float) -> Pose:
    score = float(box_score * scores.mean())
    return Pose(COCO_17, keypoints, scores, score, score, box, float(box_score))
