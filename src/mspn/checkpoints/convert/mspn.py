"""MSPN's tensors as the released code and MMPose lay them out."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mspn.checkpoints.convert.external import NORM_TENSORS, Converted, ExternalTensors, Layout, read_backbone
from mspn.config.model import ModelConfig
from mspn.config.protocol import FAITHFUL_TEST, MMPOSE_TEST
from mspn.errors import WeightsError
from mspn.models.backbones.resnet import RESNETS
from mspn.models.base import RELEASED_PEAK
from mspn.models.mspn import MSPN

_LEVELS = 4
_AGGREGATION = r"\.(out_)?skip[12]\."


class _Unit(NamedTuple):
    """One convolution and its batch norm, by prefix in each layout."""

    name: str
    official: str
    mmpose_conv: str
    mmpose_norm: str

    @property
    def is_stem(self) -> bool:
        return self.name.startswith("stem.")

    @property
    def is_heatmap(self) -> bool:
        return self.name.endswith(".predict")


def convert_mspn(tensors: Mapping[str, Tensor], path: Path) -> Converted:
    """Convert an MSPN of the released code or of MMPose; its shape is read off the tensors.

    Raises:
        WeightsError: naming the first tensor that is missing or left over.
    """
    layout: Layout = "official" if any(name.startswith("top.") for name in tensors) else "mmpose"
    config = _read_config(tensors, layout, path)
    test = MMPOSE_TEST if layout == "mmpose" else FAITHFUL_TEST
    return Converted(config, from_layout(tensors, config, layout, path), test, f"{layout} layout")


def from_layout(tensors: Mapping[str, Tensor], config: ModelConfig, layout: Layout, path: Path) -> dict[str, Tensor]:
    """Tensors of another layout in that of this package: RGB, peak 1, no convolution bias.

    Raises:
        WeightsError: naming the first tensor that is missing or left over.
    """
    external = ExternalTensors(tensors, path, f"MSPN of the {layout} layout")
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in MSPN(config).state_dict().items()}
    converted: dict[str, Tensor] = {}
    for unit in _units(config):
        conv, norm = _prefixes(unit, layout)
        weight = external.take(f"{conv}.weight", shapes[f"{unit.name}.conv.weight"])
        converted[f"{unit.name}.conv.weight"] = weight.flip(1) if unit.is_stem and layout == "official" else weight
        for name in NORM_TENSORS:
            converted[f"{unit.name}.norm.{name}"] = external.take(f"{norm}.{name}", shapes[f"{unit.name}.norm.{name}"])
        if layout == "official":
            # norm(conv + bias) with the mean lowered by the bias is the same without it.
            mean = f"{unit.name}.norm.running_mean"
            converted[mean] = converted[mean] - external.take(f"{conv}.bias", shapes[mean])
        if unit.is_heatmap:
            for name in ("weight", "bias"):
                converted[f"{unit.name}.norm.{name}"] = (
                    converted[f"{unit.name}.norm.{name}"].double() / RELEASED_PEAK
                ).float()
    external.check_nothing_left()
    return converted


def to_layout(model: MSPN, layout: Layout) -> "OrderedDict[str, Tensor]":
    """Our tensors in another layout: peak 255, and for the released code BGR and biases of 0.

    Raises:
        WeightsError: for a network without coarse heads or with a backbone that neither layout knows.
    """
    config = model.config
    if config.stages:
        raise WeightsError(f"a network whose stages differ in their backbone has no {layout} layout")
    if config.backbone not in RESNETS or config.bottleneck_stride != "3x3":
        raise WeightsError(
            f"a network of {config.backbone}, size halved by {config.bottleneck_stride} convolutions, has no {layout}"
            " layout, which is for ResNets that halve it by 3x3"
        )
    if not config.coarse_heads:
        raise WeightsError(f"a network without coarse heads has no {layout} layout; train one with model.coarse_heads")
    state = model.state_dict()
    tensors: OrderedDict[str, Tensor] = OrderedDict()
    for unit in _units(config):
        conv, norm = _prefixes(unit, layout)
        weight = state[f"{unit.name}.conv.weight"]
        tensors[f"{conv}.weight"] = weight.flip(1) if unit.is_stem and layout == "official" else weight
        if layout == "official":
            tensors[f"{conv}.bias"] = torch.zeros(weight.shape[0])
        for name in NORM_TENSORS:
            tensor = state[f"{unit.name}.norm.{name}"]
            is_scaled = unit.is_heatmap and name in ("weight", "bias")
            tensors[f"{norm}.{name}"] = _times_peak(tensor) if is_scaled else tensor
    return tensors


def _times_peak(values: Tensor) -> Tensor:
    """Multiply by 255 so that dividing gives the very same float32 back.

    One float32 in 250 has no float32 multiple that does; a tensor with such a value is kept in float64.
    """
    wide = values.double() * RELEASED_PEAK
    narrow = wide.float()
    infinity = torch.tensor(float("inf"))
    for candidate in (torch.nextafter(narrow, infinity), torch.nextafter(narrow, -infinity)):
        narrow = torch.where(_over_peak(narrow) == values, narrow, candidate)
    return narrow if bool((_over_peak(narrow) == values).all()) else wide


def _over_peak(values: Tensor) -> Tensor:
    return (values.double() / RELEASED_PEAK).float()


def _prefixes(unit: _Unit, layout: Layout) -> tuple[str, str]:
    if layout == "official":
        return f"{unit.official}.conv", f"{unit.official}.bn"
    return unit.mmpose_conv, unit.mmpose_norm


def _units(config: ModelConfig) -> Iterator[_Unit]:
    """Every convolution of a network, as all three layouts name it."""
    yield _unit("stem.conv", "top.conv", "backbone.top.top.0")
    with torch.device("meta"):
        names = [
            name.removesuffix(".conv.weight") for name in MSPN(config).state_dict() if name.endswith(".conv.weight")
        ]
    for name in names:
        if match := re.fullmatch(r"stages\.(\d+)\.(.+)", name):
            yield from _stage_unit(name, int(match[1]), match[2])
        elif match := re.fullmatch(r"links\.(\d+)\.(.+)", name):
            yield _link_unit(name, int(match[1]), match[2])


def _stage_unit(name: str, stage: int, part: str) -> Iterable[_Unit]:
    official, mmpose = f"stage{stage}", f"backbone.multi_stage_mspn.{stage}"
    if match := re.fullmatch(r"down\.layers\.(\d+)\.(\d+)\.shortcut", part):
        block = f"downsample.layer{int(match[1]) + 1}.{match[2]}.downsample"
        return [_unit(name, f"{official}.{block}", f"{mmpose}.{block}")]
    if match := re.fullmatch(r"down\.layers\.(\d+)\.(\d+)\.conv(\d)", part):
        block = f"downsample.layer{int(match[1]) + 1}.{match[2]}"
        return [
            _Unit(
                name,
                f"{official}.{block}.conv_bn_relu{match[3]}",
                f"{mmpose}.{block}.conv{match[3]}",
                f"{mmpose}.{block}.bn{match[3]}",
            )
        ]
    if match := re.fullmatch(r"up\.(\d+)\.(lateral|from_coarser)", part):
        unit = f"upsample.up{_LEVELS - int(match[1])}"
        names = {"lateral": ("u_skip", "in_skip"), "from_coarser": ("up_conv", "up_conv")}[match[2]]
        return [_unit(name, f"{official}.{unit}.{names[0]}", f"{mmpose}.{unit}.{names[1]}")]
    match = re.fullmatch(r"heads\.(\d+)\.(reduce|predict)", part)
    assert match is not None, part
    level, layer = int(match[1]), {"reduce": 0, "predict": 1}[match[2]]
    head = f"head.predict_layers.{_LEVELS * stage + _LEVELS - 1 - level}.conv_layers.{layer}"
    return [_unit(name, f"{official}.upsample.up{_LEVELS - level}.res_conv{layer + 1}", head)]


def _link_unit(name: str, stage: int, part: str) -> _Unit:
    official, mmpose = f"stage{stage}.upsample", f"backbone.multi_stage_mspn.{stage}.upsample"
    if part == "next_input":
        return _unit(name, f"{official}.up4.cross_conv", f"{mmpose}.up4.cross_conv")
    match = re.fullmatch(r"(from_down|from_up)\.(\d+)", part)
    assert match is not None, part
    number = {"from_down": 1, "from_up": 2}[match[1]]
    unit = f"up{_LEVELS - int(match[2])}"
    return _unit(name, f"{official}.{unit}.skip{number}", f"{mmpose}.{unit}.out_skip{number}")


def _unit(name: str, official: str, mmpose: str) -> _Unit:
    return _Unit(name, official, f"{mmpose}.conv", f"{mmpose}.bn")


def _read_config(tensors: Mapping[str, Tensor], layout: Layout, path: Path) -> ModelConfig:
    """Shape of the network, read off its tensors."""
    if layout == "official":
        stage_name, layers, third = r"stage(\d{1,4})\.downsample\.", "stage0.downsample.layer", "conv_bn_relu3"
        stem, lateral, head = (
            "top.conv.conv.weight",
            "stage0.upsample.up1.u_skip.conv.weight",
            "stage0.upsample.up4.res_conv2.conv.weight",
        )
    else:
        stage_name = r"backbone\.multi_stage_mspn\.(\d{1,4})\.downsample\."
        layers, third = "backbone.multi_stage_mspn.0.downsample.layer", "conv3"
        stem, head = "backbone.top.top.0.conv.weight", "head.predict_layers.3.conv_layers.1.conv.weight"
        lateral = "backbone.multi_stage_mspn.0.upsample.up1.in_skip.conv.weight"
    for name in (stem, lateral, head):
        if name not in tensors or tensors[name].ndim != 4:
            raise WeightsError(f"{path} has no convolution {name!r}; it is no MSPN checkpoint")
    stages = {int(match[1]) for name in tensors if (match := re.match(stage_name, name))}
    num_stages = next(number for number in range(1, len(stages) + 2) if number not in stages)
    return ModelConfig(
        backbone=read_backbone(tensors, layers, third, path),
        num_stages=num_stages,
        stem_channels=tensors[stem].shape[0],
        up_channels=tensors[lateral].shape[0],
        num_keypoints=tensors[head].shape[0],
        aggregation=num_stages == 1 or any(re.search(_AGGREGATION, name) for name in tensors),
    )
