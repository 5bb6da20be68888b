"""Conversion of checkpoints: MSPN and RSN (the released codes, MMPose), in reverse, too; simple baselines.

Simple baselines' tensors are laid out as in the authors' and HRNet's code ("original"), or as in MMPose. Heat maps
have peak 1 in all of them, as ours. MMPose feeds RGB normalized as ours. The other two feed OpenCV's BGR (HRNet's
code has COLOR_RGB: false for these networks) normalized with ImageNet's RGB numbers in that order, blue with red's;
conversion folds both into the first convolution and its batch norm. The result is the same but for the outermost
pixels of a crop, where the convolution reads padding.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from mspn.checkpoints.external import (
    NORM_TENSORS,
    Converted,
    ExternalTensors,
    Layout,
    count_blocks,
    find_units,
    read_backbone,
    rescale_stem_input,
)
from mspn.checkpoints.format import Checkpoint, save_weights
from mspn.checkpoints.index import IndexEntry
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.checkpoints.torch_file import read_torch_file
from mspn.config.model import CHANNEL_DEVIATION, CHANNEL_MEAN, BackboneConfig, ModelConfig, SimpleBaselineConfig
from mspn.config.protocol import FAITHFUL_TEST, MMPOSE_TEST, SIMPLE_BASELINE_TEST
from mspn.config.recipe import Recipe
from mspn.config.recipes import RECIPES
from mspn.errors import WeightsError
from mspn.io.files import replacing
from mspn.models.backbones import BRANCHES, RESNETS, RSNS, Bottleneck, find_rsn, plan_blocks
from mspn.models.base import RELEASED_PEAK, PoseNetwork
from mspn.models.baselines import SimpleBaseline
from mspn.models.mspn import MSPN
from mspn.structures.settings import first_problem
from mspn.structures.skeleton import SKELETONS, unnamed_skeleton


def read_external(path: Path) -> Checkpoint:
    """Read an MSPN or RSN of the released codes or of MMPose, or a simple baseline.

    Stages, depths, widths and keypoints are read off the tensors. The crop size is not in them: the default is taken.

    Files are opened with `weights_only=True`: nothing in them is executed.

    Raises:
        WeightsError: if the file is missing, cannot be read safely, or holds another network.
    """
    tensors = _find_tensors(read_torch_file(path), path)
    try:
        converted = (convert_simple_baseline if is_simple_baseline(tensors) else convert_mspn)(tensors, path)
    except ValidationError as error:
        raise WeightsError(
            f"{path} holds a network of a shape that is not built here: {first_problem(error)}"
        ) from error
    model, config = converted.network, converted.network.config
    own = model.state_dict()
    # Copies, as tensors of a file may share their numbers.
    tensors = {
        name: tensor.to(own[name].dtype, copy=True, memory_format=torch.contiguous_format)
        for name, tensor in converted.tensors.items()
    }
    model.load_state_dict(tensors, assign=True)
    # Of several with as many keypoints, the first.
    known = {len(skeleton.keypoints): name for name, skeleton in reversed(SKELETONS.items())}
    skeleton = known.get(config.num_keypoints, unnamed_skeleton(config.num_keypoints).name)
    recipe = Recipe(name=path.stem, skeleton=skeleton, model=config, test=converted.test)
    return Checkpoint(
        CheckpointMetadata(recipe=recipe, notes=f"converted from {path.name} ({converted.layout})"), model.eval()
    )


def write_external(path: Path, model: PoseNetwork, layout: Layout) -> None:
    """Write an MSPN or RSN as a checkpoint of the released code or of MMPose, atomically.

    Raises:
        WeightsError: for a network that has no such layout.
    """
    if not isinstance(model, MSPN):
        raise WeightsError(f"only an MSPN has the {layout} layout, not a {model.config.summary}")
    tensors = to_layout(model, layout)
    content = {"model": tensors} if layout == "official" else {"state_dict": tensors, "meta": {}}
    with replacing(path, RuntimeError) as temporary:
        torch.save(content, temporary)


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
        if name in tensors:
            raise WeightsError(f"{path} has {name!r} twice, with and without a prefix")
        if not name.startswith("data_preprocessor."):
            tensors[name] = tensor
    return tensors


_AGGREGATION = r"\.(out_)?skip[12]\."


def convert_mspn(tensors: Mapping[str, Tensor], path: Path) -> Converted:
    """Convert an MSPN or RSN of the released codes or of MMPose; its shape is read off the tensors.

    Raises:
        WeightsError: naming the first tensor that is missing or left over.
    """
    layout: Layout = "official" if any(name.startswith("top.") for name in tensors) else "mmpose"
    config = _read_config(tensors, layout, path)
    test = MMPOSE_TEST if layout == "mmpose" else FAITHFUL_TEST
    with torch.device("meta"):
        network = MSPN(config)
    return Converted(network, from_layout(tensors, network, layout, path), test, f"{layout} layout")


def from_layout(tensors: Mapping[str, Tensor], network: MSPN, layout: Layout, path: Path) -> dict[str, Tensor]:
    """Tensors of another layout in that of this package: RGB, peak 1, no convolution bias.

    Args:
        tensors: all of the other layout.
        network: the one whose tensors they are; its own do not matter.
        layout: the other one.
        path: for messages.

    Raises:
        WeightsError: naming the first tensor that is missing or left over.
    """
    config = network.config
    external = ExternalTensors(tensors, path, f"{'RSN' if config.backbone in RSNS else 'MSPN'} of the {layout} layout")
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    converted: dict[str, Tensor] = {}
    for unit in find_units(config, shapes):
        conv, norm = unit.prefixes(layout)
        is_linear = unit.is_linear_in_mmpose and layout != "official"
        shape = shapes[f"{unit.name}.conv.weight"]
        weight = external.take(f"{conv}.weight", shape[:2] if is_linear else shape).reshape(shape)
        converted[f"{unit.name}.conv.weight"] = weight.flip(1) if unit.is_stem and layout == "official" else weight
        for name in NORM_TENSORS:
            converted[f"{unit.name}.norm.{name}"] = external.take(f"{norm}.{name}", shapes[f"{unit.name}.norm.{name}"])
        if layout == "official" or is_linear:
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
    if config.backbone not in RSNS and (config.backbone not in RESNETS or config.bottleneck_stride != "3x3"):
        raise WeightsError(
            f"a network of {config.backbone}, size halved by {config.bottleneck_stride} convolutions, has no {layout}"
            " layout, which is for ResNets that halve it by 3x3, and for RSNs"
        )
    form = "official" if layout == "official" else "mmpose"
    if config.pose_refine_machine not in (None, form):
        raise WeightsError(
            f"a network with pose_refine_machine {config.pose_refine_machine} has no {layout} layout, which is for"
            f" {form}"
        )
    if not config.coarse_heads:
        raise WeightsError(f"a network without coarse heads has no {layout} layout; train one with model.coarse_heads")
    state = model.state_dict()
    tensors: OrderedDict[str, Tensor] = OrderedDict()
    for unit in find_units(config, state):
        conv, norm = unit.prefixes(layout)
        weight = state[f"{unit.name}.conv.weight"]
        is_linear = unit.is_linear_in_mmpose and layout != "official"
        if is_linear:
            weight = weight.flatten(1)
        tensors[f"{conv}.weight"] = weight.flip(1) if unit.is_stem and layout == "official" else weight
        if layout == "official" or is_linear:
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


def _read_config(tensors: Mapping[str, Tensor], layout: Layout, path: Path) -> ModelConfig:
    """Shape of the network, read off its tensors."""
    is_rsn = any(name.startswith("backbone.multi_stage_rsn.") or ".conv_bn_relu2_" in name for name in tensors)
    if layout == "official":
        stages, stem, head = r"stage(\d{1,4})", "top.conv", "stage0.upsample.up4.res_conv2"
        first, lateral = "stage0", "stage0.upsample.up1.u_skip"
    else:
        first = f"backbone.multi_stage_{'rsn' if is_rsn else 'mspn'}.0"
        stages, stem = rf"{re.escape(first[:-2])}\.(\d{{1,4}})", "backbone.top.top.0"
        lateral, head = f"{first}.upsample.up1.in_skip", "head.predict_layers.3.conv_layers.1"
    stem, lateral, head = (f"{unit}.conv.weight" for unit in (stem, lateral, head))
    for name in (stem, lateral, head):
        if name not in tensors or tensors[name].ndim != 4:
            raise WeightsError(f"{path} has no convolution {name!r}; it is no {'RSN' if is_rsn else 'MSPN'} checkpoint")
    found = {int(match[1]) for name in tensors if (match := re.match(rf"{stages}\.downsample\.", name))}
    num_stages = next(number for number in range(1, len(found) + 2) if number not in found)
    read = _read_rsn if is_rsn else _read_resnet
    backbone = read(tensors, f"{first}.downsample.layer", tensors[stem].shape[0], layout, path)
    return ModelConfig(
        **backbone.model_dump(),
        num_stages=num_stages,
        up_channels=tensors[lateral].shape[0],
        num_keypoints=tensors[head].shape[0],
        aggregation=num_stages == 1 or any(re.search(_AGGREGATION, name) for name in tensors),
        pose_refine_machine=layout if any(".prm." in name for name in tensors) else None,
    )


def _read_resnet(
    tensors: Mapping[str, Tensor], layers: str, stem_channels: int, layout: Layout, path: Path
) -> BackboneConfig:
    third = "conv_bn_relu3" if layout == "official" else "conv3"
    name = read_backbone(tensors, layers, third, path)
    config = BackboneConfig(backbone=name, stem_channels=stem_channels)
    if RESNETS[name][0] is not Bottleneck:
        return config
    outer, inner = _channels(tensors, f"{layers}1.0.{third}{'.conv' if layout == 'official' else ''}") or (4, 1)
    return config.model_copy(update={"bottleneck_expansion": outer // max(1, inner)})


def _read_rsn(
    tensors: Mapping[str, Tensor], layers: str, stem_channels: int, layout: Layout, path: Path
) -> BackboneConfig:
    depths = count_blocks(tensors, layers)
    name = find_rsn(depths)
    if name is None:
        raise WeightsError(f"{path} has layers of {depths} residual steps blocks; there are {', '.join(RSNS)}")
    last = "conv_bn_relu3" if layout == "official" else "conv_bn3"
    outer, _ = _channels(tensors, f"{layers}1.0.{last}.conv") or (stem_channels, 1)
    expansion = outer // max(1, stem_channels)
    config = BackboneConfig(backbone=name, stem_channels=stem_channels, rsn_expansion=expansion)
    own = config.model_copy(update={"rsn_width": "own"})
    return own if not _fits(tensors, layers, config) and _fits(tensors, layers, own) else config


def _fits(tensors: Mapping[str, Tensor], layers: str, config: BackboneConfig) -> bool:
    """Whether all blocks are as wide inside as an RSN's of these settings."""
    for layer, blocks in enumerate(plan_blocks(config), start=1):
        for index, block in enumerate(blocks):
            channels = _channels(tensors, f"{layers}{layer}.{index}.conv_bn_relu1.conv")
            if channels not in (None, (BRANCHES * block.branch_channels, block.in_channels)):
                return False
    return True


