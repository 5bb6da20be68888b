"""Contact sheets of training samples with their targets."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from mspn.config.recipe import Recipe
from mspn.config.train import SupervisionConfig
from mspn.datasets.crop_dataset import CropDataset
from mspn.datasets.samples import IGNORE, PERSON, KeypointLabels, Sample, SampleRequest
from mspn.datasets.scenes import SceneDataset, SceneSample
from mspn.heatmaps.targets import draw_targets
from mspn.io.images import write_jpeg
from mspn.structures.boxes import Size
from mspn.structures.crop import HEATMAP_STRIDE, crop_to_heatmap
from mspn.structures.shapes import Bool, Float, UInt8
from mspn.structures.skeleton import Skeleton
from mspn.training.losses import kernel_size_at
from mspn.visualize.contact_sheet import FAINT_TEXT_COLOR, arrange_tiles, enlarge_crop, join_panels, overlay_heatmaps
from mspn.visualize.draw import draw_labels

SHEET_FILE = "crops.jpg"
SHEET_CROPS = 24
_COLUMNS = 4
_THICKNESS = 2
_LEGEND = "left orange, right blue   disc: visible   ring: occluded   cross: labeled, but not counted"


class _Targets(NamedTuple):
    """The maps of one stage and level."""

    name: str
    heatmaps: Float[Tensor, "B K h w"]
    """Peak 1; zero for keypoints that are no targets at this level."""


def write_sheet(run: Path, dataset: CropDataset, requests: Sequence[SampleRequest], set_sizes: Sequence[int]) -> Path:
    """Write `draw_sheet` into the run folder as crops.jpg."""
    path = run / SHEET_FILE
    write_jpeg(path, draw_sheet(dataset, requests, set_sizes))
    return path


def draw_sheet(
    dataset: CropDataset, requests: Sequence[SampleRequest], set_sizes: Sequence[int]
) -> UInt8[np.ndarray, "H W 3"]:
    """Draw training crops in rows: the augmented crop with its labels, then its targets laid over it.

    The targets are those of the last stage's finest level, and of the first stage's coarsest where the network has
    coarse levels. The caption gives set, annotation id, and how many keypoints are labeled and how many not counted.

    Args:
        dataset: of all people.
        requests: the samples to show, with their augmentation; for example the first of training.
        set_sizes: number of people of each set of the recipe, in the order of the data set.
    """
    recipe = dataset.recipe
    samples = [dataset[request] for request in requests]
    labels = KeypointLabels(*(torch.stack(rows) for rows in zip(*(sample.labels for sample in samples), strict=True)))
    targets = _draw_targets(labels, recipe)
    set_names = np.repeat([config.name.removesuffix(".json") for config in recipe.data.train], set_sizes)
    tiles = []
    for index, sample in enumerate(samples):
        person = int(sample.sample_index)
        image = dataset.people.images[dataset.people.image_index[person]].name
        captions = (f"{set_names[person]}  #{dataset.people.annotation_ids[person]}", f"{image}: {_count(sample)}")
        panel, _ = enlarge_crop(sample.pixels.numpy())
        overlays = [overlay_heatmaps(panel, level.heatmaps[index], recipe.keypoint_table) for level in targets]
        tiles.append(join_panels([_draw_crop(sample, recipe.keypoint_table), *overlays], captions))
    columns = ", ".join(["crop with labels", *(level.name for level in targets)])
    return arrange_tiles(tiles, [f"{recipe.name}: {columns}", _LEGEND], columns=_COLUMNS)


def _draw_targets(labels: KeypointLabels, recipe: Recipe) -> list[_Targets]:
    """The finest targets, and the coarsest if there are coarser ones."""
    config = recipe.supervision
    num_levels = recipe.model.levels_by_stage
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


def _is_learned(labels: KeypointLabels, config: SupervisionConfig, level: int) -> Bool[Tensor, "B K"]:
    """Whether a keypoint has a Gaussian in the targets, see `mspn.training.losses.compute_losses`."""
    is_ohkm = level == 0 and config.num_hard_keypoints is not None
    lowest = 1 if is_ohkm or config.coarse_target == "labeled" else 2
    return labels.counted & (labels.visibility >= lowest)


def _draw_crop(sample: Sample, skeleton: Skeleton) -> UInt8[np.ndarray, "h w 3"]:
    """The enlarged crop with its labels; a cross on those that are not counted."""
    panel, scale = enlarge_crop(sample.pixels.numpy())
    points = sample.labels.keypoints_crop.numpy() * scale
    visibility = sample.labels.visibility.numpy()
    counted = sample.labels.counted.numpy()
    labels = np.column_stack([points, visibility * counted])
    canvas = draw_labels(panel, labels, skeleton, thickness=_THICKNESS)
    for x, y in np.rint(points[(visibility > 0) & ~counted]).astype(int).tolist():
        cv2.drawMarker(canvas, (x, y), FAINT_TEXT_COLOR, cv2.MARKER_TILTED_CROSS, 4 * _THICKNESS, _THICKNESS)
    return canvas


def _count(sample: Sample) -> str:
    if not sample.is_readable:
        return "cannot be read"
    labeled = int((sample.labels.visibility > 0).sum())
    ignored = int((~sample.labels.counted).sum())
    return f"{labeled} labeled" + (f", {ignored} not counted" if ignored else "")


_SCENE_COLUMNS = 6
_COLORS = {PERSON: (60, 200, 60), IGNORE: (220, 90, 60)}
_SCENE_LEGEND = ["training scenes", "green: people   red: ignored, neither person nor background"]


def write_scene_sheet(run: Path, dataset: SceneDataset, requests: Sequence[SampleRequest]) -> Path:
    """Write `draw_scene_sheet` into the run folder, as crops.jpg, like every task's sheet."""
    path = run / SHEET_FILE
    write_jpeg(path, draw_scene_sheet(dataset, requests))
    return path


def draw_scene_sheet(dataset: SceneDataset, requests: Sequence[SampleRequest]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw scenes as the network gets them, with their boxes; the caption names the first image."""
    tiles = []
    for request in requests:
        sample = dataset[request]
        name = dataset.scenes.images[request.sample_index].name
        tiles.append(join_panels([_draw_scene(sample)], (name, _count_scene(sample))))
    return arrange_tiles(tiles, _SCENE_LEGEND, columns=_SCENE_COLUMNS)


def _draw_scene(sample: SceneSample) -> UInt8[np.ndarray, "side side 3"]:
    canvas = sample.pixels.numpy().copy()
    for corners, kind in zip(sample.labels.boxes.round().int().tolist(), sample.labels.kinds.tolist(), strict=True):
        if kind in _COLORS:
            left, top, right, bottom = corners
            cv2.rectangle(canvas, (left, top), (right, bottom), _COLORS[kind], 2 if kind == PERSON else 1)
    return canvas


def _count_scene(sample: SceneSample) -> str:
    people, ignored = (int((sample.labels.kinds == kind).sum()) for kind in (PERSON, IGNORE))
    return f"{people} people, {ignored} ignored" + ("" if sample.is_readable else ", an image cannot be read")
