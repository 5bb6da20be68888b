"""Exported files: what their metadata say, and opening them in the runtimes that they are for.

What the outputs of a pose network mean is told by their names in ours, by their shapes in those of other packages.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from xml.etree import ElementTree

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from mspn.config.model import CHANNEL_DEVIATION, CHANNEL_MEAN, NetworkConfig
from mspn.config.protocol import SIMPLE_BASELINE_TEST, ProtocolConfig, ScoreCalibration
from mspn.errors import ExportError
from mspn.inference.devices import Engine, Precision, count_threads, first_line, open_session, openvino_core
from mspn.structures.boxes import Size
from mspn.structures.crop import HEATMAP_STRIDE
from mspn.structures.pose import CropKeypoints
from mspn.structures.settings import Settings, first_problem
from mspn.structures.shapes import Float, UInt8
from mspn.structures.skeleton import Skeleton

METADATA_KEY = "mspn"
"""Of the JSON text among a file's own metadata."""

IMAGE_SIZES = "image_sizes"
"""Second input of a detector with decoding."""

ExportPrecision = Literal["float32", "float16", "int8"]


class NetworkInput(Settings):
    """The one input of an exported network: people's crops, or whole images."""

    name: Literal["crops", "images"]
    layout: Literal["NHWC", "NCHW"]
    type: Literal["uint8", "float32"]
    """uint8: colors from 0 to 255, which the network normalizes itself; float32: normalized by the caller."""
    colors: Literal["RGB"] = "RGB"
    height: int | None = Field(ge=1)
    """In pixels; null: any multiple of 32."""
    width: int | None = Field(ge=1)
    mean: tuple[float, float, float] = CHANNEL_MEAN
    deviation: tuple[float, float, float] = CHANNEL_DEVIATION
    """normalized = (color / 255 - mean) / deviation."""


class ExportMetadata(Settings):
    """What every exported network says."""

    format: Literal[1] = 1
    mspn: str
    """Version that wrote the file."""
    weights: str
    """Name of the weights, or their file's."""
    weights_sha256: str
    tensors_sha256: str = ""
    """Of the file's own tensors, see `mspn.export.files`; known once the file is made."""
    license: str
    precision: ExportPrecision
    input: NetworkInput
    decoding: bool
    """Whether outputs are keypoints or boxes, in place of heat maps or candidates."""
    outputs: tuple[str, ...]


class PoseExportMetadata(ExportMetadata):
    """Of a pose network.

    Outputs are `heatmaps` (people, keypoints, height / 4, width / 4) with peak 1. With decoding they are `keypoints`
    (people, keypoints, 2), (x, y) in crop pixels, their `scores` (people, keypoints) from 0 to 1, and the `peaks`
    (people, keypoints) of the heat maps, from which what ranks poses is computed (`protocol.rescoring`).
    """

    kind: Literal["pose"] = "pose"
    skeleton: Skeleton
    model: NetworkConfig
    boxes: Literal["labeled", "image"] = "labeled"
    """What is cut out: people's boxes, or the whole image, as `data.boxes` of the recipe says."""
    protocol: ProtocolConfig
    """How boxes become crops and heat maps become keypoints."""
    score_calibration: ScoreCalibration | None
    """From peaks to scores; null: scores are the peaks, clipped to 0..1."""


class DetectorExportMetadata(ExportMetadata):
    """Of a person detector.

    Outputs are `scores` (images, candidates) from 0 to 1 and `boxes` (images, candidates, 4): left, top, right, bottom
    in input pixels. With decoding, suppression has chosen among them, best first: `boxes` (people, 4), `scores`
    (people) and `image_indices` (people), the number of each box's image in the batch. It takes a second input then,
    `image_sizes` (images, 2): height and width of the image within the input, of float32, where boxes are cut off.
    """

    kind: Literal["person-detector"] = "person-detector"
    longer_side: int
    """Pixels that images are scaled to, before gray fills the shorter side to a multiple of 32."""
    min_score: float
    iou_threshold: float
    """Of two boxes with a higher IoU, the one with the lower score is dropped."""
    max_people: int


