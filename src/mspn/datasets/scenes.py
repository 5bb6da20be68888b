"""Training scenes for person detectors: one image or a mosaic of four, with people pasted over them.

They are made of images with boxes of people, labeled and proposed, as flat arrays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mspn.config.data import SceneConfig, SceneDataConfig, SceneSetConfig
from mspn.datasets.augmentation import change_colors
from mspn.datasets.people import ImagePaths
from mspn.datasets.samples import IGNORE, PADDING, PERSON, SampleRequest, SceneLabels
from mspn.datasets.workers import SharedArrays
from mspn.errors import AnnotationError, ImageError
from mspn.io.image_headers import read_size
from mspn.io.images import allowed_reduction, read_reduced_image
from mspn.labels.formats import read_labels
from mspn.labels.label_set import LabeledPerson
from mspn.labels.reading import read_json
from mspn.structures.boxes import iou, to_xyxy
from mspn.structures.shapes import Bool, Float, Int, UInt8

_MIN_IOU_SAME = 0.5
"""From this IoU on, a proposal is of the same person as a labeled box."""
_MIN_IOU_UNCLEAR = 0.3
"""From this IoU on, a proposal may be of the same person, or of another one beside."""


@dataclass(frozen=True, eq=False)
class Scenes(SharedArrays):
    """P images with N boxes."""

    images: ImagePaths
    first_box: Int[np.ndarray, " P+1"]
    """Index of each image's first box; the last number is N."""
    boxes: Float[np.ndarray, "N 4"]
    """Left, top, right, bottom in image pixels."""
    kinds: Int[np.ndarray, " N"]
    """PERSON or IGNORE."""

    def __len__(self) -> int:
        return len(self.images)

    def boxes_of(self, image: int) -> tuple[Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
        """Boxes and kinds of an image."""
        rows = slice(self.first_box[image], self.first_box[image + 1])
        return self.boxes[rows], self.kinds[rows]


def read_scenes(config: SceneSetConfig, data: SceneDataConfig) -> Scenes:
    """Read a set.

    A labeled box is a person or ignored, as configured; crowds are always ignored. A proposal of the same person as a
    labeled person is dropped; one that overlaps a labeled person less is ignored. Any other is a person if its score is
    high enough, and then replaces an ignored box of the same person; else it is ignored.

    Raises:
        AnnotationError: for a file that is missing or unusable.
    """
    root = Path(data.root)
    labels = read_labels(root / config.annotations)
    proposals = _read_proposals(root / config.proposals) if config.proposals is not None else {}
    people: dict[int, list[LabeledPerson]] = {image.id: [] for image in labels.images}
    for person in labels.people:
        people[person.image_id].append(person)
    by_image = [
        _merge_proposals(people[image.id], proposals.get(image.file_name, []), config, data.min_person_score)
        for image in labels.images
    ]
    boxes, kinds = zip(*by_image, strict=True)
    return Scenes(
        images=ImagePaths.of(config.image_folder(root) / image.file_name for image in labels.images),
        first_box=np.cumsum([0, *map(len, boxes)]),
        boxes=np.concatenate(boxes).astype(np.float32),
        kinds=np.concatenate(kinds),
    )


def merge_scenes(sets: Sequence[Scenes]) -> Scenes:
    """Concatenate several sets; a single one is not copied."""
    if len(sets) == 1:
        return sets[0]
    offsets = np.cumsum([0] + [len(scenes.boxes) for scenes in sets])
    starts = [scenes.first_box[:-1] + offset for scenes, offset in zip(sets, offsets[:-1], strict=True)]
    return Scenes(
        images=ImagePaths.of(image for scenes in sets for image in scenes.images),
        first_box=np.concatenate([*starts, offsets[-1:]]),
        boxes=np.concatenate([scenes.boxes for scenes in sets]),
        kinds=np.concatenate([scenes.kinds for scenes in sets]),
    )


def _merge_proposals(
    people: Sequence[LabeledPerson],
    proposals: Sequence[Sequence[float]],
    config: SceneSetConfig,
    min_person_score: float,
) -> tuple[Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
    """Boxes and kinds of an image, see `read_scenes`."""
    with_box = [person for person in people if person.box is not None]
    labeled = to_xyxy([person.box for person in with_box if person.box is not None])
    is_exact = np.array([config.labeled == "people" and not person.is_crowd for person in with_box], bool)
    proposed = to_xyxy([row[:4] for row in proposals])
    is_likely = np.array([row[4] >= min_person_score for row in proposals], bool)
    ious = iou(proposed[:, None], labeled)
    repeats_exact = (ious[:, is_exact] >= _MIN_IOU_SAME).any(1)
    is_beside_exact = (ious[:, is_exact] >= _MIN_IOU_UNCLEAR).any(1)
    is_person = is_likely & ~is_beside_exact
    is_replaced = ~is_exact & (ious[is_person] >= _MIN_IOU_SAME).any(0)
    boxes = np.concatenate([labeled[~is_replaced], proposed[~repeats_exact]])
    is_certain = np.concatenate([is_exact[~is_replaced], is_person[~repeats_exact]])
    return boxes, np.where(is_certain, PERSON, IGNORE)


def _read_proposals(path: Path) -> dict[str, list[list[float]]]:
    content = read_json(path)
    is_table = isinstance(content, dict) and all(isinstance(rows, list) for rows in content.values())
    if not is_table or any(len(row) != 5 for rows in content.values() for row in rows):
        raise AnnotationError(
            f'{path} is no table of proposals; write {{"file name": [[left, top, width, height, score], ...]}}'
        )
    table: dict[str, list[list[float]]] = content
    return table


_GRAY = 114
"""Color of the background, as in letterboxing."""
_MAX_ENLARGEMENT = 1.5
"""Of pasted people; more would only add blur."""
_MAX_COVERED_SHARE = 0.6
"""Boxes of which a pasted person covers more become IGNORE."""


class SceneSample(NamedTuple):
    """A scene, or a batch of them with a leading B."""

    pixels: UInt8[Tensor, "*B side side 3"]
    """RGB."""
    labels: SceneLabels
    sample_index: Int[Tensor, " *B"]
    """Index of the scene's first image among all sets."""
    is_readable: Bool[Tensor, " *B"]
    """False where an image could not be read; its place is gray."""


class _Layer(NamedTuple):
    """An image placed in the scene, or a person cut out of one."""

    pixels: UInt8[np.ndarray, "h w 3"]
    left: int
    top: int
    boxes: Float[np.ndarray, "n 4"]
    """In scene pixels."""
    kinds: Int[np.ndarray, " n"]


class SceneDataset(Dataset[SceneSample]):
    """Scenes around every image, indexed by `SampleRequest`, whose sample is an image here."""

    def __init__(self, scenes: Scenes, config: SceneConfig, seed: int) -> None:
        self.scenes = scenes
        self.config = config
        self.seed = seed

    def __getitem__(self, request: SampleRequest) -> SceneSample:
        rng = np.random.default_rng((self.seed, request.position))
        scene = _Canvas(self.config.side)
        if rng.random() < self.config.mosaic_probability:
            further_images = rng.integers(len(self.scenes), size=3)
            layers = self._place_mosaic([request.sample_index, *further_images.tolist()], rng)
        else:
            layers = [self._place_single(request.sample_index, rng)]
        readable = [layer for layer in layers if layer is not None]
        for layer in readable:
            scene.paste(layer)
        if readable and rng.random() < self.config.paste_probability:
            self._paste_people(scene, readable, rng)
        pixels = change_colors(scene.pixels, self.config.max_brightness, self.config.gray_probability, rng)
        boxes, kinds = scene.labels(self.config)
        return SceneSample(
            torch.from_numpy(pixels),
            SceneLabels(torch.from_numpy(boxes), torch.from_numpy(kinds), torch.zeros(0), torch.zeros(0, 4)),
            torch.tensor(request.sample_index),
            torch.tensor(len(readable) == len(layers)),
        )

    def _place_single(self, image: int, rng: np.random.Generator) -> _Layer | None:
        """Place an image at random: entirely inside the scene if it is smaller, else covering the scene."""
        side = self.config.side
        layer = self._read(image, side * rng.uniform(*self.config.scale), rng)
        if layer is None:
            return None
        height, width = layer.pixels.shape[:2]
        left, top = (round(rng.uniform(min(0, side - length), max(0, side - length))) for length in (width, height))
        return _moved(layer, left, top)

    def _place_mosaic(self, images: Sequence[int], rng: np.random.Generator) -> list[_Layer | None]:
        """Place four images around a point near the middle, each cropped to its quadrant."""
        side = self.config.side
        middle_x, middle_y = (round(side * rng.uniform(0.3, 0.7)) for _ in range(2))
        layers: list[_Layer | None] = []
        for quadrant, image in enumerate(images):
            layer = self._read(image, side * rng.uniform(*self.config.mosaic_scale), rng)
            if layer is not None:
                height, width = layer.pixels.shape[:2]
                is_left, is_upper = quadrant % 2 == 0, quadrant < 2
                left, top = middle_x - width if is_left else middle_x, middle_y - height if is_upper else middle_y
                region = (
                    *(0 if is_left else middle_x, 0 if is_upper else middle_y),
                    *(middle_x if is_left else side, middle_y if is_upper else side),
                )
                layer = _crop_layer(_moved(layer, left, top), region)
            layers.append(layer)
        return layers

    def _read(self, image: int, longer_side: float, rng: np.random.Generator) -> _Layer | None:
        """An image resized and perhaps mirrored, with its boxes; None where it cannot be read."""
        path = self.scenes.images[image]
        try:
            size = read_size(path)
            scale = longer_side / max(size)
            read = read_reduced_image(path, allowed_reduction(1 / scale))
        except (ImageError, OSError):
            return None
        width, height = max(1, round(size.width * scale)), max(1, round(size.height * scale))
        shrinks = width < read.pixels.shape[1]
        pixels = cv2.resize(read.pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        boxes, kinds = self.scenes.boxes_of(image)
        boxes = boxes * (width / size.width, height / size.height, width / size.width, height / size.height)
        if rng.random() < self.config.mirror_probability:
            pixels = np.ascontiguousarray(pixels[:, ::-1])
            boxes = np.column_stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]])
        return _Layer(pixels, 0, 0, boxes, kinds)

    def _paste_people(self, scene: "_Canvas", layers: Sequence[_Layer], rng: np.random.Generator) -> None:
        """Cut people out of the scene's images and paste them at random, masked by soft ellipses."""
        people = [(layer, box) for layer in layers for box in layer.boxes[layer.kinds == PERSON]]
        if not people:
            return
        for _ in range(rng.integers(1, self.config.max_pasted + 1)):
            layer, box = people[rng.integers(len(people))]
            left, top = np.maximum(np.floor(box[:2] - (layer.left, layer.top)), 0).astype(int)
            right, bottom = np.ceil(box[2:] - (layer.left, layer.top)).astype(int)
            cut = layer.pixels[top:bottom, left:right]
            if min(cut.shape[:2]) < 2 * self.config.min_person_side:
                continue
            factor = min(_MAX_ENLARGEMENT, self.config.side * rng.uniform(*self.config.paste_height) / cut.shape[0])
            height, width = (max(1, round(length * factor)) for length in cut.shape[:2])
            if width > self.config.side:
                continue
            cut = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
            if rng.random() < self.config.mirror_probability:
                cut = cut[:, ::-1]
            x, y = rng.integers(self.config.side - width + 1), rng.integers(self.config.side - height + 1)
            pasted_box = np.array([[x, y, x + width, y + height]], np.float64)
            scene.paste(_Layer(np.ascontiguousarray(cut), int(x), int(y), pasted_box, np.array([PERSON])), is_soft=True)


