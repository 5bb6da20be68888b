"""What training needs to know of a task: its data, its loss, its measure. Everything else is the same for all."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from mspn.checkpoints.format import AnyMetadata
from mspn.checkpoints.provenance import SetFingerprint
from mspn.datasets.people import ImagePaths
from mspn.datasets.samples import SampleRequest
from mspn.models import AnyNetwork


class Batch(Protocol):
    """What the network sees and should find."""

    @property
    def pixels(self) -> UInt8[Tensor, "B H W 3"]:
        """RGB."""
        ...

    @property
    def labels(self) -> Any:
        """A named tuple of tensors."""
        ...

    @property
    def sample_index(self) -> Int[Tensor, " B"]:
        """Indices of the samples among all sets."""
        ...

    @property
    def is_readable(self) -> Bool[Tensor, " B"]:
        """False where an image could not be read."""
        ...


class Losses(Protocol):
    """The loss and its parts."""

    @property
    def total(self) -> Float[Tensor, ""]: ...

    @property
    def by_stage_and_level(self) -> Float[Tensor, "stages levels"]:
        """Weighted and detached; levels from fine to coarse."""
        ...


class Measure(Protocol):
    """A validation set."""

    @property
    def is_possible(self) -> bool:
        """False where there is no set."""
        ...

    def measure(self, network: Any) -> dict[str, float]:
        """COCO's numbers, AP among them, of a network, which stays as it is; the processes share the images."""
        ...


class TrainingData(NamedTuple):
    """All sets of a recipe, one after another."""

    set_sizes: Sequence[int]
    """What there is to draw in each set: people, or images."""
    samples: Dataset[Any]
    """Indexed by `SampleRequest`."""
    images: ImagePaths
    image_index: Int[np.ndarray, " N"]
    """Which image each of them is in."""
    grouping: Int[np.ndarray, " N"] | None = None
    """What is drawn one after another, those with the same number; None draws each on their own."""


class Task(ABC):
    """A recipe with its data read."""

    data: TrainingData
    validation: Measure

    @abstractmethod
    def build_network(self) -> AnyNetwork:
        """The network with random weights."""

    @abstractmethod
    def compute_losses(self, outputs: Any, labels: Any) -> Losses:
        """Losses of the network's outputs for a batch."""

    @abstractmethod
    def header(self) -> AnyMetadata:
        """Of the run's weights files."""

    @abstractmethod
    def fingerprints(self) -> tuple[SetFingerprint, ...]:
        """Of the training sets."""

    @abstractmethod
    def write_sheet(self, run: Path, draws: Sequence[SampleRequest]) -> None:
        """Draw training samples, with what the network is to learn of them, into the run folder."""
