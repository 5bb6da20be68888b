"""Pose networks as ONNX, for the libraries that run those."""

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from mspn.errors import InvalidValueError
from mspn.inference.fold import find_unused, fold_norms
from mspn.models.base import PoseNetwork, normalize

CROPS = "crops"
HEATMAPS = "heatmaps"
_BATCH = 2
_OPSET = 17


class _FromPixels(nn.Module):
    """RGB uint8 crops (B, H, W, 3) to the last heat maps (B, K, H/4, W/4)."""

    def __init__(self, network: PoseNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> Tensor:
        return self.network.final_heatmaps(normalize(crops))


def export_onnx(network: PoseNetwork) -> bytes:
    """An ONNX file in float32, norms folded: uint8 `crops` (B, H, W, 3) of the network's size to its last `heatmaps`.

    Args:
        network: in any mode, on the CPU; not modified.

    Raises:
        ValueError: if onnx is not installed.
    """
    folded = fold_norms(network, find_unused(network))
    crops = torch.zeros(_BATCH, *network.config.input_size, 3, dtype=torch.uint8)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        # Warnings that sizes are fixed, as intended, and of a newer exporter, which takes three times as long.
        warnings.simplefilter("ignore")
        path = Path(folder) / "network.onnx"
        try:
            torch.onnx.export(
                _FromPixels(folded).eval(),
                (crops,),
                path,
                input_names=[CROPS],
                output_names=[HEATMAPS],
                dynamic_axes={name: {0: "people"} for name in (CROPS, HEATMAPS)},
                opset_version=_OPSET,
                dynamo=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise InvalidValueError("this engine takes networks in onnx's format; pip install 'mspn[onnx]'") from error
        return path.read_bytes()