def _channels(tensors: Mapping[str, Tensor], conv: str) -> tuple[int, int] | None:
    """Output and input channels of a convolution; None if there is none, which is said when it is taken."""
    weight = tensors.get(f"{conv}.weight")
    return None if weight is None or weight.ndim != 4 else (weight.shape[0], weight.shape[1])


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
    for unit in _simple_baseline_units(shapes):
        conv, norm = _simple_baseline_names(unit, backbone, head)
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


def _simple_baseline_units(names: Iterable[str]) -> list[str]:
    """Prefixes of all convolutions with batch norm, of the names of all tensors."""
    return [name.removesuffix(".conv.weight") for name in names if name.endswith(".conv.weight")]


def _simple_baseline_names(unit: str, backbone: str, head: str) -> tuple[str, str]:
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


def convert_published(entry: IndexEntry, original: Path, digest: str, converted: Path) -> None:
    """Write the converted weights of an entry of the index.

    Args:
        entry: whose metadata they get.
        original: the published file.
        digest: its SHA-256.
        converted: to write.

    Raises:
        WeightsError: if the file cannot be read, or holds another network; nothing is written then.
    """
    checkpoint = read_external(original)
    recipe, expected = checkpoint.metadata.recipe, RECIPES[entry.recipe].model
    # Tensors do not show the size of the crop.
    shape = recipe.model.model_copy(update={"input_size": expected.input_size})
    if shape != expected:
        raise WeightsError(f"{original} holds another network than {entry.recipe}: {shape}")
    metadata = CheckpointMetadata(
        recipe=recipe.model_copy(update={"name": entry.recipe, "model": shape}),
        data=entry.data,
        license=entry.license,
        results=entry.results,
        notes=f"{checkpoint.metadata.notes}, SHA-256 {digest}; results: {entry.protocol}; source: {entry.source}",
    )
    save_weights(converted, checkpoint.model, metadata)