AnyExportMetadata = PoseExportMetadata | DetectorExportMetadata
_ADAPTER: TypeAdapter[AnyExportMetadata] = TypeAdapter(Annotated[AnyExportMetadata, Field(discriminator="kind")])


def parse_metadata(text: str, path: Path) -> AnyExportMetadata:
    """Read the JSON text of a file.

    Raises:
        ExportError: naming the first thing in it that this version does not understand.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise ExportError(f"{path}: its metadata cannot be read by this version: {first_problem(error)}") from error


Outputs = Mapping[str, np.ndarray]
"""Outputs of a network by name, in the file's order; the first axis counts people."""

DIRECT_TEST = ProtocolConfig(
    padding=(1.25, 1.25), flip=False, blur_kernel=1, score_offset=0.0, rescoring="confident_mean"
)
"""Of networks that give keypoints themselves, from MMPose."""


@dataclass(frozen=True)
class OutputLayout:
    """A form of outputs."""

    name: str
    num_keypoints: Callable[[Outputs, Size], int | None]
    """From the outputs and the crop's size; None for outputs of another form."""
    test: ProtocolConfig
    """How networks of another package are tested, of which the file does not tell."""
    heatmaps: Callable[[Outputs], Float[np.ndarray, "B K h w"]] | None = None
    """None for networks that give keypoints."""
    keypoints: Callable[[Outputs, Size], CropKeypoints] | None = None
    """None for networks that give heat maps."""


