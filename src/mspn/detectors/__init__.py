"""The detector that a text names, as `--detector` takes it."""

import difflib
import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from mspn.checkpoints.hub import find_weights
from mspn.config.recipe import Recipe
from mspn.detectors.base import Detector, FullImage, import_detector
from mspn.detectors.onnx import EmbeddedSettings, ExportedPersonDetector, OnnxDetector, OnnxSettings
from mspn.detectors.onnx_families import FAMILIES
from mspn.detectors.slices import SlicedDetector
from mspn.errors import DetectorError, ExportError, WeightsError
from mspn.inference.devices import choose_device
from mspn.inference.exported_files import SUFFIXES as EXPORTED_SUFFIXES
from mspn.inference.exported_files import DetectorExportMetadata, open_file
from mspn.structures.settings import Settings, first_problem

if TYPE_CHECKING:
    from mspn.detectors.embedded import EmbeddedPersonDetector
    from mspn.detectors.huggingface import TransformersDetector

_Settings = TypeVar("_Settings", bound=Settings)

DEFAULT, EMBEDDED, NONE = "default", "person-detector", "none"
BUILT_IN = (DEFAULT, EMBEDDED, NONE)
"""Names of detectors that need no file."""

_TRANSFORMERS = "transformers"
_SETTINGS = re.compile(r"(.*?)((?:,\w+=[^,]*)*)", re.DOTALL)
_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def detector_for(text: str, recipe: Recipe, device: str, *, side: int | None = None, slices: int = 1) -> Detector:
    """Make a detector for the network of a recipe, as `make_detector` makes what `resolve_default` says."""
    return make_detector(resolve_default(text, recipe), device, side=side, slices=slices)


def resolve_default(text: str, recipe: Recipe) -> str:
    """What the default detector of a recipe's network is: none for one of whole images; other texts stay.

    Raises:
        DetectorError: if the default is asked for, which finds people, and the skeleton is not theirs.
    """
    skeleton = recipe.keypoint_table
    if text != DEFAULT:
        return text
    if recipe.data.boxes == "image":
        return NONE
    if not skeleton.is_of_people:
        category = repr(skeleton.category) if skeleton.category else "something that its weights do not name"
        raise DetectorError(
            f"the network's boxes hold {category} (skeleton {skeleton.name}), and the default detector finds people"
            f" alone; name another with --detector (none for whole images), give --boxes, or name {EMBEDDED} if these"
            " are people after all"
        )
    return EMBEDDED


def make_detector(text: str, device: str = "cpu", *, side: int | None = None, slices: int = 1) -> Detector:
    """Make a detector from what a user wrote.

    Args:
        text: a name of `BUILT_IN`, FILE.safetensors (a detector that `mspn train` made), FILE.onnx, FAMILY:FILE.onnx,
            transformers:NAME or package.module:Class. Settings of our own, ONNX and transformers detectors follow with
            commas: model.onnx,side=640,rule=top-100.
        device: to compute on, as `choose_device` takes it; exported detectors run on the CPU.
        side: the setting of that name, for a detector that takes images of any size.
        slices: along an image's longer side, see `SlicedDetector`; 1 detects in the whole image alone.

    Raises:
        DetectorError: if the text names nothing, or that cannot be used, or not with such a side or slices.
    """
    detector = _make_unsliced(text, device, side)
    if slices == 1:
        return detector
    if isinstance(detector, FullImage):
        raise DetectorError(f"detector {text} takes the whole image for one person; leave the slices out")
    return SlicedDetector(detector, slices)


def _make_unsliced(text: str, device: str, side: int | None) -> Detector:
    match = _SETTINGS.fullmatch(text)
    assert match
    name, written = match[1], match[2]
    values = dict(pair.split("=", 1) for pair in written.split(",")[1:])
    if side is not None:
        if "side" in values:
            raise DetectorError(f"detector {text}: the size of its input is given twice; leave one of the two out")
        values["side"] = str(side)
    kind, _, target = name.partition(":")
    if kind == _TRANSFORMERS and target:
        if "side" in values:
            raise DetectorError(
                f"detector {text}: its own files give the size of its input; leave side={values['side']} out"
            )
        return _load_transformers(target, text, values, device)
    if kind in FAMILIES and target:
        return _open_onnx(Path(target), kind, _settings(OnnxSettings, text, values), device)
    if name in (DEFAULT, EMBEDDED) or name.lower().endswith(".safetensors"):
        return _load_embedded(name, _settings(EmbeddedSettings, text, values), device)
    # A colon may be part of a path, such as a drive's.
    if name.lower().endswith(".onnx") and (not target or len(kind) == 1 or Path(name).exists()):
        return _exported(name, text, values) or _open_onnx(
            Path(name), None, _settings(OnnxSettings, text, values), device
        )
    if name.lower().endswith(EXPORTED_SUFFIXES) and Path(name).is_file():
        exported = _exported(name, text, values)
        if exported is None:
            raise DetectorError(f"{name} is no person detector that `mspn models export` wrote; other networks: .onnx")
        return exported
    if name == NONE or (_IMPORT_PATH.fullmatch(name) and not name.endswith(".onnx")):
        if values:
            given = ", ".join(f"{setting}={value}" for setting, value in values.items())
            raise DetectorError(f"detector {text}: {name} has no settings; leave {given} out")
        return FullImage() if name == NONE else import_detector(name)
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


# What needs torch is imported where it is made: exported detectors, and boxes of files, do without.


def _load_embedded(name: str, settings: EmbeddedSettings, device: str) -> "EmbeddedPersonDetector":
    from mspn.checkpoints.networks import load_named_detector  # noqa: PLC0415
    from mspn.detectors.embedded import EmbeddedPersonDetector  # noqa: PLC0415

    try:
        network = load_named_detector(EMBEDDED if name in (DEFAULT, EMBEDDED) else Path(name)).model
        return EmbeddedPersonDetector(network, choose_device(device), longer_side=settings.side)
    except WeightsError as error:
        raise DetectorError(str(error)) from error


def _load_transformers(target: str, text: str, values: Mapping[str, str], device: str) -> "TransformersDetector":
    from mspn.detectors.huggingface import TransformersDetector, TransformersSettings  # noqa: PLC0415

    return TransformersDetector(target, _settings(TransformersSettings, text, values), choose_device(device))


def _open_onnx(path: Path, family: str | None, settings: OnnxSettings, device: str) -> OnnxDetector:
    return OnnxDetector(path, family, settings, choose_device(device))


def _exported(name: str, text: str, values: Mapping[str, str]) -> ExportedPersonDetector | None:
    """The detector in a file that `mspn models export` wrote; None if it is of another package, or cannot be read."""
    try:
        file = open_file(Path(name), "auto")
    except ExportError as error:
        if name.lower().endswith(".onnx"):  # other detectors have their own checks
            return None
        raise DetectorError(str(error)) from error
    if file.metadata is None:
        return None
    if not isinstance(file.metadata, DetectorExportMetadata):
        raise DetectorError(f"{name} is a pose network, not a person detector; give it to --model")
    return ExportedPersonDetector(file, file.metadata, _settings(EmbeddedSettings, text, values).side)


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
