"""Heat maps by stage and level beside their targets, as the paper's Fig. 4.

python -m benchmarks.figure_heatmaps default figure.jpg
python -m benchmarks.figure_heatmaps MODEL figure.jpg --annotations labels.json --images photos --person 17
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.index import ASSETS
from mspn.checkpoints.networks import load_named
from mspn.heatmaps.targets import draw_targets
from mspn.io.images import read_image, write_jpeg
from mspn.labels.formats.coco import read_coco_people
from mspn.models.base import normalize
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import crop_to_heatmap, cut_crop, frame_from_box, transform_points
from mspn.structures.shapes import Float, UInt8
from mspn.training.losses import kernel_size_at
from mspn.visualize.contact_sheet import arrange_tiles, enlarge_crop, join_panels, overlay_heatmaps

SAMPLE_LABELS = Path(__file__).with_name("sample_labels.json")


def main() -> None:
    """Write the figure as a JPEG."""
    parser = argparse.ArgumentParser(description="heat maps beside their targets")
    parser.add_argument("model")
    parser.add_argument("figure", type=Path)
    parser.add_argument("--annotations", type=Path, default=SAMPLE_LABELS)
    parser.add_argument("--images", type=Path, default=ASSETS / "sample")
    parser.add_argument("--person", type=int, default=1, help="annotation id")
    chosen = parser.parse_args()
    checkpoint = load_named(chosen.model)
    recipe = checkpoint.metadata.recipe
    people = read_coco_people(chosen.annotations, recipe.keypoint_table)
    place = next(place for place, row in enumerate(people.annotations) if row.id == chosen.person)
    person = people.annotations[place]
    name = next(image.file_name for image in people.images if image.id == person.image_id)
    frame = frame_from_box(Box(*person.bbox), recipe.model.input_size, recipe.test.padding)
    labels_crop = people.keypoints_image[place].copy()
    labels_crop[:, :2] = transform_points(labels_crop[:, :2], frame.image_to_crop)
    write_jpeg(chosen.figure, draw_figure(checkpoint, cut_crop(read_image(chosen.images / name), frame), labels_crop))


def draw_figure(
    checkpoint: Checkpoint, crop: UInt8[np.ndarray, "H W 3"], labels_crop: Float[np.ndarray, "K 3"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a row a stage, from coarse to fine: targets beside what the network gives."""
    recipe = checkpoint.metadata.recipe
    with torch.inference_mode():
        outputs: list[list[Tensor]] = checkpoint.model(normalize(torch.from_numpy(crop)[None]))
    panel, _ = enlarge_crop(crop)
    points = crop_to_heatmap(torch.from_numpy(labels_crop[None, :, :2]))
    tiles = []
    for stage, levels in enumerate(outputs):
        for level, heatmaps in reversed(list(enumerate(levels))):
            kernel_size = kernel_size_at(recipe.supervision, stage=stage, num_stages=len(outputs), level=level)
            targets = draw_targets(
                points,
                torch.from_numpy(labels_crop[None, :, 2] > 0),
                size=Size(*heatmaps.shape[-2:]),
                kernel_size=kernel_size,
            )
            pair = [overlay_heatmaps(panel, maps[0].clamp(0, 1), recipe.keypoint_table) for maps in (targets, heatmaps)]
            tiles.append(join_panels(pair, [f"stage {stage + 1}, 1/{4 * 2**level}: targets (kernel {kernel_size})"]))
    headings = [f"{recipe.name}: targets and heat maps, from coarse to fine", "left orange, right blue"]
    return arrange_tiles(tiles, headings, columns=len(outputs[0]))


if __name__ == "__main__":
    main()