def _count_in_heatmaps(outputs: Outputs, size: Size) -> int | None:
    """One output (B, K, H/4, W/4)."""
    if len(outputs) != 1:
        return None
    (maps,) = outputs.values()
    fits = maps.ndim == 4 and tuple(maps.shape[2:]) == (size.height // HEATMAP_STRIDE, size.width // HEATMAP_STRIDE)
    return maps.shape[1] if fits else None


def _only(outputs: Outputs) -> np.ndarray:
    (maps,) = outputs.values()
    return maps


HEATMAPS = OutputLayout("heat maps", _count_in_heatmaps, SIMPLE_BASELINE_TEST, heatmaps=_only)
"""Ours, and MMPose's heat-map networks (HRNet, ViTPose, simple baselines), whose cells stand for their corner."""


def _count_in_decoded(outputs: Outputs, _size: Size) -> int | None:
    return outputs["peaks"].shape[1] if set(outputs) == {"keypoints", "scores", "peaks"} else None


def _read_decoded(outputs: Outputs, _size: Size) -> CropKeypoints:
    return CropKeypoints(outputs["keypoints"].astype(np.float64), outputs["peaks"].astype(np.float64))


DECODED = OutputLayout("keypoints", _count_in_decoded, DIRECT_TEST, keypoints=_read_decoded)
"""Ours with decoding inside."""


def _count_in_simcc(outputs: Outputs, size: Size) -> int | None:
    """Two outputs (B, K, W x split) and (B, K, H x split), one value for each part of a pixel."""
    if len(outputs) != 2:
        return None
    x, y = outputs.values()
    if x.ndim != 3 or y.ndim != 3 or x.shape[1] != y.shape[1]:
        return None
    split = x.shape[2] // size.width
    fits = split > 0 and (x.shape[2], y.shape[2]) == (split * size.width, split * size.height)
    return x.shape[1] if fits else None


def _read_simcc(outputs: Outputs, size: Size) -> CropKeypoints:
    """The highest part along each axis. Source: MMPose's `get_simcc_maximum`, whose scores are the lower maximum."""
    x, y = outputs.values()
    split = x.shape[2] / size.width
    keypoints_crop = np.stack([x.argmax(-1), y.argmax(-1)], -1) / split
    return CropKeypoints(keypoints_crop, np.minimum(x.max(-1), y.max(-1)).astype(np.float64))


SIMCC = OutputLayout("SimCC", _count_in_simcc, DIRECT_TEST, keypoints=_read_simcc)
"""RTMPose and SimCC as MMDeploy exports them: `simcc_x`, `simcc_y`."""

LAYOUTS = (HEATMAPS, DECODED, SIMCC)


class FileInput(NamedTuple):
    """An input of a file."""

    name: str
    shape: tuple[int | None, ...]
    """None where it is open."""
    takes_bytes: bool
    """uint8; floats otherwise."""

    def prepare(
        self, pixels: UInt8[np.ndarray, "B H W 3"]
    ) -> UInt8[np.ndarray, "B H W 3"] | Float[np.ndarray, "B 3 H W"]:
        """RGB from 0 to 255 as this input takes it, normalized as `mspn.models.base.normalize` does."""
        if self.takes_bytes:
            return pixels
        mean, deviation = (np.array(values, np.float32) * 255 for values in (CHANNEL_MEAN, CHANNEL_DEVIATION))
        return np.ascontiguousarray(((pixels - mean) / deviation).transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class OpenFile:
    """A file in its runtime, whoever made it."""

    path: Path
    runtime: Engine
    precision: Precision
    """What it computes with."""
    answer: Callable[[Sequence[Mapping[str, np.ndarray]]], list[Outputs]]
    """From inputs of several runs to their outputs; a RuntimeError says why the runtime failed."""
    inputs: tuple[FileInput, ...]
    metadata: AnyExportMetadata | None
    """None in files of other packages."""
    num_streams: int | None = None
    """Runs that the runtime does at once, of one or a few sizes, since it compiles for each size when it first sees it;
    None: it does one at a time, of any size."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> Outputs:
        """Outputs by name, in the file's order; errors as in `run_all`."""
        (outputs,) = self.run_all([inputs])
        return outputs

    def run_all(self, inputs: Sequence[Mapping[str, np.ndarray]]) -> list[Outputs]:
        """Outputs of several runs, in the same order.

        Raises:
            ExportError: if the runtime fails.
        """
        try:
            return self.answer(inputs)
        except RuntimeError as error:
            raise ExportError(f"{self.path}: {self.runtime} cannot run it ({first_line(error)})") from error


def open_file(path: Path, precision: Precision = "float32") -> OpenFile:
    """Open a file of one of `SUFFIXES`.

    Args:
        path: of the file.
        precision: to compute with, where there is a choice: OpenVINO runs files in bfloat16, too, but those in int8;
            "auto" takes it where the processor computes with it.

    Raises:
        ExportError: if there is no such file, or its runtime is not installed or cannot read it.
    """
    if not path.is_file():
        raise ExportError(f"no file at {path}; check its path")
    return _OPENERS[path.suffix.lower()](path, precision)


def _open_onnx(path: Path, _precision: Precision) -> OpenFile:
    session = open_session(path, None, ExportError, "network")
    names = [output.name for output in session.get_outputs()]

    def answer(runs: Sequence[Mapping[str, np.ndarray]]) -> list[Outputs]:
        try:
            answers = [session.run(names, dict(inputs)) for inputs in runs]
        except Exception as error:  # onnxruntime's errors have no other base
            raise RuntimeError(first_line(error)) from error
        return [{name: np.asarray(value) for name, value in zip(names, values, strict=True)} for values in answers]

    inputs = tuple(
        FileInput(
            taken.name,
            tuple(side if isinstance(side, int) else None for side in taken.shape),
            taken.type == "tensor(uint8)",
        )
        for taken in session.get_inputs()
    )
    metadata = _parse(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), path)
    # Files in float16 keep weights in that, and are computed in float32 on CPUs.
    return OpenFile(path, "onnxruntime", "int8" if _is_int8(metadata) else "float32", answer, inputs, metadata)


_MAX_STREAMS = 16
"""With one thread each: threads that share a run wait for each other."""


def compiled_folder(path: Path) -> Path:
    """Where OpenVINO keeps what it compiles of files in this folder; where there is none, it compiles at each start."""
    return path.with_name("compiled-by-openvino")


def _open_openvino(path: Path, precision: Precision) -> OpenFile:
    core = openvino_core(ExportError(f"running {path} needs openvino; pip install 'mspn[openvino]'"))
    kept = compiled_folder(path)
    is_kept = os.access(kept, os.W_OK)
    try:
        # What is compiled already is found by the path; to read the file as well would take as long again.
        model = path if is_kept else core.read_model(path)
        metadata = _parse(_last_rt_info(path) if is_kept else _rt_info(model), path)
        chosen = "int8" if _is_int8(metadata) else _choose_precision(core, precision)
        # A detector and a pose network share the cores: threads that are tied to one would wait for each other there.
        num_streams = min(count_threads(), _MAX_STREAMS)
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if chosen == "bfloat16" else "f32",
            "INFERENCE_NUM_THREADS": count_threads(),
            "NUM_STREAMS": num_streams,
            "ENABLE_CPU_PINNING": False,
        }
        if is_kept:
            settings["CACHE_DIR"] = str(kept)
        compiled = core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        raise ExportError(
            f"{path} is no network that OpenVINO can read ({first_line(error)}); is its .bin beside it?"
        ) from error
    names = [output.any_name for output in compiled.outputs]

    def answer(runs: Sequence[Mapping[str, np.ndarray]]) -> list[Outputs]:
        requests = [compiled.create_infer_request() for _ in runs]  # its own, so that threads do not share outputs
        for request, inputs in zip(requests, runs, strict=True):
            request.start_async(dict(inputs), share_inputs=True)
        for request in requests:
            request.wait()
        return [{name: request.results[index].copy() for index, name in enumerate(names)} for request in requests]

    inputs = tuple(
        FileInput(
            taken.any_name,
            tuple(None if side.is_dynamic else side.get_length() for side in taken.partial_shape),
            taken.element_type.get_type_name() == "u8",
        )
        for taken in compiled.inputs
    )
    return OpenFile(path, "openvino", chosen, answer, inputs, metadata, num_streams)


