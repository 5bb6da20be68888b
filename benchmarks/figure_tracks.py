"""Who is who in 300 frames of a video, as a contact sheet: python -m benchmarks.figure_tracks VIDEO FIGURE.jpg [SIZE]

SIZE is that of the detector. Every 20th frame is shown, and the numbers of poses and ids are printed. The region is
where people walk in `vtest.avi` of OpenCV's samples.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from mspn.predict.estimator import PoseEstimator
from mspn.structures.pose import Pose
from mspn.structures.shapes import UInt8
from mspn.visualize.contact_sheet import arrange_tiles, join_panels
from mspn.visualize.themes import track_color

_FRAMES = 300
_STEP = 20
_COLUMNS = 3
_REGION = (60, 40, 768, 370)
"""Left, top, right, bottom."""
_SCALE = 0.7
_QUALITY = 60
_SHORT = 10
"""Frames; an id that lasts less was hardly a person."""

Pixels = UInt8[np.ndarray, "H W 3"]


def main(video: str, figure: Path, detector_size: int | None) -> None:
    """Follow, draw and write the sheet."""
    lengths: Counter[int] = Counter()
    tiles = []
    results = PoseEstimator(detector_size=detector_size).stream(video, track=True)
    for index, result in enumerate(islice(results, _FRAMES)):
        lengths.update(pose.track_id for pose in result.poses if pose.track_id is not None)
        if index % _STEP == 0 and result.image is not None:
            tiles.append(join_panels([_panel(result.image.pixels, result.poses)], [f"frame {index}"]))
    sheet = cv2.cvtColor(arrange_tiles(tiles, [], columns=_COLUMNS), cv2.COLOR_RGB2BGR)
    cv2.imwrite(str(figure), sheet, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    short = sum(length < _SHORT for length in lengths.values())
    print(f"{lengths.total()} poses with {len(lengths)} ids, of which {short} last less than {_SHORT} frames")


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
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if sys.argv[3:] else None)
