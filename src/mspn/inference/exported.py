"""Pose networks in exported files, ours and other packages'; they run without torch."""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import ValidationError

from mspn import __version__
from mspn.checkpoints.hub import cache_folder, digest_of
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.config.data import DataConfig
from mspn.config.model import CROP_MULTIPLE, ModelConfig
from mspn.config.protocol import ProtocolConfig
from mspn.config.recipe import Recipe
from mspn.errors import ExportError
from mspn.inference.devices import Engine, Precision, check_process, may_have_gpu
from mspn.inference.exported_files import (
    DECODED,
    HEATMAPS,
    LAYOUTS,
    SUFFIXES,
    DetectorExportMetadata,
    FileInput,
    OpenFile,
    OutputLayout,
    Outputs,
    PoseExportMetadata,
    open_file,
)
from mspn.structures.boxes import Size
from mspn.structures.pose import CropKeypoints
from mspn.structures.settings import first_problem
from mspn.structures.shapes import Float, UInt8
from mspn.structures.skeleton import COCO_17, unnamed_skeleton

if TYPE_CHECKING:
    from mspn.checkpoints.format import Checkpoint

_GRAY = 128
_CHUNK = 8
"""Crops at once: activations of more do not fit the cache of a CPU."""
_NO_DOUBT = ("auto", "float32")
"""Precisions that may be asked for whatever a file computes with, since they are the defaults of commands."""


class ExportedNetwork:
    """A pose network in an exported file: RGB uint8 crops in, heat maps or keypoints out."""

    def __init__(
        self, file: OpenFile, taken: FileInput, size: Size, layout: OutputLayout, inside: ProtocolConfig
    ) -> None:
        """Take an open file.

        Args:
            file: which is open.
            taken: its one input.
            size: of its crops.
            layout: of its outputs.
            inside: protocol of the decoding that it has inside, where it gives keypoints.
        """
        self.path = file.path
        self.engine = file.runtime
        self.precision = file.precision
        self.layout = layout
        self._inside = inside
        self._file = file
        self._input = taken
        self.size = size
        """Of its crops."""
        self._process = os.getpid()
        self.shares_threads = (file.num_streams or 1) > 1
        """Whether runs that are asked for side by side share the same threads."""

    def check_choice(self, engine: Engine, precision: Precision, device: str) -> None:
        """Refuse what the file itself decides otherwise.

        Raises:
            ExportError: naming what to leave out.
        """
        if engine not in ("auto", self.engine):
            raise ExportError(f"{self.path} is run by {self.engine}, not by {engine}; leave the engine out")
        if precision not in (*_NO_DOUBT, self.precision):
            raise ExportError(
                f"{self.path} computes in {self.precision}, not in {precision}; leave it out, or export another file"
            )
        if device not in ("auto", "cpu"):
            raise ExportError(f"{self.path} runs on the CPU, not on {device}; use --device cpu, or the weights")

    def check_test(self, test: ProtocolConfig) -> None:
        """Refuse settings of what is inside the file already.

        Raises:
            ExportError: naming the first one that is asked for otherwise.
        """
        if self.gives_keypoints:
            for setting in ("flip", "mirror_shift", "blur_kernel", "decoder"):
                inside, wanted = getattr(self._inside, setting), getattr(test, setting)
                if wanted != inside:
                    raise ExportError(
                        f"{self.path} decodes inside, with test.{setting}={inside}, so that {wanted} cannot be had;"
                        " export it without decoding"
                    )

    @property
    def is_of_this_package(self) -> bool:
        """Whether the file says what network it holds."""
        return self._file.metadata is not None

    @property
    def gives_keypoints(self) -> bool:
        """Whether the answers are keypoints, not heat maps."""
        return self.layout.keypoints is not None

    def __call__(self, crops: UInt8[np.ndarray, "B H W 3"]) -> Float[np.ndarray, "B K h w"]:
        """Heat maps with peak 1; errors as `run`.

        Raises:
            ExportError: also if the network gives none.
        """
        if self.layout.heatmaps is None:
            raise ExportError(f"{self.path} gives keypoints, not heat maps; export it without decoding")
        return self.layout.heatmaps(self.run(crops))

    def keypoints(self, crops: UInt8[np.ndarray, "B H W 3"]) -> CropKeypoints:
        """Keypoints, of a network that gives them itself; errors as `run`."""
        assert self.layout.keypoints is not None
        return self.layout.keypoints(self.run(crops), self.size)

    def run(self, crops: UInt8[np.ndarray, "B H W 3"]) -> Outputs:
        """All outputs by name, in as many steps as the file and the processor's cache ask for.

        Raises:
            ExportError: if the runtime fails, or the crops are of another size.
            ValueError: if this process was forked from the one that opened the file.
        """
        check_process(self._process, f"network {self.path}")
        if tuple(crops.shape[1:3]) != self.size:
            raise ExportError(
                f"{self.path} takes crops of {self.size.height}x{self.size.width} pixels, not of"
                f" {crops.shape[1]}x{crops.shape[2]}"
            )
        fixed = self._input.shape[0]
        ends = np.cumsum(split_batch(len(crops), fixed, self._file.num_streams)).tolist()
        parts = self._file.run_all(
            [self._prepare(crops[start:end], fixed) for start, end in zip([0, *ends], ends, strict=False)]
        )
        return {name: np.concatenate([part[name] for part in parts])[: len(crops)] for name in parts[0]}

    def warm_up(self) -> None:
        """Run once: what the runtime compiles for its first run takes several times as long as others.

        Errors are those of the run to come, which reports them.
        """
        with suppress(ExportError):
            self.run(np.zeros((1, *self.size, 3), np.uint8))

    def _prepare(self, crops: np.ndarray, fixed: int | None) -> Mapping[str, np.ndarray]:
        missing = max(fixed or 1, len(crops)) - len(crops)
        padded = np.pad(crops, ((0, missing), (0, 0), (0, 0), (0, 0))) if missing else crops
        return {self._input.name: self._input.prepare(padded)}