class _Canvas:
    """Pixels of a scene and its boxes."""

    def __init__(self, side: int) -> None:
        self.pixels = np.full((side, side, 3), _GRAY, np.uint8)
        self._boxes = np.zeros((0, 4))
        self._kinds = np.zeros(0, np.int64)
        self._areas = np.zeros(0)

    def paste(self, layer: _Layer, *, is_soft: bool = False) -> None:
        """Paste a layer over the scene; a soft one fades out towards its edges."""
        side = len(self.pixels)
        height, width = layer.pixels.shape[:2]
        left, top, right, bottom = (
            *(max(0, layer.left), max(0, layer.top)),
            *(min(side, layer.left + width), min(side, layer.top + height)),
        )
        if right <= left or bottom <= top:
            return
        above = layer.pixels[top - layer.top : bottom - layer.top, left - layer.left : right - layer.left]
        below = self.pixels[top:bottom, left:right]
        if is_soft:
            opacity = _soft_ellipse(*above.shape[:2])[..., None]
            above = np.rint(above * opacity + below * (1 - opacity)).astype(np.uint8)
            self._kinds = np.where(self._covered_by(layer.boxes[0]) > _MAX_COVERED_SHARE, IGNORE, self._kinds)
        self.pixels[top:bottom, left:right] = above
        clipped = np.clip(layer.boxes, (left, top, left, top), (right, bottom, right, bottom))
        self._boxes = np.concatenate([self._boxes, clipped])
        self._kinds = np.concatenate([self._kinds, layer.kinds])
        self._areas = np.concatenate([self._areas, _areas(layer.boxes)])

    def labels(self, config: SceneConfig) -> tuple[Float[np.ndarray, "M 4"], Int[np.ndarray, " M"]]:
        """Boxes and kinds, padded to MAX_BOXES rows with PADDING."""
        share = _areas(self._boxes) / np.maximum(self._areas, 1e-6)
        is_small = self._boxes[:, 3] - self._boxes[:, 1] < config.min_person_side
        kinds = np.where(is_small | (share < config.min_visible), IGNORE, self._kinds)
        is_visible = share > 0
        # People first, so that they are kept if there are more boxes than rows.
        order = np.argsort(kinds[is_visible] != PERSON, kind="stable")[:MAX_BOXES]
        boxes_out, kinds_out = np.zeros((MAX_BOXES, 4), np.float32), np.full(MAX_BOXES, PADDING)
        boxes_out[: len(order)] = self._boxes[is_visible][order]
        kinds_out[: len(order)] = kinds[is_visible][order]
        return boxes_out, kinds_out

    def _covered_by(self, box: Float[np.ndarray, " 4"]) -> Float[np.ndarray, " n"]:
        """Share of each box of the scene that another box covers."""
        sides = np.minimum(self._boxes[:, 2:], box[2:]) - np.maximum(self._boxes[:, :2], box[:2])
        shares: np.ndarray = np.maximum(sides, 0).prod(-1) / np.maximum(_areas(self._boxes), 1e-6)
        return shares


MAX_BOXES = 100
"""In a scene."""


def _areas(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, " n"]:
    areas: np.ndarray = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(-1)
    return areas


def _moved(layer: _Layer, left: int, top: int) -> _Layer:
    return layer._replace(left=left, top=top, boxes=layer.boxes + np.array([left, top, left, top]))


def _crop_layer(layer: _Layer, region: tuple[int, int, int, int]) -> _Layer:
    """Crop a layer to a region (left, top, right, bottom) of the scene; boxes keep their full extent."""
    left, top = max(region[0], layer.left), max(region[1], layer.top)
    pixels = layer.pixels[top - layer.top : region[3] - layer.top, left - layer.left : region[2] - layer.left]
    return layer._replace(pixels=pixels, left=left, top=top)


def _soft_ellipse(height: int, width: int) -> Float[np.ndarray, "height width"]:
    """1 in the middle, 0 in the corners; the ellipse touches the sides."""
    y, x = (np.linspace(-1, 1, length)[:, None] for length in (height, width))
    radius = (np.abs(y) ** 3 + np.abs(x.T) ** 3) ** (1 / 3)
    opacity: np.ndarray = np.clip((1.06 - radius) / 0.1, 0, 1)
    return opacity
