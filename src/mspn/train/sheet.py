"""A sheet of training crops with their targets as the network gets them, so that wrong labels show at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from mspn.config import Recipe, SupervisionConfig
from mspn.contact_sheet import FAINT_INK, arrange_tiles, enlarge_crop, join_panels, overlay_heatmaps
from mspn.data.dataset import CropDataset, Draw, Sample
from mspn.draw import draw_labels
from mspn.geometry import HEATMAP_STRIDE, crop_to_heatmap
from mspn.heatmaps.targets import draw_targets
from mspn.jpeg import write_jpeg
from mspn.loss import KeypointLabels, kernel_size_at
from mspn.model.build import build_network
from mspn.model.pose_network import CROP_MULTIPLE
from mspn.model_config import NetworkConfig
from mspn.records import Size
from mspn.skeleton import Skeleton

SHEET_FILE = "crops.jpg"
SHEET_CROPS = 24
"""As many crops as a sheet can show at a glance."""
_COLUMNS = 4
_THICKNESS = 2
_LEGEND = "left orange, right blue   disc: visible   ring: occluded   cross: labelled, but not counted"


class _Targets(NamedTuple):
    """The maps of one stage and level."""

    name: str
    heatmaps: Float[Tensor, "B K h w"]
    """Peak 1; zero for keypoints that the level does not learn to find."""


def write_sheet(run: Path, dataset: CropDataset, draws: Sequence[Draw], set_sizes: Sequence[int]) -> Path:
    """Write `draw_sheet` into the run folder as crops.jpg."""
    path = run / SHEET_FILE
    write_jpeg(path, draw_sheet(dataset, draws, set_sizes))
    return path


def draw_sheet(dataset: CropDataset, draws: Sequence[Draw], set_sizes: Sequence[int]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw training crops in rows: the augmented crop with its labels, then its targets laid over it.

    The targets are those of the last stage's finest level, and of the first stage's coarsest where the network has
    coarse levels. Below stand set and annotation id, and how many keypoints are labelled or do not count.

    Args:
        dataset: of all people.
        draws: whom to show, with which augmentation; the first ones of training, for example.
        set_sizes: people of each set of the recipe, in the order in which the data set has them.
    """
    recipe = dataset.recipe
    samples = [dataset[draw] for draw in draws]
    labels = KeypointLabels(*(torch.stack(rows) for rows in zip(*(one.labels for one in samples), strict=True)))
    targets = _draw_targets(labels, recipe)
    set_names = np.repeat([one.annotations.removesuffix(".json") for one in recipe.data.train], set_sizes)
    tiles = []
    for index, sample in enumerate(samples):
        person = int(sample.drawn)
        picture = dataset.people.pictures[dataset.people.picture_index[person]].name
        captions = (f"{set_names[person]}  #{dataset.people.annotation_ids[person]}", f"{picture}: {_count(sample)}")
        panel, _ = enlarge_crop(sample.pixels.numpy())
        overlays = [overlay_heatmaps(panel, one.heatmaps[index], recipe.keypoint_table) for one in targets]
        tiles.append(join_panels([_draw_crop(sample, recipe.keypoint_table), *overlays], captions))
    columns = ", ".join(["crop with labels", *(one.name for one in targets)])
    return arrange_tiles(tiles, [f"{recipe.name}: {columns}", _LEGEND], columns=_COLUMNS)


def _draw_targets(labels: KeypointLabels, recipe: Recipe) -> list[_Targets]:
    """The finest targets, and the coarsest if there are coarser ones."""
    config = recipe.supervision
    num_levels = _levels_by_stage(recipe.model)
    last, coarsest = len(num_levels) - 1, num_levels[0] - 1
    chosen = [("finest", last, 0)] + ([("coarsest", 0, coarsest)] if coarsest else [])
    height, width = recipe.model.input_size
    targets = []
    for word, stage, level in chosen:
        kernel_size = kernel_size_at(config, stage=stage, num_stages=len(num_levels), level=level)
        heatmaps = draw_targets(
            crop_to_heatmap(labels.keypoints_crop),
            _is_learned(labels, config, level),
            size=Size(height // HEATMAP_STRIDE, width // HEATMAP_STRIDE),
            kernel_size=kernel_size,
        )
        targets.append(_Targets(f"{word} targets of stage {stage + 1} (kernel {kernel_size})", heatmaps))
    return targets


def _levels_by_stage(config: NetworkConfig) -> list[int]:
    """How many levels each stage has: asked of a network without weights, which costs little."""
    with torch.device("meta"), torch.no_grad():
        outputs = build_network(config).eval()(torch.empty(1, 3, 2 * CROP_MULTIPLE, 2 * CROP_MULTIPLE))
    return [len(levels) for levels in outputs]


def _is_learned(labels: KeypointLabels, config: SupervisionConfig, level: int) -> Bool[Tensor, "B K"]:
    """Keypoints that have a bump: see `mspn.loss.supervise`."""
    is_mined = level == 0 and config.num_hard_keypoints is not None
    lowest = 1 if is_mined or config.coarse_target == "labelled" else 2
    return labels.counted & (labels.visibility >= lowest)


def _draw_crop(sample: Sample, skeleton: Skeleton) -> UInt8[np.ndarray, "h w 3"]:
    """The enlarged crop with its labels; a cross where one does not count."""
    panel, scale = enlarge_crop(sample.pixels.numpy())
    points = sample.labels.keypoints_crop.numpy() * scale
    visibility = sample.labels.visibility.numpy()
    counted = sample.labels.counted.numpy()
    labels = np.column_stack([points, visibility * counted])
    canvas = draw_labels(panel, labels, skeleton, thickness=_THICKNESS)
    for x, y in np.rint(points[(visibility > 0) & ~counted]).astype(int).tolist():
        cv2.drawMarker(canvas, (x, y), FAINT_INK, cv2.MARKER_TILTED_CROSS, 4 * _THICKNESS, _THICKNESS)
    return canvas


def _count(sample: Sample) -> str:
    if not sample.is_readable:
        return "cannot be read"
    labelled = int((sample.labels.visibility > 0).sum())
    ignored = int((~sample.labels.counted).sum())
    return f"{labelled} labelled" + (f", {ignored} not counted" if ignored else "")
