"""A gallery of results, as the paper's Fig. 5, from a report of `mspn evaluate --out`.

python -m benchmarks.figure_gallery evaluation/report.json photos/ figure.jpg [--num-images 12]

The images with the most people are drawn, however well they were solved.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mspn.evaluation.average_precision import read_results
from mspn.evaluation.report import RESULTS_FILE, read_report
from mspn.io.images import read_image, write_jpeg
from mspn.labels.formats.coco import read_coco_people
from mspn.structures.boxes import Box
from mspn.structures.pose import Pose
from mspn.structures.shapes import UInt8
from mspn.structures.skeleton import Skeleton
from mspn.visualize.contact_sheet import arrange_tiles
from mspn.visualize.draw import draw_poses

_TILE_SIDE = 384
_COLUMNS = 4
_MIN_SCORE = 0.3


def main() -> None:
    """Write the gallery as a JPEG."""
    parser = argparse.ArgumentParser(description="a gallery of results")
    parser.add_argument("report", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("figure", type=Path)
    parser.add_argument("--num-images", type=int, default=12)
    chosen = parser.parse_args()
    report = read_report(chosen.report)
    skeleton = report.protocol.keypoint_table
    names = {one.id: one.file_name for one in read_coco_people(Path(report.protocol.annotations), skeleton).images}
    rows: dict[int, list[Any]] = {}
    for row in read_results(chosen.report.with_name(RESULTS_FILE), skeleton):
        rows.setdefault(row["image_id"], []).append(row)
    fullest = sorted(rows, key=lambda image_id: (-len(rows[image_id]), image_id))[: chosen.num_images]
    tiles = []
    for image_id in fullest:
        poses = [_pose(row, skeleton) for row in rows[image_id]]
        tiles.append(_fit(draw_poses(read_image(chosen.images / names[image_id]), poses)))
    write_jpeg(chosen.figure, arrange_tiles(tiles, [f"{report.model}: left orange, right blue"], columns=_COLUMNS))
    print(json.dumps([names[image_id] for image_id in fullest]))


def _pose(row: dict[str, Any], skeleton: Skeleton) -> Pose:
    keypoints = np.array(row["keypoints"]).reshape(-1, 3)
    first, last = keypoints[:, :2].min(0), keypoints[:, :2].max(0)
    return Pose(
        skeleton=skeleton,
        keypoints_image=keypoints[:, :2],
        keypoint_scores=np.where(keypoints[:, 2] >= _MIN_SCORE, 1.0, 0.0),
        score=row["score"],
        ranking_score=row["score"],
        box=Box(*first.tolist(), *(last - first).tolist()),
        box_score=1.0,
    )


def _fit(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """The image within a square, dark beside it."""
    scale = _TILE_SIDE / max(image.shape[:2])
    height, width = (round(side * scale) for side in image.shape[:2])
    tile = np.full((_TILE_SIDE, _TILE_SIDE, 3), 24, np.uint8)
    top, left = (_TILE_SIDE - height) // 2, (_TILE_SIDE - width) // 2
    tile[top : top + height, left : left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return tile


if __name__ == "__main__":
    main()
