"""Exports as files: ONNX, OpenVINO's .xml and .bin, torch's .pt2, CoreML's .mlpackage.

Digests of the tensors in them reveal a weight that was changed, even where no answer shows it.
"""

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import ExportedProgram

from mspn.errors import ExportError, import_extra
from mspn.export.graphs import Export, Inside, ScoredBoxes
from mspn.export.onnx_file import (
    add_suppression,
    forget_origin,
    halve,
    make_onnx,
    nodes_in_float32,
    trace,
    write_metadata,
)
from mspn.inference.devices import import_openvino, openvino_core
from mspn.inference.exported_files import (
    METADATA_KEY,
    AnyExportMetadata,
    DetectorExportMetadata,
    FileInput,
    OpenFile,
    Outputs,
    parse_metadata,
)
from mspn.inference.quantization import measure_ranges, quantize
from mspn.io.files import replacing, sha256_of
from mspn.models.base import normalize
from mspn.structures.shapes import UInt8

SUFFIXES = (".onnx", ".xml", ".pt2", ".mlpackage")


def check_exportable(path: Path, inside: Inside, *, is_detector: bool) -> None:
    """Refuse what a file cannot hold, before the network is loaded.

    Raises:
        ExportError: naming the endings that there are, or what the file cannot hold.
    """
    if path.suffix not in SUFFIXES:
        raise ExportError(f"{path}: the ending says what to write; there are {', '.join(SUFFIXES)}")
    is_from_onnx = path.suffix in (".onnx", ".xml")
    if is_detector and inside.decoding and not is_from_onnx:
        raise ExportError(
            f"{path}: a detector's decoding ends in non-maximum suppression, which {path.suffix} does not hold; write"
            " .onnx or .xml, or leave the decoding out"
        )
    if inside.precision == "float16" and path.suffix == ".pt2":
        raise ExportError(f"{path}: .pt2 files keep weights in 32 bits; write another format, or leave --half out")
    if inside.precision == "int8" and not is_from_onnx:
        raise ExportError(f"{path}: {path.suffix} does not hold int8; write .onnx or .xml")
    if inside.precision == "int8" and is_detector:
        raise ExportError(f"{path}: int8 is for pose networks; export the detector in float32 or with half precision")
    if path.suffix == ".mlpackage" and is_detector:
        raise ExportError(f"{path}: coremltools does not convert the detector; write .onnx or .xml")
    if path.suffix == ".mlpackage" and (inside.preprocessing or inside.decoding):
        raise ExportError(
            f"{path}: CoreML takes no arrays of bytes, and coremltools does not convert the decoding; leave both out"
        )


def write_export(export: Export, path: Path, calibration_crops: UInt8[Tensor, "N H W 3"] | None = None) -> None:
    """Write a file in the format of its ending, atomically; of OpenVINO, its .bin too.

    Args:
        export: what to write.
        path: of the file; of CoreML, of the folder.
        calibration_crops: of typical people, for int8.

    Raises:
        ExportError: if a library is not installed.
        FileError: if there is no room for it.
    """
    metadata = export.metadata
    program = trace(export.graph, metadata.input)
    match path.suffix:
        case ".pt2":
            text = _text(metadata, digest_of_program(program))
            with replacing(path) as temporary:
                torch.export.save(program, temporary, extra_files={METADATA_KEY: text})
        case ".mlpackage":
            _write_coreml(program, metadata, path)
        case ".xml":
            _write_openvino(_onnx_model(program, export, calibration_crops), metadata, path)
        case _:
            model = _onnx_model(program, export, calibration_crops)
            with replacing(path) as temporary:
                temporary.write_bytes(model.SerializeToString())


def _onnx_model(
    program: ExportedProgram,
    export: Export,
    calibration_crops: UInt8[Tensor, "N H W 3"] | None,
) -> Any:
    metadata = export.metadata
    is_suppressed = isinstance(metadata, DetectorExportMetadata) and metadata.decoding
    model = make_onnx(program, metadata, ScoredBoxes._fields if is_suppressed else metadata.outputs)
    if metadata.precision == "int8":
        assert calibration_crops is not None
        crops = calibration_crops if metadata.input.type == "uint8" else normalize(calibration_crops)
        model = _quantized(model, crops)
    elif metadata.precision == "float16":
        model = halve(model, export.network)
    if isinstance(metadata, DetectorExportMetadata) and metadata.decoding:
        add_suppression(model, metadata)
    forget_origin(model)
    write_metadata(model, _text(metadata, digest_of_onnx(model)))
    return model


def _quantized(model: Any, crops: Tensor) -> Any:
    exported = model.SerializeToString()
    quantized = quantize(exported, measure_ranges(exported, crops), nodes_in_float32(model))
    return type(model).FromString(quantized)


