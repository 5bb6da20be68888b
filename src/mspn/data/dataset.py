"""Training crops: which person is drawn when, and what is cut out of the picture."""

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from mspn.config import Recipe
from mspn.crop import read_crops
from mspn.data.appearance import change_appearance
from mspn.data.augment import augment_frame
from mspn.data.people import People
from mspn.data.people_sets import read_people_set
from mspn.geometry import CropFrame, transform_points
from mspn.images import PictureError
from mspn.loss import KeypointLabels
from mspn.processes import ALONE, Processes
from mspn.records import Box


class Draw(NamedTuple):
    """The turn in training of a person, or of a picture."""

    position: int
    """How many were drawn before, over all epochs; seeds the augmentation."""
    item: int
    """Who, by the position among all."""


class Sample(NamedTuple):
    """A training crop, or a batch of them with a leading B."""

    pixels: UInt8[Tensor, "*B H W 3"]
    """RGB."""
    labels: KeypointLabels
    drawn: Int[Tensor, " *B"]
    """The person's position among all."""
    is_readable: Bool[Tensor, " *B"]
    """False where the picture could not be read: the crop is black, and no keypoint counts."""


class CropDataset(Dataset[Sample]):
    """People of all sets of a recipe, cut out with augmentation; indexed by `Draw`."""

    def __init__(self, people: People, recipe: Recipe) -> None:
        self.people = people
        self.recipe = recipe

    def __getitem__(self, draw: Draw) -> Sample:
        return self.__getitems__([draw])[0]

    def __getitems__(self, draws: Sequence[Draw]) -> list[Sample]:
        """The samples of a batch; torch asks for them together. The people of a picture share its decoding."""
        # A draw's frame comes before its pixels: it is the same, whichever changes of them are asked for.
        chances = [np.random.default_rng((self.recipe.train.seed, draw.position)) for draw in draws]
        frames = [self._draw_frame(draw.item, rng) for draw, rng in zip(draws, chances, strict=True)]
        by_picture: dict[int, list[int]] = {}
        for number, draw in enumerate(draws):
            by_picture.setdefault(int(self.people.picture_index[draw.item]), []).append(number)
        samples: dict[int, Sample] = {}
        for picture, numbers in by_picture.items():
            crops = self._cut(picture, [frames[number] for number in numbers])
            for number, crop in zip(numbers, crops, strict=True):
                changed = None if crop is None else change_appearance(crop, self.recipe.augmentation, chances[number])
                samples[number] = self._make_sample(draws[number].item, frames[number], changed)
        return [samples[number] for number in range(len(draws))]

    def _draw_frame(self, person: int, rng: np.random.Generator) -> CropFrame:
        recipe, people = self.recipe, self.people
        box = Box(*people.boxes[person].tolist())
        keypoints_image = people.keypoints_image[person]
        return augment_frame(
            box, keypoints_image, recipe.model.input_size, recipe.augmentation, recipe.keypoint_table, rng
        )

    def _cut(self, picture: int, frames: Sequence[CropFrame]) -> Sequence[UInt8[np.ndarray, "h w 3"] | None]:
        """Crops of a picture; None where it cannot be read."""
        try:
            return read_crops(self.people.pictures[picture], frames)
        except (PictureError, OSError):
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


