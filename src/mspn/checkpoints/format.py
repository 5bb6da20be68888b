"""Weights files: safetensors whose metadata describe the network and its training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, FiniteFloat, ValidationError, model_validator
from pydantic_core import from_json
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mspn.checkpoints.provenance import TrainingSession
from mspn.config.protocol import ScoreCalibration
from mspn.config.recipe import AnyRecipe, DetectorRecipe, Recipe, recipe_class
from mspn.errors import WeightsError
from mspn.io.files import replacing
from mspn.models import AnyNetwork, build_network
from mspn.models.base import PoseNetwork
from mspn.models.person_detector import PersonDetector
from mspn.structures.settings import Settings, first_problem

FORMAT = 2
_NAMES_OF_FORMAT_1 = {
    "doubtful": "ignore",
    "faces_from": "min_face_score",
    "grey_probability": "gray_probability",
    "labelled": "labeled",
    "least_visible": "min_visible",
    "licence": "license",
    "max_colour": "max_color",
    "mining": "ohkm",
    "most_pasted": "max_pasted",
    "never_labelled": "never_labeled",
    "people_from": "min_person_score",
    "pictures": "images",
    "ranges": "calibration_ranges",
    "smallest_person": "min_person_side",
    "synchronised": "synchronized",
}
"""Keys and values that format 2 renamed."""
_METADATA_KEY = "mspn"
_MAX_HEADER_BYTES = 8 * 2**20
"""Of names and sizes of tensors, and metadata; those of the largest networks have half a megabyte."""


class AnyMetadata(Settings):
    """What a weights file says about itself."""

    format: int = FORMAT
    recipe: AnyRecipe
    """How the network is built, was trained, and should be tested."""
    data: tuple[str, ...] = ()
    """Sets that it was trained on."""
    license: str = ""
    results: dict[str, float] = Field(default_factory=dict)
    """Average precision by validation set."""
    notes: str = ""
    sessions: tuple[TrainingSession, ...] = ()
    """The starts of training that made it, in their order."""


class CheckpointMetadata(AnyMetadata):
    """Of a pose network."""

    recipe: Recipe
    calibration_ranges: dict[str, tuple[FiniteFloat, FiniteFloat]] = Field(default_factory=dict)
    """For int8: lowest and highest activation by tensor, see `mspn.inference.quantization`; empty if not calibrated."""
    score_calibration: ScoreCalibration | None = None
    """From the peaks of heat maps to the scores of keypoints; null: the peaks are the scores."""

    @model_validator(mode="after")
    def _check_score_calibration(self) -> "CheckpointMetadata":
        if self.score_calibration is not None:
            given, expected = len(self.score_calibration.offsets), self.recipe.model.num_keypoints
            if given != expected:
                raise ValueError(f"score_calibration is of {given} keypoints, the network has {expected}")
        return self


class DetectorMetadata(AnyMetadata):
    """Of a person detector."""

    recipe: DetectorRecipe


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A loaded weights file of a pose network."""

    metadata: CheckpointMetadata
    model: PoseNetwork
    """In eval mode, float32, on the CPU."""


@dataclass(frozen=True, eq=False)
class DetectorCheckpoint:
    """A loaded weights file of a person detector."""

    metadata: DetectorMetadata
    model: PersonDetector
    """As a pose network's."""


def save_weights(path: Path, model: nn.Module, metadata: AnyMetadata, dtype: torch.dtype = torch.float32) -> None:
    """Write a network's tensors and metadata, atomically; floating-point tensors in the given type.

    Where data and initial weights lay on this machine is left out of the metadata.

    Raises:
        WeightsError: if a tensor has values that the type cannot hold.
    """
    tensors = {}
    for name, tensor in model.state_dict().items():
        stored = (tensor.to(dtype) if tensor.is_floating_point() else tensor).contiguous().cpu()
        if not torch.isfinite(stored).all():
            raise WeightsError(f"tensor {name!r} has values that are not finite as {dtype}; keep it in float32")
        tensors[name] = stored
    data = metadata.recipe.data
    data = data.model_copy(
        update={
            "root": type(data)().root,
            "train": tuple(config.without_places() for config in data.train),
            "validation": data.validation and data.validation.without_places(),
        }
    )
    start = metadata.recipe.train.initial_weights
    train = metadata.recipe.train.model_copy(update={"initial_weights": start and Path(start).name})
    recipe = metadata.recipe.model_copy(update={"data": data, "train": train})
    sessions = tuple(session.without_places() for session in metadata.sessions)
    content = metadata.model_copy(update={"recipe": recipe, "sessions": sessions}).model_dump_json()
    with replacing(path, SafetensorError) as temporary:
        save_file(tensors, temporary, metadata={_METADATA_KEY: content})


