"""What the levels of a network see of a person, from coarse to fine, as a moving picture.

python -m benchmarks.figure_coarse_to_fine docs/images/coarse-to-fine.webp
"""

import argparse
from pathlib import Path

import cv2
import torch
from numpy import ndarray
from PIL import Image as PillowImage

from mspn.checkpoints.index import ASSETS
from mspn.checkpoints.networks import load_named
from mspn.io.images import read_image
from mspn.models.base import normalize
from mspn.structures.boxes import Box
from mspn.structures.crop import cut_crop, frame_from_box
from mspn.structures.shapes import UInt8
from mspn.visualize.contact_sheet import enlarge_crop, overlay_heatmaps

_PHOTO, _BOX = ASSETS / "sample" / "astronaut.jpg", Box(10, 0, 440, 512)
_MILLISECONDS = 900


def main() -> None:
    """Write the picture as WebP."""
    parser = argparse.ArgumentParser(description="heat maps from coarse to fine")
    parser.add_argument("figure", type=Path)
    first, *others = map(PillowImage.fromarray, draw_levels())
    first.save(parser.parse_args().figure, save_all=True, append_images=others, duration=_MILLISECONDS, loop=0)


@torch.inference_mode()
def draw_levels() -> list[UInt8[ndarray, "h w 3"]]:
    """The maps of the default network's last stage over the crop, a frame a level."""
    checkpoint = load_named("default")
    recipe = checkpoint.metadata.recipe
    crop = cut_crop(read_image(_PHOTO), frame_from_box(_BOX, recipe.model.input_size, recipe.test.padding))
    levels = checkpoint.model(normalize(torch.from_numpy(crop)[None]))[-1]
    panel, _ = enlarge_crop(crop)
    frames = []
    for level, maps in reversed(list(enumerate(levels))):
        frame = overlay_heatmaps(panel, maps[0].clamp(0, 1), recipe.keypoint_table).copy()
        for color, thickness in (((0, 0, 0), 5), ((255, 255, 255), 2)):
            name = f"1/{4 * 2**level}"
            cv2.putText(frame, name, (10, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.9, color, thickness, cv2.LINE_AA)
        frames.append(frame)
    return frames


if __name__ == "__main__":
    main()