class SeededBatches(Sampler[list[Draw]]):
    """Endless batches; each epoch draws everyone once (or as often as their set's weight says) in a new order.

    The same seed gives the same batches, whatever the number of workers and wherever training resumes. Several
    processes share each batch; all of them together see the people whom one process alone would see.
    """

    def __init__(
        self,
        set_sizes: Sequence[int],
        weights: Sequence[float],
        batch_size: int,
        seed: int,
        start: int,
        *,
        processes: Processes = ALONE,
        parts: int = 1,
        picture_index: Int[np.ndarray, " N"] | None = None,
    ) -> None:
        """Prepare to draw.

        Args:
            set_sizes: people of each set.
            weights: how often each set's people are drawn per epoch.
            batch_size: people a batch, over all processes.
            seed: of the order.
            start: batches to skip: the iteration at which training resumes.
            processes: who shares each batch.
            parts: how many small batches this process's share comes in.
            picture_index: which picture shows each person, to draw the people of a picture one after another; None
                draws everyone on their own.

        Raises:
            ValueError: if a batch cannot be split evenly.
        """
        if batch_size % (processes.count * parts):
            raise ValueError(
                f"a batch of {batch_size} people cannot be shared evenly by {processes.count} processes, each in"
                f" {parts} parts; set train.batch_size to a multiple of {processes.count * parts}"
            )
        self.set_sizes = set_sizes
        self.weights = weights
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.processes = processes
        self.parts = parts
        self.picture_index = picture_index
        drawn = sum(_draws(size, weight) for size, weight in zip(set_sizes, weights, strict=True))
        self.batches_per_epoch = max(1, drawn // batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        iteration = self.start
        while True:
            epoch, batch = divmod(iteration, self.batches_per_epoch)
            order = self._epoch_order(epoch)
            for index in range(batch, self.batches_per_epoch):
                people = order[index * self.batch_size : (index + 1) * self.batch_size]
                first = iteration * self.batch_size
                draws = [Draw(first + offset, int(person)) for offset, person in enumerate(people)]
                yield from self._own_parts(draws)
                iteration += 1

    def _own_parts(self, draws: list[Draw]) -> Iterator[list[Draw]]:
        size = self.batch_size // (self.processes.count * self.parts)
        first = self.processes.rank * self.parts
        for part in range(first, first + self.parts):
            yield draws[part * size : (part + 1) * size]

    def _epoch_order(self, epoch: int) -> Int[np.ndarray, " draws"]:
        rng = np.random.default_rng((self.seed, epoch, len(self.set_sizes)))
        drawn = []
        first = 0
        for size, weight in zip(self.set_sizes, self.weights, strict=True):
            everyone = np.arange(first, first + size)
            rest = _draws(size, weight) - int(weight) * size
            drawn += [everyone] * int(weight) + [rng.permutation(everyone)[:rest]]
            first += size
        order = rng.permutation(np.resize(np.concatenate(drawn), max(self.batch_size, sum(map(len, drawn)))))
        if self.picture_index is None:
            return order
        turns = rng.permutation(self.picture_index.max() + 1)
        return order[np.argsort(turns[self.picture_index[order]], kind="stable")]


def _draws(size: int, weight: float) -> int:
    """How many people of a set are drawn per epoch."""
    return max(1, round(weight * size))


def read_training_sets(recipe: Recipe) -> list[People]:
    """Read all sets of a recipe.

    Raises:
        AnnotationError: for a file that is missing or of no use.
        FileNotFoundError: for a missing folder of pictures.
    """
    root = Path(recipe.data.root)
    for config in recipe.data.train:
        if (root / config.annotations).exists() and not (root / config.images).is_dir():
            raise FileNotFoundError(f"no folder of pictures at {root / config.images}; set data.train or data.root")
    return [read_people_set(config, root, recipe.keypoint_table) for config in recipe.data.train]


def prepare_worker(_worker: int) -> None:
    """Make a loader's worker process a good companion of the main process.

    It has one thread: workers that share cores with the network must not start thread pools of their own. Ctrl-C and
    schedulers signal whole groups of processes, or every process of a job (Slurm, systemd): the main one decides what
    it means, workers are none of its group and ignore it. When the main process ends or is killed, the worker ends too.
    """
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # What a forked worker inherited lives as long as it does, and collecting garbage would copy it all.
    gc.freeze()
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_main_process, daemon=True).start()


def _end_with_main_process() -> None:
    main = multiprocessing.parent_process()
    assert main is not None
    main.join()
    # A plain exit would wait for somebody to take what is in the queue.
    os._exit(1)
