"""Training samples and batches: pixels, and labels of people or scenes; which samples a batch has, from a seed."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor
from torch.utils.data import Sampler

from mspn.distributed import ALONE, Processes
from mspn.errors import InvalidValueError
from mspn.structures.shapes import Bool, Float, Int, UInt8


class KeypointLabels(NamedTuple):
    """Labels of a batch of people."""

    keypoints_crop: Float[Tensor, "B K 2"]
    """(x, y) in crop pixels."""
    visibility: Int[Tensor, "B K"]
    """0 unlabeled or outside the crop, 1 occluded, 2 visible."""
    counted: Bool[Tensor, "B K"]
    """False where the data set does not tell whether the keypoint is visible; it takes part in no loss."""


PERSON, IGNORE, PADDING = 1, 2, 0
"""Kinds of labeled boxes. IGNORE is neither person nor background; PADDING fills rows up to M."""


class SceneLabels(NamedTuple):
    """Boxes of B images, M at most in each."""

    boxes: Float[Tensor, "B M 4"]
    """Left, top, right and bottom in pixels of the network's input."""
    kinds: Int[Tensor, "B M"]
    teacher_scores: Float[Tensor, "B N"]
    """What another detector says of the network's N cells (finest level first); N is 0 without one."""
    teacher_boxes: Float[Tensor, "B N 4"]


class SampleRequest(NamedTuple):
    """One entry of a training batch: a sample, and the position that seeds its augmentation."""

    position: int
    """Number of samples requested before it, over all epochs; seeds the augmentation."""
    sample_index: int
    """Index of the person, or of the image, among all sets."""


class Sample(NamedTuple):
    """A training crop, or a batch of them with a leading B."""

    pixels: UInt8[Tensor, "*B H W 3"]
    """RGB."""
    labels: KeypointLabels
    sample_index: Int[Tensor, " *B"]
    """Index of the person among all sets."""
    is_readable: Bool[Tensor, " *B"]
    """False where the image could not be read: the crop is black, and no keypoint is counted."""


class SeededBatches(Sampler[list[SampleRequest]]):
    """Endless batches; each epoch draws every person once, or as often as the set's weight says, in a new order.

    The same seed gives the same batches, for any number of workers and wherever training resumes. Several processes
    share each batch, and together draw the same people as a single process.
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
        image_index: Int[np.ndarray, " N"] | None = None,
    ) -> None:
        """Check that batches can be shared evenly.

        Args:
            set_sizes: number of people in each set.
            weights: how often each set's people are drawn per epoch.
            batch_size: people per batch, over all processes.
            seed: of the order.
            start: number of batches to skip, which is the number of iterations already done.
            processes: processes that share each batch.
            parts: number of small batches into which this process's share is split.
            image_index: index of each person's image, to draw the people of an image one after another; None draws
                each person independently.

        Raises:
            ValueError: if a batch cannot be split evenly.
        """
        if batch_size % (processes.count * parts):
            raise InvalidValueError(
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
        self.image_index = image_index
        num_drawn = sum(_num_draws(size, weight) for size, weight in zip(set_sizes, weights, strict=True))
        self.batches_per_epoch = max(1, num_drawn // batch_size)

    def __iter__(self) -> Iterator[list[SampleRequest]]:
        iteration = self.start
        while True:
            epoch, batch = divmod(iteration, self.batches_per_epoch)
            order = self._epoch_order(epoch)
            for index in range(batch, self.batches_per_epoch):
                people = order[index * self.batch_size : (index + 1) * self.batch_size]
                first = iteration * self.batch_size
                requests = [SampleRequest(first + offset, int(person)) for offset, person in enumerate(people)]
                yield from self._split(requests)
                iteration += 1

    def _split(self, requests: list[SampleRequest]) -> Iterator[list[SampleRequest]]:
        """This process's share of a batch, in parts."""
        size = self.batch_size // (self.processes.count * self.parts)
        first = self.processes.rank * self.parts
        for part in range(first, first + self.parts):
            yield requests[part * size : (part + 1) * size]

    def _epoch_order(self, epoch: int) -> Int[np.ndarray, " draws"]:
        rng = np.random.default_rng((self.seed, epoch, len(self.set_sizes)))
        drawn = []
        first = 0
        for size, weight in zip(self.set_sizes, self.weights, strict=True):
            people = np.arange(first, first + size)
            remainder = _num_draws(size, weight) - int(weight) * size
            drawn += [people] * int(weight) + [rng.permutation(people)[:remainder]]
            first += size
        order = rng.permutation(np.resize(np.concatenate(drawn), max(self.batch_size, sum(map(len, drawn)))))
        if self.image_index is None:
            return order
        image_order = rng.permutation(self.image_index.max() + 1)
        return order[np.argsort(image_order[self.image_index[order]], kind="stable")]


def _num_draws(size: int, weight: float) -> int:
    """Number of people of a set drawn per epoch."""
    return max(1, round(weight * size))
