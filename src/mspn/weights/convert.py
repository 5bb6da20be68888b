"""Conversion between our tensors and those of the released code and of MMPose."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from mspn.config import MMPOSE_TEST, ModelConfig, Recipe
from mspn.files import replacing
from mspn.loss import RELEASED_PEAK
from mspn.model.network import MSPN
from mspn.skeleton import SKELETONS, unnamed_skeleton
from mspn.weights.checkpoint import Checkpoint, Header, WeightsError
from mspn.weights.foreign_file import read_foreign_file

Layout = Literal["official", "mmpose"]

_NORM_TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_LEVELS = 4


class _Unit(NamedTuple):
    """One convolution and its batch norm, by prefix in each layout."""

    ours: str
    official: str
    mmpose_conv: str
    mmpose_norm: str

    @property
    def is_stem(self) -> bool:
        return self.ours.startswith("stem.")

    @property
    def is_heatmap(self) -> bool:
        return self.ours.endswith(".predict")


def read_foreign(path: Path) -> Checkpoint:
    """Read a checkpoint of the released code or of MMPose; stages, widths and keypoints are read off the tensors.

    Files are opened with `weights_only=True`: nothing in them is executed.

    Raises:
        WeightsError: if the file is missing, cannot be read safely, or holds no MSPN.
    """
    tensors = _find_tensors(read_foreign_file(path), path)
    layout: Layout = "official" if any(name.startswith("top.") for name in tensors) else "mmpose"
    config = _read_config(tensors, layout, path)
    model = MSPN(config)
    ours = from_layout(tensors, config, layout, path)
    expected = model.state_dict()
    for name, tensor in ours.items():
        if tensor.shape != expected[name].shape:
            raise WeightsError(f"{path}: {name} would be {tuple(tensor.shape)}, not {tuple(expected[name].shape)}")
    model.load_state_dict(ours)
    known = {len(skeleton.keypoints): name for name, skeleton in SKELETONS.items()}
    skeleton = known.get(config.num_keypoints, unnamed_skeleton(config.num_keypoints).name)
    recipe = Recipe(name=path.stem, skeleton=skeleton, model=config)
    if layout == "mmpose":
        recipe = recipe.model_copy(update={"test": MMPOSE_TEST})
    return Checkpoint(Header(recipe=recipe, notes=f"converted from {path.name} ({layout} layout)"), model.eval())


def write_foreign(path: Path, model: MSPN, layout: Layout) -> None:
    """Write a network as a checkpoint of the released code or of MMPose, atomically."""
    tensors = to_layout(model, layout)
    content = {"model": tensors} if layout == "official" else {"state_dict": tensors, "meta": {}}
    with replacing(path) as temporary:
        torch.save(content, temporary)


def from_layout(tensors: Mapping[str, Tensor], config: ModelConfig, layout: Layout, path: Path) -> dict[str, Tensor]:
    """Tensors of another layout as ours: RGB, peak 1, no convolution bias.

    Raises:
        WeightsError: naming the first tensor that is missing or left over.
    """
    left = dict(tensors)
    ours: dict[str, Tensor] = {}

    def take(name: str) -> Tensor:
        if name not in left:
            raise WeightsError(f"{path} has no tensor {name!r}; it is no MSPN of the {layout} layout, or is cut short")
        return left.pop(name)

    for unit in _units(config):
        conv, norm = _prefixes(unit, layout)
        weight = take(f"{conv}.weight")
        ours[f"{unit.ours}.conv.weight"] = weight.flip(1) if unit.is_stem and layout == "official" else weight
        for name in _NORM_TENSORS:
            ours[f"{unit.ours}.norm.{name}"] = take(f"{norm}.{name}")
        if layout == "official":
            # norm(conv + bias) with the mean lowered by the bias is the same without it.
            ours[f"{unit.ours}.norm.running_mean"] = ours[f"{unit.ours}.norm.running_mean"] - take(f"{conv}.bias")
        if unit.is_heatmap:
            for name in ("weight", "bias"):
                ours[f"{unit.ours}.norm.{name}"] = (ours[f"{unit.ours}.norm.{name}"].double() / RELEASED_PEAK).float()
    if left:
        raise WeightsError(f"{path} has the unknown tensor {min(left)!r}; it is another network than MSPN")
    return ours


def to_layout(model: MSPN, layout: Layout) -> "OrderedDict[str, Tensor]":
    """Our tensors in another layout: peak 255, and for the released code BGR and biases of 0.

    Raises:
        WeightsError: for a network without coarse heads, which neither layout knows.
    """
    if not model.config.coarse_heads:
        raise WeightsError(f"a network without coarse heads has no {layout} layout; train one with model.coarse_heads")
    ours = model.state_dict()
    tensors: OrderedDict[str, Tensor] = OrderedDict()
    for unit in _units(model.config):
        conv, norm = _prefixes(unit, layout)
        weight = ours[f"{unit.ours}.conv.weight"]
        tensors[f"{conv}.weight"] = weight.flip(1) if unit.is_stem and layout == "official" else weight
        if layout == "official":
            tensors[f"{conv}.bias"] = torch.zeros(weight.shape[0])
        for name in _NORM_TENSORS:
            tensor = ours[f"{unit.ours}.norm.{name}"]
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


def _stage_unit(ours: str, stage: int, part: str) -> Iterable[_Unit]:
    official, mmpose = f"stage{stage}", f"backbone.multi_stage_mspn.{stage}"
    if match := re.fullmatch(r"down\.layers\.(\d+)\.(\d+)\.shortcut", part):
        block = f"downsample.layer{int(match[1]) + 1}.{match[2]}.downsample"
        return [_unit(ours, f"{official}.{block}", f"{mmpose}.{block}")]
    if match := re.fullmatch(r"down\.layers\.(\d+)\.(\d+)\.conv(\d)", part):
        block = f"downsample.layer{int(match[1]) + 1}.{match[2]}"
        return [
            _Unit(
                ours,
                f"{official}.{block}.conv_bn_relu{match[3]}",
                f"{mmpose}.{block}.conv{match[3]}",
                f"{mmpose}.{block}.bn{match[3]}",
            )
        ]
    if match := re.fullmatch(r"up\.(\d+)\.(lateral|from_coarser)", part):
        unit = f"upsample.up{_LEVELS - int(match[1])}"
        theirs = {"lateral": ("u_skip", "in_skip"), "from_coarser": ("up_conv", "up_conv")}[match[2]]
        return [_unit(ours, f"{official}.{unit}.{theirs[0]}", f"{mmpose}.{unit}.{theirs[1]}")]
    match = re.fullmatch(r"heads\.(\d+)\.(reduce|predict)", part)
    assert match is not None, part
    level, layer = int(match[1]), {"reduce": 0, "predict": 1}[match[2]]
    head = f"head.predict_layers.{_LEVELS * stage + _LEVELS - 1 - level}.conv_layers.{layer}"
    return [_unit(ours, f"{official}.upsample.up{_LEVELS - level}.res_conv{layer + 1}", head)]


def _link_unit(ours: str, stage: int, part: str) -> _Unit:
    official, mmpose = f"stage{stage}.upsample", f"backbone.multi_stage_mspn.{stage}.upsample"
    if part == "next_input":
        return _unit(ours, f"{official}.up4.cross_conv", f"{mmpose}.up4.cross_conv")
    match = re.fullmatch(r"(from_down|from_up)\.(\d+)", part)
    assert match is not None, part
    number = {"from_down": 1, "from_up": 2}[match[1]]
    unit = f"up{_LEVELS - int(match[2])}"
    return _unit(ours, f"{official}.{unit}.skip{number}", f"{mmpose}.{unit}.out_skip{number}")


def _unit(ours: str, official: str, mmpose: str) -> _Unit:
    return _Unit(ours, official, f"{mmpose}.conv", f"{mmpose}.bn")


def _find_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    """The network's tensors in a checkpoint, under the names of the current MMPose where they are MMPose's."""
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
            break
    is_table = isinstance(content, dict) and all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    )
    if not is_table:
        raise WeightsError(f"{path} holds no table of tensors; is it a checkpoint of MSPN or MMPose?")
    tensors = {}
    for key, tensor in content.items():
        name = re.sub(r"^keypoint_head\.", "head.", key.removeprefix("module."))
        if not name.startswith("data_preprocessor."):
            tensors[name] = tensor
    return tensors


def _read_config(tensors: Mapping[str, Tensor], layout: Layout, path: Path) -> ModelConfig:
    """Shape of the network, read off its tensors."""
    if layout == "official":
        stage_name, block = r"stage(\d+)\.", "stage0.downsample.layer1.0.conv_bn_relu{}.conv.weight"
        stem, lateral, head = (
            "top.conv.conv.weight",
            "stage0.upsample.up1.u_skip.conv.weight",
            "stage0.upsample.up4.res_conv2.conv.weight",
        )
        aggregation = "stage0.upsample.up1.skip1.conv.weight"
    else:
        stage_name, block = (
            r"backbone\.multi_stage_mspn\.(\d+)\.",
            "backbone.multi_stage_mspn.0.downsample.layer1.0.conv{}.weight",
        )
        stem, head = "backbone.top.top.0.conv.weight", "head.predict_layers.3.conv_layers.1.conv.weight"
        lateral = "backbone.multi_stage_mspn.0.upsample.up1.in_skip.conv.weight"
        aggregation = "backbone.multi_stage_mspn.0.upsample.up1.out_skip1.conv.weight"
    for name in (stem, lateral, head, block.format(1)):
        if name not in tensors or tensors[name].ndim != 4:
            raise WeightsError(f"{path} has no convolution {name!r}; it is no MSPN checkpoint")
    num_stages = 1 + max(int(match[1]) for name in tensors if (match := re.match(stage_name, name)))
    return ModelConfig(
        backbone="resnet50" if block.format(3) in tensors else "resnet18",
        num_stages=num_stages,
        stem_channels=tensors[stem].shape[0],
        up_channels=tensors[lateral].shape[0],
        num_keypoints=tensors[head].shape[0],
        aggregation=num_stages == 1 or aggregation in tensors,
    )
