"""A sheet of training scenes with the boxes that the network is to learn."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.contact_sheet import arrange_tiles, join_panels
from mspn.data.dataset import Draw
from mspn.data.scene_dataset import SceneDataset, SceneSample
from mspn.detection_loss import DOUBTFUL, PERSON
from mspn.jpeg import write_jpeg
from mspn.train.sheet import SHEET_FILE

_COLUMNS = 6
_COLOURS = {PERSON: (60, 200, 60), DOUBTFUL: (220, 90, 60)}
_LEGEND = ["training scenes", "green: people   red: neither people nor background"]


def write_scene_sheet(run: Path, dataset: SceneDataset, draws: Sequence[Draw]) -> Path:
    """Write `draw_scene_sheet` into the run folder, under the name of every task's sheet."""
    path = run / SHEET_FILE
    write_jpeg(path, draw_scene_sheet(dataset, draws))
    return path


def draw_scene_sheet(dataset: SceneDataset, draws: Sequence[Draw]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw scenes as the network gets them, with their boxes; below stands the first picture's name."""
    tiles = []
    for draw in draws:
        sample = dataset[draw]
        name = dataset.scenes.pictures[draw.item].name
        tiles.append(join_panels([_draw_scene(sample)], (name, _count(sample))))
    return arrange_tiles(tiles, _LEGEND, columns=_COLUMNS)


def _draw_scene(sample: SceneSample) -> UInt8[np.ndarray, "side side 3"]:
    canvas = sample.pixels.numpy().copy()
    for corners, kind in zip(sample.labels.boxes.round().int().tolist(), sample.labels.kinds.tolist(), strict=True):
        if kind in _COLOURS:
            left, top, right, bottom = corners
            cv2.rectangle(canvas, (left, top), (right, bottom), _COLOURS[kind], 2 if kind == PERSON else 1)
    return canvas


def _count(sample: SceneSample) -> str:
    people, doubtful = (int((sample.labels.kinds == kind).sum()) for kind in (PERSON, DOUBTFUL))
    return f"{people} people, {doubtful} doubtful" + ("" if sample.is_readable else ", a picture cannot be read")
