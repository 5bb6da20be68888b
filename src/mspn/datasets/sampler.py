"""Which people each training batch shows."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int
from torch.utils.data import Sampler

from mspn.datasets.samples import SampleRequest
from mspn.distributed import ALONE, Processes
from mspn.errors import InvalidValueError


class SeededBatches(Sampler[list[SampleRequest]]):
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
        image_index: Int[np.ndarray, " N"] | None = None,
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
            image_index: which image shows each person, to draw the people of an image one after another; None
                draws everyone on their own.

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
        drawn = sum(_draws(size, weight) for size, weight in zip(set_sizes, weights, strict=True))
        self.batches_per_epoch = max(1, drawn // batch_size)

    def __iter__(self) -> Iterator[list[SampleRequest]]:
        iteration = self.start
        while True:
            epoch, batch = divmod(iteration, self.batches_per_epoch)
            order = self._epoch_order(epoch)
            for index in range(batch, self.batches_per_epoch):
                people = order[index * self.batch_size : (index + 1) * self.batch_size]
                first = iteration * self.batch_size
                draws = [SampleRequest(first + offset, int(person)) for offset, person in enumerate(people)]
                yield from self._own_parts(draws)
                iteration += 1

    def _own_parts(self, draws: list[SampleRequest]) -> Iterator[list[SampleRequest]]:
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
        if self.image_index is None:
            return order
        turns = rng.permutation(self.image_index.max() + 1)
        return order[np.argsort(turns[self.image_index[order]], kind="stable")]


def _draws(size: int, weight: float) -> int:
    """How many people of a set are drawn per epoch."""
    return max(1, round(weight * size))
