"""The detector that a text names, as `--detector` takes it."""

import difflib
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import ValidationError

from mspn.checkpoints.hub import find_weights, load_named_detector
from mspn.detectors.base import Detector, FullImage, import_detector
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.detectors.huggingface import TransformersDetector, TransformersSettings
from mspn.detectors.onnx import OnnxDetector, OnnxSettings
from mspn.detectors.onnx.families import FAMILIES
from mspn.errors import DetectorError, WeightsError
from mspn.structures.settings import Settings, first_problem
from mspn.structures.skeleton import Skeleton

_Settings = TypeVar("_Settings", bound=Settings)

DEFAULT, EMBEDDED = "default", "person-detector"
BUILT_IN: Mapping[str, Callable[[torch.device], Detector]] = {
    DEFAULT: lambda device: _load_embedded(EMBEDDED, device),
    EMBEDDED: lambda device: _load_embedded(EMBEDDED, device),
    "none": lambda _device: FullImage(),
}
"""Detectors without settings."""

_TRANSFORMERS = "transformers"
_SETTINGS = re.compile(r"(.*?)((?:,\w+=[^,]*)*)", re.DOTALL)
_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def detector_for(text: str, skeleton: Skeleton, device: torch.device) -> Detector:
    """Make a detector for a network of this skeleton; as `make_detector`.

    Raises:
        DetectorError: also if the default is asked for, which finds people, and the skeleton is not theirs.
    """
    if text == DEFAULT and not skeleton.is_of_people:
        category = repr(skeleton.category) if skeleton.category else "something that its weights do not name"
        raise DetectorError(
            f"the network's boxes hold {category} (skeleton {skeleton.name}), and the default detector finds people"
            f" alone; name another with --detector (none for whole images), give --boxes, or name {EMBEDDED} if these"
            " are people after all"
        )
    return make_detector(text, device)


def make_detector(text: str, device: torch.device | None = None) -> Detector:
    """Make a detector from what a user wrote.

    Args:
        text: a name of `BUILT_IN`, FILE.safetensors (a detector that `mspn train` made), FILE.onnx, FAMILY:FILE.onnx,
            transformers:NAME or package.module:Class. Settings of ONNX and transformers detectors follow with commas:
            model.onnx,side=640,rule=top-100.
        device: to compute on; None is the CPU.

    Raises:
        DetectorError: if the text names nothing, or that cannot be used.
    """
    match = _SETTINGS.fullmatch(text)
    assert match
    name, written = match[1], match[2]
    values = dict(pair.split("=", 1) for pair in written.split(",")[1:])
    kind, _, target = name.partition(":")
    device = device or torch.device("cpu")
    if kind == _TRANSFORMERS and target:
        return TransformersDetector(target, _settings(TransformersSettings, text, values), device)
    if kind in FAMILIES and target:
        return OnnxDetector(Path(target), kind, _settings(OnnxSettings, text, values), device)
    if name.lower().endswith(".safetensors"):
        return _load_embedded(Path(name), device)
    # A colon may be part of a path, such as a drive's.
    if name.lower().endswith(".onnx") and (not target or len(kind) == 1 or Path(name).exists()):
        return OnnxDetector(Path(name), None, _settings(OnnxSettings, text, values), device)
    if name in BUILT_IN or (_IMPORT_PATH.fullmatch(name) and not name.endswith(".onnx")):
        if values:
            raise DetectorError(f"detector {text}: {name} has no settings; leave {written[1:]} out")
        return BUILT_IN[name](device) if name in BUILT_IN else import_detector(name)
    raise DetectorError(_unknown(name, kind))


def detector_files(text: str) -> list[Path]:
    """Files or folders on this machine that decide what `make_detector` makes of a text; none for names of the web."""
    match = _SETTINGS.fullmatch(text)
    assert match
    name = match[1]
    _, _, target = name.partition(":")
    if name in (DEFAULT, EMBEDDED):
        return [find_weights(EMBEDDED)]
    if name not in BUILT_IN and _IMPORT_PATH.fullmatch(name) and not Path(name).exists():
        module = find_spec(name.partition(":")[0])
        candidates = [Path(module.origin)] if module and module.origin else []
    else:
        candidates = [Path(name), Path(target)] if target else [Path(name)]
    return [path for path in candidates if name not in BUILT_IN and path.exists()][:1]


def _load_embedded(name: str | Path, device: torch.device) -> EmbeddedPersonDetector:
    try:
        return EmbeddedPersonDetector(load_named_detector(name).model, device)
    except WeightsError as error:
        raise DetectorError(str(error)) from error


def _settings(form: type[_Settings], text: str, values: Mapping[str, str]) -> _Settings:
    try:
        return form.model_validate(values)
    except ValidationError as error:
        raise DetectorError(f"detector {text}: {first_problem(error)}") from error


def _unknown(name: str, kind: str) -> str:
    prefixes = [*FAMILIES, _TRANSFORMERS]
    close = difflib.get_close_matches(kind, [*BUILT_IN, *prefixes], n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    if kind in prefixes:
        hint = f"what follows {kind} and a colon is missing; "
    if name and Path(name).exists():
        hint = "boxes of a file go with --boxes; "
    families = ", ".join(FAMILIES)
    return (
        f"no detector {name!r}; {hint}there are {', '.join(BUILT_IN)}, FILE.safetensors, FILE.onnx,"
        f" FAMILY:FILE.onnx ({families}), {_TRANSFORMERS}:NAME and package.module:Class"
    )
