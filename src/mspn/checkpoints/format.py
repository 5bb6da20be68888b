"""Weights files: safetensors whose metadata describe the network and how it came about; several averaged into one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from pydantic_core import from_json
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from mspn.checkpoints.metadata import FORMAT, AnyMetadata, CheckpointMetadata, DetectorMetadata
from mspn.config.recipe import DetectorRecipe, Recipe, recipe_class
from mspn.errors import WeightsError
from mspn.io.files import replacing
from mspn.models import AnyNetwork, build_network
from mspn.models.base import PoseNetwork
from mspn.models.person_detector import PersonDetector
from mspn.structures.settings import first_problem

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
    if isinstance(recipe, DetectorRecipe) and recipe.distillation.teacher:
        teacher = Path(recipe.distillation.teacher).name
        distillation = recipe.distillation.model_copy(update={"teacher": teacher})
        recipe = recipe.model_copy(update={"distillation": distillation})
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
        if isinstance(values, dict):
            values = _upgrade(values)
        is_detector = isinstance(values, dict) and recipe_class(values.get("recipe")) is DetectorRecipe
        metadata: AnyMetadata = (DetectorMetadata if is_detector else CheckpointMetadata).model_validate(values)
    except ValidationError as error:
        raise WeightsError(f"{path}: its metadata cannot be read by this version: {first_problem(error)}") from error
    except ValueError as error:
        raise WeightsError(f"{path}: its metadata are damaged ({error})") from error
    if metadata.format != FORMAT:
        raise WeightsError(f"{path} is of format {metadata.format}; this version reads format {FORMAT}")
    return metadata


def _upgrade(values: dict[str, Any]) -> dict[str, Any]:
    """Metadata of this format, of earlier ones."""
    if values.get("format") == 1:
        values = _rename(values) | {"format": 2}
    if values.get("format") == 2:
        values = values | {"format": FORMAT}
        test = values["recipe"].get("test") if isinstance(values.get("recipe"), dict) else None
        if values.get("score_calibration") is not None and isinstance(test, dict):
            ranked = {"rescoring": "weighted_mean"} if test.get("rescoring") == "mean" else {}
            values["recipe"] = values["recipe"] | {"test": test | ranked}
    return values


def _rename(value: Any) -> Any:
    """Keys and values of metadata of format 1."""
    if isinstance(value, dict):
        return {_NAMES_OF_FORMAT_1.get(key, key): _rename(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rename(item) for item in value]
    return _NAMES_OF_FORMAT_1.get(value, value) if isinstance(value, str) else value


def average_weights(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Average the weights of runs of one network, which costs nothing when it runs, unlike an ensemble.

    For runs that started from one another or from the same trained weights: such runs end on the rims of one valley of
    the loss, and its middle serves people whom none has seen better than any rim (Wortsman et al., "Model soups", ICML
    2022). Of runs from different random weights the average is worthless.

    The recipe is that of the last, sessions and training sets are those of all; what was measured on one (results, how
    far values go, what its scores mean) is left out.

    Raises:
        WeightsError: if there are fewer than two, or they are not of one network and one set of keypoints.
    """
    if len(checkpoints) < 2:
        raise WeightsError("an average needs two weights files or more")
    last = checkpoints[-1].metadata
    for checkpoint in checkpoints:
        _check_same_network(checkpoint.metadata.recipe, last.recipe)
    states = [checkpoint.model.state_dict() for checkpoint in checkpoints]
    model = build_network(last.recipe.model)
    model.load_state_dict({name: _mean([state[name] for state in states]) for name in states[-1]})
    metadata = last.model_copy(
        update={
            "data": tuple(dict.fromkeys(name for checkpoint in checkpoints for name in checkpoint.metadata.data)),
            "sessions": tuple(dict.fromkeys(one for checkpoint in checkpoints for one in checkpoint.metadata.sessions)),
            "notes": f"average of {len(checkpoints)} runs",
            "results": {},
            "calibration_ranges": {},
            "score_calibration": None,
        }
    )
    return Checkpoint(metadata, model.eval())


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """Counters, which are integers, are those of the last."""
    last = tensors[-1]
    if not last.is_floating_point():
        return last
    return torch.stack([tensor.double() for tensor in tensors]).mean(0).to(last.dtype)


def _check_same_network(one: Recipe, last: Recipe) -> None:
    shape, last_shape = ({"skeleton": recipe.skeleton, **recipe.model.model_dump()} for recipe in (one, last))
    for name in last_shape:
        if shape.get(name) != last_shape[name]:
            raise WeightsError(
                f"only weights of one network can be averaged: {name} is {shape.get(name)} in one of them and"
                f" {last_shape[name]} in the last"
            )
