"""How well the people of a street are followed: python -m benchmarks.street vtest.avi [--figure tracks.jpg]

Labels are those of `vtest.csv`, in MOTChallenge's columns: eleven people of the first 300 frames. Who is who was told
by eye, and hidden people were drawn; boxes of others are our detector's at 640. People who leave and come back after
six seconds count as others. Each row is for a size of the detector: as it is, and means of five, which are this one and
four perturbed ones (scores multiplied by 0.9 and 1.1, a tenth of the boxes dropped, twice). The figure shows every 20th
frame at the largest size.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from mspn.detectors import make_detector
from mspn.detectors.base import Detector
from mspn.evaluation.tracks import Frames, TrackedFrame, TrackingScores, measure_tracking, read_videos
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Detection, iou, to_xyxy
from mspn.structures.image import Image
from mspn.structures.pose import Pose
from mspn.structures.shapes import UInt8
from mspn.visualize.contact_sheet import arrange_tiles, join_panels
from mspn.visualize.themes import track_color

_LABELS = Path(__file__).with_name("vtest.csv")
_FRAMES = 300
_SIZES = (416, 512, 640)
_STEP = 20
_COLUMNS = 3
_REGION = (60, 40, 768, 370)
"""Left, top, right, bottom: where people walk."""
_SCALE = 0.7
_QUALITY = 60

Pixels = UInt8[np.ndarray, "H W 3"]


@dataclass
class Perturbed:
    """A detector with other scores, or with boxes missing at random."""

    detector: Detector
    factor: float = 1.0
    missed: float = 0.0
    seed: int = 0
    random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def detect(self, image: Image) -> list[Detection]:
        return [
            replace(person, score=min(self.factor * person.score, 1.0))
            for person in self.detector.detect(image)
            if self.random.random() >= self.missed
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=_SIZES)
    options = parser.parse_args()
    ((_, labels),) = read_videos(_LABELS).items()
    print("| detector size | IDF1 | HOTA | MOTA | switches | of five: IDF1 | HOTA | MOTA | switches |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in options.sizes:
        detector = make_detector("default", side=size)
        others = [Perturbed(detector, 0.9), Perturbed(detector, 1.1)]
        others += [Perturbed(detector, missed=0.1, seed=seed) for seed in (1, 2)]
        runs = [_score(labels, _follow(options.video, each)) for each in (detector, *others)]
        print(f"| {size} | {_cells(runs[:1])} | {_cells(runs)} |", flush=True)
    if options.figure is not None:
        _draw(_follow(options.video, make_detector("default", side=max(options.sizes))), options.figure)


def _follow(video: str, detector: Detector) -> Iterator[ImageResult]:
    return islice(PoseEstimator(detector=detector).stream(video, track=True), _FRAMES)


def _score(labels: Frames, results: Iterator[ImageResult]) -> TrackingScores:
    frames = []
    for result in results:
        frame = result.image.frame if result.image else None
        assert frame is not None, result.problems
        people = labels.get(frame.index, [])
        similarity = np.zeros((len(people), len(result.poses)))
        if people and result.poses:
            boxes = to_xyxy([person.box for person in people])
            similarity = iou(boxes[:, None], to_xyxy([pose.box for pose in result.poses]))
        ids = np.array([pose.track_id for pose in result.poses], int)
        frames.append(TrackedFrame(np.array([person.track_id for person in people], int), ids, similarity))
    assert len(frames) == _FRAMES, f"the video has {len(frames)} frames, not {_FRAMES}"
    return measure_tracking(frames)


def _cells(runs: Sequence[TrackingScores]) -> str:
    shares = [np.mean([getattr(run, name) for run in runs]) for name in ("idf1", "hota", "mota")]
    return " | ".join([*(f"{share:.3f}" for share in shares), f"{np.mean([run.num_switches for run in runs]):g}"])


def _draw(results: Iterator[ImageResult], figure: Path) -> None:
    tiles = [
        join_panels([_panel(result.image.pixels, result.poses)], [f"frame {index}"])
        for index, result in enumerate(results)
        if index % _STEP == 0 and result.image is not None
    ]
    sheet = cv2.cvtColor(arrange_tiles(tiles, [], columns=_COLUMNS), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(figure), sheet, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])


def _panel(pixels: Pixels, poses: Sequence[Pose]) -> Pixels:
    """The region of a frame, with a box and a number for each id."""
    left, top, right, bottom = _REGION
    panel = cv2.resize(pixels[top:bottom, left:right], None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_AREA)
    for pose in poses:
        if pose.track_id is None:
            continue
        box, color = pose.box, track_color(pose.track_id)
        x, y = round((box.left - left) * _SCALE), round((box.top - top) * _SCALE)
        end = (round((box.left + box.width - left) * _SCALE), round((box.top + box.height - top) * _SCALE))
        cv2.rectangle(panel, (x, y), end, color, 1)
        for outline, thickness in (((0, 0, 0), 3), (color, 1)):
            cv2.putText(panel, str(pose.track_id), (x, y - 3), cv2.FONT_HERSHEY_SIMPLEX, 0.5, outline, thickness)
    return panel


if __name__ == "__main__":
    main()
