"""The way from photos to keypoints as a moving picture: people are found, cut out, and seen from coarse to fine.

python -m benchmarks.figure_demo docs/images/demo.webp
"""

import argparse
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image as PillowImage

from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.index import ASSETS
from mspn.checkpoints.networks import load_named
from mspn.io.images import read_image
from mspn.models.base import normalize
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Box
from mspn.structures.crop import cut_crop, frame_from_box
from mspn.structures.pose import Pose
from mspn.structures.shapes import UInt8
from mspn.visualize.contact_sheet import overlay_heatmaps
from mspn.visualize.draw import draw_poses

_PHOTOS = ("astronaut.jpg", "camera.jpg", "rider.jpg")
_HEIGHT = 360
_QUALITY = 70
_BOX_COLOR = (76, 201, 74)


class _Step(NamedTuple):
    """What all photos show at the same time."""

    photos: list[UInt8[np.ndarray, "H W 3"]]
    milliseconds: int


def main() -> None:
    """Write the picture as WebP."""
    parser = argparse.ArgumentParser(description="from photos to keypoints")
    parser.add_argument("figure", type=Path)
    steps = draw_steps()
    first, *others = (PillowImage.fromarray(_beside(step.photos)) for step in steps)
    durations = [step.milliseconds for step in steps]
    first.save(
        parser.parse_args().figure,
        save_all=True,
        append_images=others,
        duration=durations,
        loop=0,
        quality=_QUALITY,
        method=6,
    )


@torch.inference_mode()
def draw_steps() -> list[_Step]:
    """The sample photos, their people in boxes, the heat maps of all stages and levels, the keypoints."""
    photos = [read_image(ASSETS / "sample" / name) for name in _PHOTOS]
    poses = [max(found, key=lambda pose: pose.box_score) for found in PoseEstimator()(photos)]
    boxes = [_draw_box(photo, pose.box) for photo, pose in zip(photos, poses, strict=True)]
    drawn = [draw_poses(photo, [pose]) for photo, pose in zip(photos, poses, strict=True)]
    checkpoint = load_named("default")
    seen = [_draw_levels(checkpoint, photo, pose) for photo, pose in zip(photos, poses, strict=True)]
    levels = [_Step(list(step), 350) for step in zip(*seen, strict=True)]
    return [_Step(photos, 900), _Step(boxes, 900), *levels, _Step(drawn, 2800)]


def _draw_box(photo: UInt8[np.ndarray, "H W 3"], box: Box) -> UInt8[np.ndarray, "H W 3"]:
    """The photo with a box whose line is equally thick in the figure, however high the photo is."""
    canvas = photo.copy()
    corners = (round(box.left), round(box.top)), (round(box.left + box.width), round(box.top + box.height))
    cv2.rectangle(canvas, *corners, _BOX_COLOR, max(1, round(4 * photo.shape[0] / _HEIGHT)), cv2.LINE_AA)
    return canvas


def _draw_levels(
    checkpoint: Checkpoint, photo: UInt8[np.ndarray, "H W 3"], pose: Pose
) -> list[UInt8[np.ndarray, "H W 3"]]:
    """The photo with the heat maps in the person's crop, a level after the other."""
    recipe = checkpoint.metadata.recipe
    frame = frame_from_box(pose.box, recipe.model.input_size, recipe.test.padding)
    crop = cut_crop(photo, frame)
    height, width = photo.shape[:2]
    is_crop = cv2.warpAffine(np.ones(crop.shape[:2], np.uint8), frame.crop_to_image, (width, height)) > 0
    stages = checkpoint.model(normalize(torch.from_numpy(crop)[None]))
    levels = chain.from_iterable(reversed(stage) for stage in stages)
    drawn = []
    for maps in levels:
        panel = overlay_heatmaps(crop, maps[0].clamp(0, 1), recipe.keypoint_table)
        warped = cv2.warpAffine(panel, frame.crop_to_image, (width, height), flags=cv2.INTER_LINEAR)
        drawn.append(np.where(is_crop[..., None], warped, photo))
    return drawn


def _beside(photos: list[UInt8[np.ndarray, "H W 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    sizes = [(round(photo.shape[1] * _HEIGHT / photo.shape[0]), _HEIGHT) for photo in photos]
    resized = (cv2.resize(photo, size, interpolation=cv2.INTER_AREA) for photo, size in zip(photos, sizes, strict=True))
    return np.hstack(list(resized))


if __name__ == "__main__":
    main()
