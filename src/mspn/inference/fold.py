"""Prepare a trained network for inference: fold batch norms, drop unused parts, choose the memory layout.

For CPUs, convolutions' weights are prepacked for oneDNN, ReLU and addition fused. torch packs weights again at each
call and makes another pass over the result for ReLU and for addition. The operators used here are those that
torch.compile generates; they need no compiler. Libraries that run ONNX get the folded network in that format.
"""

import copy
import platform
import warnings
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import NoReturn, SupportsIndex

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mspn.errors import InvalidValueError
from mspn.models.base import Network, PoseNetwork, normalize, place


def fold_norms(network: Network, unused: Iterable[nn.Module] = ()) -> Network:
    """A copy of a network for inference, with batch norms folded into their convolutions.

    Pairs are children named `conv` and `norm`, as in `ConvNorm`. Outputs differ by rounding only.

    Args:
        network: in any mode; not modified.
        unused: modules to leave out of the copy, since their outputs are not needed.
    """
    folded = copy.deepcopy(network, {id(module): nn.Identity() for module in unused}).eval()
    for module in folded.modules():
        conv, norm = (getattr(module, name, None) for name in ("conv", "norm"))
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
            with torch.no_grad():
                module.conv = fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d))
            module.norm = nn.Identity()
    return folded


_SMALL_CROP = 64


def prepare(
    network: Network, device: torch.device, dtype: torch.dtype, unused: frozenset[nn.Module] = frozenset()
) -> Network:
    """A copy that computes the same in fewer steps: norms folded, all in one number format, convolutions packed.

    Args:
        network: in any mode; not modified.
        device: to compute on.
        dtype: of the copy's inputs, weights and outputs.
        unused: modules to leave out of the copy.
    """
    folded = place(fold_norms(network, unused).to(dtype), device)
    return prepack_convs(folded) if can_prepack(device, dtype) else folded


@torch.inference_mode()
def find_unused(network: PoseNetwork) -> frozenset[nn.Module]:
    """Modules that the last heat maps do not need, such as heads of coarser levels and of earlier stages.

    Args:
        network: in any mode; not modified. Other threads may be using it, so a copy with the same tensors runs instead
            (on the meta device it would take none, but torch imports its compiler for that, which takes seconds).
    """
    tensors = [*network.parameters(), *network.buffers()]
    twin = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors}).eval()
    originals = dict(zip(twin.modules(), network.modules(), strict=True))
    unused = {module for module in twin.modules() if list(module.parameters(recurse=False))}
    for module in list(unused):
        module.register_forward_pre_hook(lambda module, _inputs: unused.discard(module))
    twin.final_heatmaps(torch.zeros(1, 3, _SMALL_CROP, _SMALL_CROP, device=tensors[0].device))
    return frozenset(originals[module] for module in unused)


_ACTIVATIONS: dict[type, tuple[str, list[float]]] = {
    nn.ReLU: ("relu", []),
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    NoneType: ("none", []),
}


_OPERATORS = ("_reorder_convolution_weight", "_get_mkldnn_serialized_md", "_convolution_pointwise_")


def can_prepack(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch has oneDNN and its fused operators here, and the processor supports them."""
    operators = torch.ops.mkldnn
    return (
        device.type == "cpu"
        and platform.machine() in ("x86_64", "AMD64")
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        and all(hasattr(operators, name) for name in _OPERATORS)
        and (dtype != torch.bfloat16 or operators._is_mkldnn_bf16_supported())
    )


_MAX_SHAPES = 64
"""Of inputs, whose layouts a convolution remembers."""


class OneDnnConv(nn.Module):
    """A convolution on the CPU that may end in an activation; it cannot be trained.

    Weights are packed for the shape of an input when one comes that has it: which layout is the fast one depends on
    it, and weights in another one take up to six times as long. Shapes with the same layout share them.
    """

    def __init__(self, conv: nn.Conv2d, activation: nn.Module | None = None) -> None:
        super().__init__()
        self._weight = conv.weight.detach()
        self._bias = None if conv.bias is None else conv.bias.detach()
        self._packed_by_shape: dict[torch.Size, Tensor] = {}
        self._packed_by_layout: dict[bytes, Tensor] = {}
        self._geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self._activation = _ACTIVATIONS[type(activation)]

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise InvalidValueError(
            "a network that is prepacked for this machine cannot be pickled or copied; pickle the PoseEstimator, which"
            " keeps its settings, or make the runner or detector anew in each process"
        )

    def forward(self, x: Tensor) -> Tensor:
        convolved: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._packed_weight(x), self._bias, *self._geometry, *self._activation, ""
        )
        return convolved

    def add_and_relu(self, x: Tensor, other: Tensor) -> Tensor:
        """ReLU of the output plus another tensor, which is overwritten with the result."""
        merged: Tensor = torch.ops.mkldnn._convolution_pointwise_.binary(
            other, x, self._packed_weight(x), self._bias, *self._geometry, "add", 1.0, "relu", [], ""
        )
        return merged

    def _packed_weight(self, x: Tensor) -> Tensor:
        packed = self._packed_by_shape.get(x.shape)
        if packed is None:
            if len(self._packed_by_shape) >= _MAX_SHAPES:
                self._packed_by_shape.clear()
            packed = self._packed_by_shape[x.shape] = self._pack(x.shape)
        return packed

    def _pack(self, shape: torch.Size) -> Tensor:
        packed: Tensor = torch.ops.mkldnn._reorder_convolution_weight(self._weight, *self._geometry, shape)
        layout = torch.ops.mkldnn._get_mkldnn_serialized_md(packed)
        return self._packed_by_layout.setdefault(layout.numpy().tobytes(), packed)


class OneDnnConvNorm(nn.Module):
    """Replaces a `ConvNorm` whose norm is folded."""

    def __init__(self, conv: OneDnnConv) -> None:
        super().__init__()
        self.conv = conv
        self.norm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        convolved: Tensor = self.conv(x)
        return convolved

    def add_and_relu(self, x: Tensor, other: Tensor) -> Tensor:
        """As that of `ConvNorm`."""
        return self.conv.add_and_relu(x, other)


def prepack_convs(network: Network) -> Network:
    """Replace the convolutions of a network with folded norms by packed ones, in place; it cannot be trained then."""
    for name, child in list(network.named_children()):
        conv = getattr(child, "conv", None)
        if isinstance(child, nn.Conv2d):
            setattr(network, name, OneDnnConv(child))
        elif isinstance(conv, nn.Conv2d) and isinstance(child.norm, nn.Identity):
            setattr(network, name, OneDnnConvNorm(OneDnnConv(conv, getattr(child, "relu", None))))
        else:
            prepack_convs(child)
    return network


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
