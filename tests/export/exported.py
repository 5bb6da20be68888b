"""Networks that tests export, each exported once for all tests: torch's exporter takes seconds."""

from pathlib import Path

import pytest

from mspn.checkpoints.format import load_checkpoint
from mspn.export.files import write_export
from mspn.export.graphs import Inside, Source, build_pose_export
from mspn.io.files import sha256_of
from tests.made_once import made_once
from tests.untrained import untrained_weights

WEIGHTS = "untrained.safetensors"


def exported_untrained() -> Path:
    """Folder of the weights and of `untrained.onnx`, which takes pixels and gives keypoints."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    return made_once("exported_untrained", _export_onnx)


def exported_heatmaps() -> Path:
    """Folder of the weights and of `untrained.xml`, which takes normalized crops and gives heat maps."""
    pytest.importorskip("openvino")
    pytest.importorskip("onnxscript")
    return made_once("exported_heatmaps", _export_heatmaps)


def _export_onnx(folder: Path) -> None:
    _export(untrained_weights(folder), ".onnx", Inside(preprocessing=True, decoding=True))


def _export_heatmaps(folder: Path) -> None:
    _export(untrained_weights(folder), ".xml", Inside())


def _export(weights: Path, suffix: str, inside: Inside) -> None:
    export = build_pose_export(load_checkpoint(weights), Source("untrained", sha256_of(weights)), inside)
    write_export(export, weights.with_suffix(suffix))