def read_metadata(path: Path) -> AnyMetadata:
    """Read only what a weights file says about itself.

    Raises:
        WeightsError: if it is missing, no safetensors file, or has no metadata of mspn.
    """
    with open_safetensors(path) as file:
        return _parse_metadata(file.metadata() or {}, path)


def load_checkpoint(path: Path) -> Checkpoint:
    """Build the pose network that a weights file describes, with its weights; nothing in the file is ever executed.

    Raises:
        WeightsError: if the file is missing, damaged, of another kind, or does not fit its own metadata.
    """
    metadata, tensors = _read(path)
    if not isinstance(metadata, CheckpointMetadata):
        raise WeightsError(f"{path} is a person detector, not a pose network; give it to --detector")
    # Without memory until the tensors are known to fit: metadata may name any size.
    with torch.device("meta"):
        model = build_network(metadata.recipe.model)
    _fill(model, tensors, path)
    return Checkpoint(metadata, model.eval())


def load_detector(path: Path) -> DetectorCheckpoint:
    """Build the person detector that a weights file describes; as `load_checkpoint`."""
    metadata, tensors = _read(path)
    if not isinstance(metadata, DetectorMetadata):
        raise WeightsError(f"{path} is a pose network, not a person detector; give it to --model")
    with torch.device("meta"):
        model = PersonDetector(metadata.recipe.model)
    _fill(model, tensors, path)
    return DetectorCheckpoint(metadata, model.eval())


def load_any(path: Path) -> AnyNetwork:
    """The network of a weights file, whatever it is for; errors as in `load_checkpoint`."""
    load = load_detector if isinstance(read_metadata(path), DetectorMetadata) else load_checkpoint
    return load(path).model


def _read(path: Path) -> tuple[AnyMetadata, dict[str, Tensor]]:
    with open_safetensors(path) as file:
        metadata = _parse_metadata(file.metadata() or {}, path)
        return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def _fill(model: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give a network without memory the tensors of a file."""
    expected = model.state_dict()
    for name in sorted(expected.keys() ^ tensors.keys()):
        kind = "lacks" if name in expected else "has the unknown"
        raise WeightsError(f"{path} {kind} tensor {name!r}; it does not fit its own metadata")
    for name, tensor in tensors.items():
        shape = expected[name].shape
        if tensor.shape != shape:
            raise WeightsError(f"{path}: tensor {name!r} is {tuple(tensor.shape)}, its metadata say {tuple(shape)}")
    values = {name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}
    for name, tensor in values.items():
        # NumPy's check takes a fifth of the time of torch's, which wakes other threads four times for each tensor.
        if not np.isfinite(tensor.numpy()).all():
            raise WeightsError(f"{path}: tensor {name!r} has values that are not finite numbers")
    model.load_state_dict(values, assign=True)


@contextmanager
def open_safetensors(path: Path) -> Iterator[Any]:
    """Open a safetensors file, of this package or of other code.

    Raises:
        WeightsError: if there is none, or it is damaged.
    """
    if not path.is_file():
        raise WeightsError(f"no weights at {path}; check the path, or name a model of `mspn models list`")
    with path.open("rb") as start:
        header_bytes = int.from_bytes(start.read(8), "little")
    # A header may name billions of values, which take many times its size when they are parsed.
    if _MAX_HEADER_BYTES < header_bytes < path.stat().st_size:
        raise WeightsError(f"{path} has a header of {header_bytes:,} bytes; it is no weights file of a network")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        hint = "convert external checkpoints with `mspn models convert` first"
        raise WeightsError(f"{path} is not a safetensors file ({error}); {hint}") from error


def _parse_metadata(header: Mapping[str, str], path: Path) -> AnyMetadata:
    if _METADATA_KEY not in header:
        raise WeightsError(f"{path} has no metadata of mspn; convert external weights with `mspn models convert` first")
    try:
        values = from_json(header[_METADATA_KEY])  # which refuses deep nesting and half characters
        if isinstance(values, dict) and values.get("format") == 1:
            values = _upgrade(values) | {"format": FORMAT}
        is_detector = isinstance(values, dict) and recipe_class(values.get("recipe")) is DetectorRecipe
        metadata: AnyMetadata = (DetectorMetadata if is_detector else CheckpointMetadata).model_validate(values)
    except ValidationError as error:
        raise WeightsError(f"{path}: its metadata cannot be read by this version: {first_problem(error)}") from error
    except ValueError as error:
        raise WeightsError(f"{path}: its metadata are damaged ({error})") from error
    if metadata.format != FORMAT:
        raise WeightsError(f"{path} is of format {metadata.format}; this version reads format {FORMAT}")
    return metadata


def _upgrade(value: Any) -> Any:
    """Rename keys and values of metadata of format 1."""
    if isinstance(value, dict):
        return {_NAMES_OF_FORMAT_1.get(key, key): _upgrade(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_upgrade(item) for item in value]
    return _NAMES_OF_FORMAT_1.get(value, value) if isinstance(value, str) else value