def _write_openvino(model: Any, metadata: AnyExportMetadata, path: Path) -> None:
    missing = ExportError(f"writing {path} needs openvino; pip install 'mspn[openvino]'")
    openvino = import_openvino(missing)
    converted = openvino_core(missing).read_model(model.SerializeToString(), b"")

    def save(digest: str) -> str:
        converted.set_rt_info(_text(metadata, digest), METADATA_KEY)
        openvino.save_model(converted, description, compress_to_fp16=False)
        return sha256_of(description.with_suffix(".bin"))

    # The tensors take their place first: whoever finds the description finds them, too.
    with replacing(path) as description, replacing(path.with_suffix(".bin")) as weights:
        save(save(""))  # the description holds the digest of the tensors that are written beside it
        description.with_suffix(".bin").replace(weights)


def _text(metadata: AnyExportMetadata, tensors_sha256: str) -> str:
    return metadata.model_copy(update={"tensors_sha256": tensors_sha256}).model_dump_json()


def _write_coreml(program: ExportedProgram, metadata: AnyExportMetadata, path: Path) -> None:
    coremltools = import_extra(
        "coremltools", ExportError(f"writing {path} needs coremltools; pip install coremltools, which Linux has, too")
    )
    precisions = coremltools.precision
    converted = coremltools.convert(
        program.run_decompositions({}),
        outputs=[coremltools.TensorType(name=name) for name in metadata.outputs],
        minimum_deployment_target=coremltools.target.iOS17,
        compute_precision=precisions.FLOAT16 if metadata.precision == "float16" else precisions.FLOAT32,
    )
    description = converted.get_spec()
    coremltools.utils.rename_feature(description, description.description.input[0].name, metadata.input.name)
    converted = coremltools.models.MLModel(description, weights_dir=converted.weights_dir, skip_model_load=True)
    converted.user_defined_metadata[METADATA_KEY] = _text(metadata, "")
    with TemporaryDirectory(dir=path.parent) as folder:
        converted.save(str(Path(folder) / path.name))
        if path.is_dir():
            shutil.rmtree(path)
        (Path(folder) / path.name).replace(path)


def digest_of_file(path: Path) -> str:
    """SHA-256 of the tensors in a .onnx or .xml file.

    Raises:
        ExportError: if onnx is not installed.
    """
    match path.suffix.lower():
        case ".xml":
            return sha256_of(path.with_suffix(".bin"))
        case _:
            onnx = import_extra("onnx", ExportError(f"proving {path} needs onnx; pip install 'mspn[onnx]'"))
            return digest_of_onnx(onnx.load(path))


def digest_of_program(program: ExportedProgram) -> str:
    """SHA-256 of the tensors of a traced graph."""
    tensors = {**program.state_dict, **program.constants}
    return _digest((name, tensors[name].cpu().numpy()) for name in sorted(tensors))


def digest_of_onnx(model: Any) -> str:
    """SHA-256 of the tensors of an ONNX model."""
    to_array = import_extra("onnx.numpy_helper", ExportError("onnx is not installed")).to_array
    return _digest((tensor.name, to_array(tensor)) for tensor in model.graph.initializer)


def _digest(tensors: Iterable[tuple[str, np.ndarray]]) -> str:
    digest = hashlib.sha256()
    for name, values in tensors:
        digest.update(f"{name} {values.dtype} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def open_program(path: Path) -> OpenFile:
    """Open a .pt2 file that this process has just written, and no other: torch runs code that such files hold.

    Raises:
        ExportError: if torch cannot read it.
    """
    texts: dict[str, Any] = {METADATA_KEY: ""}
    try:
        program = torch.export.load(path, extra_files=texts)
    except Exception as error:  # torch does not say which
        raise ExportError(f"{path} is no file of torch.export that torch {torch.__version__} can read") from error
    module = program.module()
    metadata = parse_metadata(texts[METADATA_KEY], path) if texts[METADATA_KEY] else None
    names = metadata.outputs if metadata else tuple(map(str, program.graph_signature.user_outputs))

    @torch.inference_mode()
    def answer(runs: Sequence[Mapping[str, np.ndarray]]) -> list[Outputs]:
        answers = [module(*map(torch.from_numpy, inputs.values())) for inputs in runs]
        tuples = [answer if isinstance(answer, tuple) else (answer,) for answer in answers]
        return [{name: value.numpy() for name, value in zip(names, values, strict=True)} for values in tuples]

    taken = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    inputs = tuple(
        FileInput(
            node.name,
            tuple(side if isinstance(side, int) else None for side in node.meta["val"].shape),
            node.meta["val"].dtype == torch.uint8,
        )
        for node in taken
    )
    return OpenFile(path, "torch", "float32", answer, inputs, metadata)
