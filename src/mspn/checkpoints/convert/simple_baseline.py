"""Simple baselines' tensors as the authors' and HRNet's code lay them out ("original") and as MMPose does.

What this relies on: heat maps have peak 1 in all of them, as ours. MMPose feeds RGB normalized as ours. The other two
feed OpenCV's BGR (HRNet's code has COLOR_RGB: false for these networks) normalized with ImageNet's RGB numbers in that
order, blue with red's; conversion folds both into the first convolution and its batch norm. The result is the same but
for the outermost pixels of a crop, where the convolution reads padding.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from mspn.checkpoints.convert.external import (
    NORM_TENSORS,
    Converted,
    ExternalTensors,
    read_backbone,
    rescale_stem_input,
)
from mspn.config.model import SimpleBaselineConfig
from mspn.config.protocol import SIMPLE_BASELINE_TEST
from mspn.errors import WeightsError
from mspn.models.base import CHANNEL_DEVIATION, CHANNEL_MEAN
from mspn.models.baselines import SimpleBaseline

_DECONVOLUTION = "deconv_layers.0.weight"


def is_simple_baseline(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint holds deconvolutions at the place where simple baselines have them."""
    return _DECONVOLUTION in tensors or f"head.{_DECONVOLUTION}" in tensors


def convert_simple_baseline(tensors: Mapping[str, Tensor], path: Path) -> Converted:
    """Convert a simple baseline to RGB; its shape is read off the tensors.

    Raises:
        WeightsError: naming the first tensor that is missing or left over.
    """
    is_original = _DECONVOLUTION in tensors
    backbone, head = ("", "") if is_original else ("backbone.", "head.")
    layout = "original" if is_original else "mmpose"
    stem, up, final = f"{backbone}conv1.weight", f"{head}{_DECONVOLUTION}", f"{head}final_layer.weight"
    for name in (stem, up, final):
        if name not in tensors or tensors[name].ndim != 4:
            raise WeightsError(f"{path} has no convolution {name!r}; it is no simple baseline, or is cut short")
    config = SimpleBaselineConfig(
        backbone=read_backbone(tensors, f"{backbone}layer", "conv3", path),
        stem_channels=tensors[stem].shape[0],
        up_channels=tensors[up].shape[1],
        num_keypoints=tensors[final].shape[0],
    )
    # PyTorch before 0.4.1 did not count batches.
    counts = any(name.endswith("num_batches_tracked") for name in tensors)
    external = ExternalTensors(tensors, path, f"simple baseline of the {layout} layout")
    with torch.device("meta"):
        network = SimpleBaseline(config)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    converted = {}
    for name in ("weight", "bias"):
        converted[f"head.{name}"] = external.take(f"{head}final_layer.{name}", shapes[f"head.{name}"])
    for unit in _units(shapes):
        conv, norm = _external_names(unit, backbone, head)
        converted[f"{unit}.conv.weight"] = external.take(f"{conv}.weight", shapes[f"{unit}.conv.weight"])
        for name in NORM_TENSORS:
            is_missing = name == "num_batches_tracked" and not counts
            shape = shapes[f"{unit}.norm.{name}"]
            converted[f"{unit}.norm.{name}"] = torch.tensor(0) if is_missing else external.take(f"{norm}.{name}", shape)
    external.check_nothing_left()
    if is_original:
        _feed_rgb(converted)
    return Converted(network, converted, SIMPLE_BASELINE_TEST, f"simple baseline, {layout} layout")


def _feed_rgb(converted: dict[str, Tensor]) -> None:
    """Make the first convolution of a network that was fed BGR see our RGB."""
    mean, deviation = torch.tensor(CHANNEL_MEAN), torch.tensor(CHANNEL_DEVIATION)
    converted["stem.conv.conv.weight"] = converted["stem.conv.conv.weight"].flip(1)
    # Red is (red - mean[2]) / deviation[2] to them and (red - mean[0]) / deviation[0] to us.
    rescale_stem_input(converted, scale=deviation / deviation.flip(0), shift=(mean - mean.flip(0)) / deviation.flip(0))


def _units(names: Iterable[str]) -> list[str]:
    """Prefixes of all convolutions with batch norm, of the names of all tensors."""
    return [name.removesuffix(".conv.weight") for name in names if name.endswith(".conv.weight")]


def _external_names(unit: str, backbone: str, head: str) -> tuple[str, str]:
    """Prefixes of a unit's convolution and batch norm."""
    if unit == "stem.conv":
        return f"{backbone}conv1", f"{backbone}bn1"
    if match := re.fullmatch(r"up\.(\d)", unit):
        first = 3 * int(match[1])
        return f"{head}deconv_layers.{first}", f"{head}deconv_layers.{first + 1}"
    match = re.fullmatch(r"down\.layers\.(\d)\.(\d+)\.(?:conv(\d)|shortcut)", unit)
    assert match is not None, unit
    block = f"{backbone}layer{int(match[1]) + 1}.{match[2]}"
    if match[3] is None:
        return f"{block}.downsample.0", f"{block}.downsample.1"
    return f"{block}.conv{match[3]}", f"{block}.bn{match[3]}"