def split_batch(num_crops: int, fixed: int | None, num_streams: int | None) -> list[int]:
    """Sizes of the runs that a batch is done in; one run where there are no crops, whose outputs say their shapes.

    >>> split_batch(20, None, None), split_batch(20, None, 2), split_batch(3, None, 2), split_batch(5, 4, None)
    ([8, 8, 4], [8, 8, 1, 1, 1, 1], [1, 1, 1], [4, 4])

    Args:
        num_crops: of the batch.
        fixed: size of all runs, where a file has it inside.
        num_streams: as in `OpenFile`.
    """
    if fixed:
        return [fixed] * max(math.ceil(num_crops / fixed), 1)
    if num_streams is None:
        rest = num_crops % _CHUNK
        return [_CHUNK] * (num_crops // _CHUNK) + ([rest] if rest or not num_crops else [])
    num_rounds = num_crops // (_CHUNK * num_streams)
    num_rest = num_crops - num_rounds * _CHUNK * num_streams
    return [_CHUNK] * num_rounds * num_streams + [1] * (num_rest or not num_crops)


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """An exported pose network and what is known of it; takes the place of a `Checkpoint` wherever poses are found."""

    metadata: CheckpointMetadata
    network: ExportedNetwork
    told: PoseExportMetadata | None
    """What the file itself says; None in files of other packages."""


def load_exported(path: Path, precision: Precision = "auto") -> ExportedModel:
    """Open a pose network in an ONNX or OpenVINO file, to compute with a precision as in `open_file`.

    Raises:
        ExportError: if there is no such file, its runtime is not installed or cannot read it, or as `find_network`.
    """
    return find_network(open_file(path, precision))


def find_network(file: OpenFile) -> ExportedModel:
    """The pose network in an open file.

    Files of other packages are recognized by the form of their outputs, see `mspn.inference.exported_files`.

    Raises:
        ExportError: if it is a person detector, or its input or outputs are of no known form.
    """
    path, told = file.path, file.metadata
    if isinstance(told, DetectorExportMetadata):
        raise ExportError(f"{path} is a person detector, not a pose network; give it to --detector")
    if len(file.inputs) != 1:
        raise ExportError(f"{path} has {len(file.inputs)} inputs; a pose network has one")
    (taken,) = file.inputs
    if told is not None:
        size, layout, metadata = told.model.input_size, DECODED if told.decoding else HEATMAPS, _metadata_of(told, path)
    else:
        size = _crop_size(taken, path)
        gray = np.full((taken.shape[0] or 1, *size, 3), _GRAY, np.uint8)
        layout, num_keypoints = _find_layout(path, file.run({taken.name: taken.prepare(gray)}), size)
        metadata = _recognize(path, size, layout, num_keypoints)
    network = ExportedNetwork(file, taken, size, layout, metadata.recipe.test)
    return ExportedModel(metadata, network, told)


def load_pose_model(path: Path, precision: Precision = "auto") -> "Checkpoint | ExportedModel":
    """A pose network of a weights file or an exported one, by the ending.

    Args:
        path: of the file.
        precision: to compute with, of an exported one; with weights, each runner has its own.

    Raises:
        WeightsError: as `load_checkpoint`.
        ExportError: as `load_exported`.
    """
    if path.suffix.lower() in SUFFIXES:
        return load_exported(path, precision)
    from mspn.checkpoints.format import load_checkpoint  # noqa: PLC0415 (torch)

    return load_checkpoint(path)


_RUNTIMES = {"openvino": ".xml", "onnxruntime": ".onnx"}
"""Fastest first, and the ending of their files."""
_DIGEST_DIGITS = 16
_GRAPH_FORM = 2
"""Counts up when the graphs that are exported change, so that prepared files of an older form are made anew."""
FEW_IMAGES = 8
"""They are done in float32 before torch is imported."""
_VERY_FEW_IMAGES = 2
"""They are done by onnxruntime before OpenVINO has started."""


def prepared_files(weights: Path) -> list[Path]:
    """Where the cache has what `mspn models prepare` makes of a weights file, for each runtime that is installed.

    The name says which weights, by their digest, and which version of this package and form of its graphs it is of, so
    that a file of others is never taken for it.
    """
    name = f"{weights.stem}-{digest_of(weights)[:_DIGEST_DIGITS]}-{__version__}-{_GRAPH_FORM}"
    return [_prepared_folder() / f"{name}{suffix}" for suffix in _installed_suffixes()]


def _installed_suffixes() -> list[str]:
    return [suffix for runtime, suffix in _RUNTIMES.items() if find_spec(runtime)]


def _prepared_folder() -> Path:
    return cache_folder() / "prepared"


class RunWanted(NamedTuple):
    """What decides whether prepared files take the place of weights."""

    engine: Engine
    precision: Precision
    device: str
    num_images: int | None
    """None if unknown."""
    is_changed: bool = False
    """Whether a flip, filter or decoder is asked for, which files have inside, or another size for the detector."""

    def find_prepared(self, weights: Path) -> Path | None:
        """The prepared file of weights that answers first, of those that there are and that are to be used."""
        taken = [suffix for suffix in _installed_suffixes() if self._takes(suffix)]
        if not taken or not _prepared_folder().is_dir():
            return None  # before the weights are read for their digest
        if self.num_images is not None and self.num_images <= _VERY_FEW_IMAGES:
            taken.reverse()
        files = {path.suffix: path for path in prepared_files(weights)}
        return next((files[suffix] for suffix in taken if files[suffix].is_file()), None)

    def _takes(self, suffix: str) -> bool:
        if self.is_changed or self.device not in ("auto", "cpu") or (self.device == "auto" and may_have_gpu()):
            return False
        if suffix == _RUNTIMES["openvino"]:
            return self.engine in ("auto", "openvino") and self.precision != "int8"
        if self.engine == "auto" and self.precision == "auto":  # onnxruntime has no bfloat16, which others may take
            return self.num_images is not None and self.num_images <= FEW_IMAGES
        return self.engine in ("auto", "onnxruntime") and self.precision in _NO_DOUBT


def _metadata_of(told: PoseExportMetadata, path: Path) -> CheckpointMetadata:
    try:
        recipe = Recipe(
            name=told.weights,
            skeleton=told.skeleton,
            model=told.model,
            test=told.protocol,
            data=DataConfig(boxes=told.boxes),
        )
        return CheckpointMetadata(recipe=recipe, license=told.license, score_calibration=told.score_calibration)
    except ValidationError as error:
        raise ExportError(f"{path}: its metadata contradict themselves: {first_problem(error)}") from error


def _recognize(path: Path, size: Size, layout: OutputLayout, num_keypoints: int) -> CheckpointMetadata:
    """Of a network of another package, of which only shapes are known: it is taken for one of MMPose's conventions."""
    is_coco = num_keypoints == len(COCO_17.keypoints)
    recipe = Recipe(
        name=path.stem,
        skeleton=COCO_17 if is_coco else unnamed_skeleton(num_keypoints),
        model=ModelConfig(num_keypoints=num_keypoints, input_size=size),
        # Which keypoints of others trade places in a mirror is not known.
        test=layout.test if is_coco else layout.test.model_copy(update={"flip": False}),
    )
    return CheckpointMetadata(recipe=recipe)


def _crop_size(taken: FileInput, path: Path) -> Size:
    height, width = taken.shape[2:] if len(taken.shape) == 4 and taken.shape[1] == 3 else (None, None)
    if height is None or width is None or height % CROP_MULTIPLE or width % CROP_MULTIPLE or taken.takes_bytes:
        raise ExportError(
            f"{path} must have one input (people, 3, height, width) of float32, normalized RGB crops whose sides are"
            f" multiples of {CROP_MULTIPLE}, but has {_written(taken.shape)}; export it with its crop's size"
        )
    return Size(height, width)


def _find_layout(path: Path, outputs: Outputs, size: Size) -> tuple[OutputLayout, int]:
    for layout in LAYOUTS:
        num_keypoints = layout.num_keypoints(outputs, size)
        if num_keypoints is not None:
            return layout, num_keypoints
    written = ", ".join(f"{name} {_written(value.shape)}" for name, value in outputs.items()) or "none"
    raise ExportError(
        f"{path} has outputs ({written}) of no known form ({', '.join(layout.name for layout in LAYOUTS)});"
        " docs/export.md says which are understood"
    )


def _written(shape: Sequence[object]) -> str:
    return "x".join("?" if side is None else str(side) for side in shape)
