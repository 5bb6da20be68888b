"""Training crops: people of all sets, cut out of their images with augmentation."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from mspn.config.recipe import Recipe
from mspn.datasets.augmentation import augment_frame, change_appearance
from mspn.datasets.packed import open_pack
from mspn.datasets.people import People, read_people_set
from mspn.datasets.samples import KeypointLabels, Sample, SampleRequest
from mspn.errors import AnnotationError, ImageError, MissingFileError
from mspn.io.image_headers import read_size
from mspn.io.images import ReducedImage, allowed_reduction
from mspn.structures.boxes import Box
from mspn.structures.crop import CropFrame, cut_crop, transform_points
from mspn.structures.shapes import UInt8


def read_crops(read: Callable[[int], ReducedImage], frames: Sequence[CropFrame]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Crop regions of an image, decoded at a reduced resolution where the crop allows it.

    A crop is never enlarged from a reduced image, and has less aliasing than one of the full image. It does not depend
    on the other frames; those with the same reduction share one decoding.

    Args:
        read: reads the image at a reduction, or a smaller one, as `read_reduced_image`; its errors pass through.
        frames: where the crops lie.
    """
    images: dict[int, ReducedImage] = {}
    crops = []
    for frame in frames:
        reduction = allowed_reduction(frame.width_image / frame.size.width)
        if reduction not in images:
            images[reduction] = read(reduction)
        image = images[reduction]
        crops.append(cut_crop(image.pixels, frame, image.reduction))
    return crops


class CropDataset(Dataset[Sample]):
    """People of all sets of a recipe, cut out with augmentation; indexed by `SampleRequest`."""

    def __init__(self, people: People, recipe: Recipe) -> None:
        self.people = people
        self.recipe = recipe

    def __getitem__(self, request: SampleRequest) -> Sample:
        return self.__getitems__([request])[0]

    def __getitems__(self, requests: Sequence[SampleRequest]) -> list[Sample]:
        """The samples of a batch; torch calls this for the whole batch. The people of an image share its decoding."""
        # The frame is drawn before the appearance, so that settings of the appearance do not change it.
        rngs = [np.random.default_rng((self.recipe.train.seed, request.position)) for request in requests]
        frames = [self._draw_frame(request.sample_index, rng) for request, rng in zip(requests, rngs, strict=True)]
        by_image: dict[int, list[int]] = {}
        for number, request in enumerate(requests):
            by_image.setdefault(int(self.people.image_index[request.sample_index]), []).append(number)
        samples: dict[int, Sample] = {}
        for image, numbers in by_image.items():
            crops = self._cut(image, [frames[number] for number in numbers])
            for number, crop in zip(numbers, crops, strict=True):
                changed = None if crop is None else change_appearance(crop, self.recipe.augmentation, rngs[number])
                samples[number] = self._make_sample(requests[number].sample_index, frames[number], changed)
        return [samples[number] for number in range(len(requests))]

    def _draw_frame(self, person: int, rng: np.random.Generator) -> CropFrame:
        recipe, people = self.recipe, self.people
        box = Box(*people.boxes[person].tolist())
        keypoints_image = people.keypoints_image[person]
        return augment_frame(
            box, keypoints_image, recipe.model.input_size, recipe.augmentation, recipe.keypoint_table, rng
        )

    def _cut(self, image: int, frames: Sequence[CropFrame]) -> Sequence[UInt8[np.ndarray, "h w 3"] | None]:
        """Crops of an image; None where it cannot be read."""
        try:
            return read_crops(partial(self.people.images.read, image), frames)
        except (ImageError, OSError):
            return [None] * len(frames)

    def _make_sample(self, person: int, frame: CropFrame, crop: UInt8[np.ndarray, "h w 3"] | None) -> Sample:
        is_readable = crop is not None
        skeleton, size = self.recipe.keypoint_table, frame.size
        order = skeleton.mirror_order if frame.mirrored else list(range(len(skeleton.keypoints)))
        keypoints_image = self.people.keypoints_image[person, order]
        keypoints_crop = transform_points(keypoints_image[:, :2], frame.image_to_crop)
        inside = ((keypoints_crop >= 0) & (keypoints_crop <= (size.width - 1, size.height - 1))).all(-1)
        labels = KeypointLabels(
            keypoints_crop=torch.from_numpy(keypoints_crop.astype(np.float32)),
            visibility=torch.from_numpy((keypoints_image[:, 2] * inside).astype(np.int64)),
            counted=torch.from_numpy(self.people.counted[person, order] & is_readable),
        )
        pixels = np.zeros((*size, 3), np.uint8) if crop is None else crop
        return Sample(torch.from_numpy(pixels), labels, torch.tensor(person), torch.tensor(is_readable))


def read_training_sets(recipe: Recipe) -> list[People]:
    """Read all sets of a recipe.

    Raises:
        AnnotationError: for a file that is missing or unusable, or packed for less augmentation than the recipe's.
        FileNotFoundError: for a missing folder of images.
    """
    root = Path(recipe.data.root)
    for config in recipe.data.train:
        is_photos = not config.is_packed and (root / config.annotations).exists()
        if is_photos and not (images := config.image_folder(root)).is_dir():
            raise MissingFileError(f"no folder of images at {images}; set data.train or data.root")
    sets = []
    for config in recipe.data.train:
        people = read_people_set(config, root, recipe.keypoint_table)
        if recipe.data.boxes == "image":
            people = _with_whole_images(people, config.name)
        if config.is_packed:
            with open_pack(root / config.annotations) as pack:
                pack.check_recipe(recipe, people.boxes, people.keypoints_image)
        sets.append(people)
    return sets


def _with_whole_images(people: People, source: str) -> People:
    """The people in boxes of their whole images, as large as the files are; a file that cannot be read keeps its own.

    Raises:
        AnnotationError: if two share an image, or the images are packed; `source` is the name of the labels.
    """
    if people.images.spans.any():
        raise AnnotationError(f"{source} holds packed crops, not whole images; leave out data.boxes=image")
    images, counts = np.unique(people.image_index, return_counts=True)
    if (counts > 1).any():
        name = people.images[int(images[counts.argmax()])].name
        raise AnnotationError(
            f"{source}: data.boxes=image is for one an image, but {name} has {counts.max()}; leave it out, and give"
            " boxes when you predict"
        )
    boxes = people.boxes.copy()
    for row, image in enumerate(people.image_index.tolist()):
        with suppress(ImageError):  # reported, and counted, when it is to be decoded
            boxes[row] = Box.of_image(read_size(people.images[image]))
    return replace(people, boxes=boxes)