def _rt_info(model: Any) -> str | None:
    return str(model.get_rt_info(METADATA_KEY).astype(str)) if model.has_rt_info(METADATA_KEY) else None


def _last_rt_info(path: Path) -> str | None:
    """The same of a file that OpenVINO wrote, which has it at its end."""
    _, tag, rest = path.read_text(encoding="utf-8").rpartition("<rt_info>")
    try:
        entry = ElementTree.fromstring(tag + rest.partition("</rt_info>")[0] + "</rt_info>").find(METADATA_KEY)
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise ExportError(f"{path} is cut short or damaged ({error})") from error
    return None if entry is None else entry.get("value")


def _choose_precision(core: Any, precision: Precision) -> Precision:
    """As `choose_precision` of `mspn.inference.devices`, but asks OpenVINO of the processor, not torch."""
    if precision != "auto":
        return "bfloat16" if precision == "bfloat16" else "float32"
    return "bfloat16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "float32"


def _is_int8(metadata: AnyExportMetadata | None) -> bool:
    return metadata is not None and metadata.precision == "int8"


def _refuse_program(path: Path, _precision: Precision) -> OpenFile:
    raise ExportError(
        f"{path}: .pt2 files are not opened, since torch would run code that they may hold; take .onnx or .xml, which"
        " hold none"
    )


def _parse(text: str | None, path: Path) -> AnyExportMetadata | None:
    return parse_metadata(text, path) if text else None


_OPENERS = {".onnx": _open_onnx, ".xml": _open_openvino, ".pt2": _refuse_program}
SUFFIXES = tuple(_OPENERS)
"""Of the files that `open_file` opens."""
