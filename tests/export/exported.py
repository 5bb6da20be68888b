"""Networks that tests export, each exported once for all tests: torch's exporter takes seconds."""

from pathlib import Path

import pytest

from mspn.checkpoints.format import load_checkpoint
from mspn.export.build import Inside, Source, build_pose_export
from mspn.export.files import write_export
from tests.made_once import made_once
from tests.untrained import untrained_weights

PIXELS_TO_KEYPOINTS = Inside(preprocessing=True, decoding=True)


def exported_untrained() -> Path:
    """Folder of `untrained.safetensors` and of `untrained.onnx`, which takes pixels and gives keypoints."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    return made_once("exported_untrained", _export_untrained)


def _export_untrained(folder: Path) -> None:
    weights = untrained_weights(folder)
    export = build_pose_export(load_checkpoint(weights), Source("untrained", "0" * 64), PIXELS_TO_KEYPOINTS)
    write_export(export, folder / "untrained.onnx")
