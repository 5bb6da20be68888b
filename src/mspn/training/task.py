"""The parts of training that differ between tasks: data, loss, validation."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from mspn.checkpoints.format import AnyMetadata, SetFingerprint
from mspn.datasets.people import ImagePaths
from mspn.datasets.samples import SampleRequest
from mspn.models import AnyNetwork


class Batch(Protocol):
    """Inputs of the network with their labels."""

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

    def measure(self, network: Any, report: Callable[[int, int], None]) -> dict[str, float]:
        """COCO's numbers of a network, AP among them; the processes share the images.

        Args:
            network: stays as it is.
            report: called with how many images are done, and of how many, in this process.
        """
        ...


class TrainingData(NamedTuple):
    """All sets of a recipe, one after another."""

    set_sizes: Sequence[int]
    """Samples of each set: people, or images."""
    set_weights: Sequence[float]
    """How often each set's samples are drawn per epoch."""
    samples: Dataset[Any]
    """Indexed by `SampleRequest`."""
    images: ImagePaths
    image_index: Int[np.ndarray, " N"]
    """Index of each sample's image."""
    grouping: Int[np.ndarray, " N"] | None = None
    """Samples with the same number are drawn one after another; None draws each on its own."""


class Task(ABC):
    """A recipe with its data read."""

    data: TrainingData
    validation: Measure
    keypoints: tuple[str, ...] | None = None
    """Names of what a pose network predicts."""

    @abstractmethod
    def build_network(self) -> AnyNetwork:
        """The network with random weights."""

    @abstractmethod
    def compute_losses(self, outputs: Any, labels: Any) -> Losses:
        """Losses of the network's outputs for a batch."""

    @abstractmethod
    def metadata(self) -> AnyMetadata:
        """Of the run's weights files."""

    @abstractmethod
    def fingerprints(self) -> tuple[SetFingerprint, ...]:
        """Of the training sets."""

    @abstractmethod
    def write_sheet(self, run: Path, draws: Sequence[SampleRequest]) -> None:
        """Draw training samples, with what the network is to learn of them, into the run folder."""
