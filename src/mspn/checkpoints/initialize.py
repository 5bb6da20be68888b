"""Initial weights for training: our own files, or classification networks trained on ImageNet."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mspn.checkpoints.external import rescale_stem_input
from mspn.checkpoints.format import load_any, open_safetensors, read_metadata
from mspn.checkpoints.hub import find_weights
from mspn.checkpoints.index import load_index
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.checkpoints.torch_file import read_torch_file
from mspn.config.model import CHANNEL_DEVIATION, CHANNEL_MEAN, Backbone, BackboneConfig, ModelConfig
from mspn.errors import WeightsError
from mspn.models import AnyNetwork, build_network
from mspn.models.backbones import RESNETS
from mspn.models.base import PoseNetwork
from mspn.models.efficientnet import EFFICIENTNETS
from mspn.structures.skeleton import match_keypoints

logger = logging.getLogger(__name__)

_STAGE = re.compile(r"stages\.(\d+)\.")
DOWN = r"(?:stages\.\d+\.|global_net\.)?down"
"""Pattern of the names of down-sampling layers in an MSPN, a CPN and a simple baseline."""


class ImageNetLayout(NamedTuple):
    """How an ImageNet file of a backbone maps to this package's tensors."""

    original_name: Callable[[str], str | None]
    """Name in the file of a tensor of the network; None if the file has none."""
    classifier: tuple[str, ...]
    """Prefixes of the classifier's tensors, which are skipped."""
    adapt_stem: Callable[[dict[str, Tensor]], None]
    """Changes the stem's tensors, in place, if the file's network was trained on other pixel values."""


def find_layout(backbone: Backbone) -> ImageNetLayout | None:
    """The layout of a backbone's files, if there is one."""
    if backbone in RESNETS:
        return ImageNetLayout(_torchvision_name, ("fc.",), lambda _tensors: None)
    if backbone in EFFICIENTNETS:
        return _efficientnet_layout(backbone)
    return None


def _torchvision_name(name: str) -> str | None:
    """torchvision's networks have the same input normalization, and the stride on the 3x3 convolution, too."""
    if match := re.fullmatch(r"stem\.conv\.(conv|norm)\.(\w+)", name):
        return f"{'conv1' if match[1] == 'conv' else 'bn1'}.{match[2]}"
    if match := re.fullmatch(rf"{DOWN}\.layers\.(\d+)\.(\d+)\.(conv\d|shortcut)\.(conv|norm)\.(\w+)", name):
        level, block, part, kind, tensor = match.groups()
        if part == "shortcut":
            layer = f"downsample.{0 if kind == 'conv' else 1}"
        else:
            layer = part if kind == "conv" else part.replace("conv", "bn")
        return f"layer{int(level) + 1}.{block}.{layer}.{tensor}"
    return None


_EFFICIENTNET_LAYERS = {
    "expand": {"conv": "_expand_conv", "norm": "_bn0"},
    "depthwise": {"conv": "_depthwise_conv", "norm": "_bn1"},
    "project": {"conv": "_project_conv", "norm": "_bn2"},
}


def _efficientnet_layout(backbone: Backbone) -> ImageNetLayout:
    """Files of efficientnet-lite-pytorch, which number a network's blocks from its first to its last."""
    shape = EFFICIENTNETS[backbone]
    depths = [sum(group.depth for group in groups) for groups in (shape.stem, *shape.levels)]
    firsts = [0, *accumulate(depths)]

    def original_name(name: str) -> str | None:
        if match := re.fullmatch(r"stem\.conv\.(conv|norm)\.(\w+)", name):
            return f"{'_conv_stem' if match[1] == 'conv' else '_bn0'}.{match[2]}"
        match = re.fullmatch(rf"(?:stem\.blocks|{DOWN}\.layers\.(\d+))\.(\d+)\.(\w+)\.(conv|norm)\.(\w+)", name)
        if match is None:
            return None
        level, block, part, kind, tensor = match.groups()
        number = int(block) + (0 if level is None else firsts[int(level) + 1])
        return f"_blocks.{number}.{_EFFICIENTNET_LAYERS[part][kind]}.{tensor}"

    return ImageNetLayout(original_name, ("_conv_head.", "_bn1.", "_fc."), _from_centered_pixels)


def _from_centered_pixels(stem: dict[str, Tensor]) -> None:
    """The file's network sees (value - 127) / 128 (Google's Lite code), with values from 0 to 255 and RGB."""
    deviation, mean = torch.tensor(CHANNEL_DEVIATION) * 255, torch.tensor(CHANNEL_MEAN) * 255
    rescale_stem_input(stem, scale=deviation / 128, shift=(mean - 127) / 128)


Scope = Literal["all-stages", "first-stage", "stem"]


@torch.no_grad()
def initialize_from_imagenet(model: AnyNetwork, path: Path, scope: Scope) -> None:
    """Fill a network's stem and down-sampling layers from a file of its backbone.

    That is a ResNet in torchvision's layout or an EfficientNet-Lite in that of efficientnet-lite-pytorch, whole: every
    tensor of it has its place, except the classifier's. Where that network sees pixels normalized otherwise, the first
    convolution and its norm are changed to give the same, but for the outermost pixels of a crop, where the
    convolution reads padding.

    Args:
        model: is changed in place; what the file does not cover, as stages of another backbone, stays as it was.
        path: .safetensors, or .pth, which is read without unpickling objects.
        scope: all-stages fills the stem and every stage's down-sampling layers; first-stage the stem and the first
            stage's; stem the stem alone.

    Raises:
        WeightsError: if the file is missing or unreadable, or naming a tensor that is missing, unknown or of another
            shape. The network is unchanged then.

    Source: MMPose fills all stages. The released code means to fill the whole network, but each tensor of the file
    can fill only one of the network's; its author says that only the first convolution is filled.
    """
    config = model.config
    layout = find_layout(config.backbone) if isinstance(config, BackboneConfig) else None
    if layout is None or not isinstance(config, BackboneConfig):
        raise WeightsError(f"{path} cannot start this network: {config.summary} has no ResNet or EfficientNet in it")
    tensors = _read(path)
    filled: dict[str, Tensor] = {}
    used = set()
    for name, tensor in model.state_dict().items():
        if _is_in_other_backbone(name, config):
            continue
        original = layout.original_name(name)
        if original is None:
            assert not re.match(rf"stem\.|{DOWN}\.", name), name
            continue
        used.add(original)
        if original not in tensors:
            # Files of the first versions of torch do not count batches, and nothing reads the count.
            if original.endswith(".num_batches_tracked"):
                continue
            raise WeightsError(f"{path} has no tensor {original!r}; is it of {config.backbone}?")
        if tensors[original].shape != tensor.shape:
            raise WeightsError(
                f"{path}: tensor {original!r} is {tuple(tensors[original].shape)}, the network has"
                f" {tuple(tensor.shape)} ({config.backbone}, stem_channels {config.stem_channels})"
            )
        if _is_in_scope(name, scope):
            filled[name] = tensors[original]
    for name in tensors:
        if name not in used and not name.startswith(layout.classifier):
            raise WeightsError(f"{path} has the unknown tensor {name!r}; is it of {config.backbone}?")
    layout.adapt_stem(filled)
    state = model.state_dict()
    for name, tensor in filled.items():
        state[name].copy_(tensor)


def _is_in_other_backbone(name: str, config: BackboneConfig) -> bool:
    stage = _STAGE.match(name)
    if stage is None or not isinstance(config, ModelConfig):
        return False
    backbones = config.stage_backbones
    return backbones[int(stage[1])] != backbones[0]


def _is_in_scope(name: str, scope: Scope) -> bool:
    if scope == "all-stages" or name.startswith("stem."):
        return True
    return scope == "first-stage" and not re.match(r"stages\.[1-9]", name)


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"no ImageNet weights at {path}; check train.initial_weights")
    if path.suffix == ".safetensors":
        with open_safetensors(path) as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    content = read_torch_file(path)
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no plain table of tensors; files of ImageNet networks do")
    return content


def initialize_from(
    network: AnyNetwork,
    source: str,
    scope: Scope,
    keypoints: Sequence[str] | None = None,
    other_names: Mapping[str, str] | None = None,
) -> None:
    """Fill a network, in place, from weights of this package (a name or a file) or from an ImageNet network.

    Args:
        network: to fill.
        source: name of `mspn models list`, weights file of this package, or file of an ImageNet network.
        scope: what an ImageNet network fills, see `initialize_from_imagenet`.
        keypoints: names of a pose network's; None: the same as the source's, if they are as many.
        other_names: what some of these keypoints are called in weights of this package.

    Raises:
        WeightsError: if there is no such name or file, or nothing in it fits.
    """
    if load_index().find(source) is not None or _is_own_file(Path(source)):
        _initialize_from_own_weights(network, find_weights(source), keypoints, other_names or {})
    elif other_names:
        raise WeightsError(f"train.initial_keypoints names keypoints of weights of this package, which {source} is not")
    else:
        initialize_from_imagenet(network, Path(source), scope)


def _is_own_file(path: Path) -> bool:
    try:
        read_metadata(path)
    except WeightsError:
        return False
    return True


@torch.no_grad()
def _initialize_from_own_weights(
    network: AnyNetwork, path: Path, keypoints: Sequence[str] | None, other_names: Mapping[str, str]
) -> None:
    """Take every tensor over that has the same name and shape; of heads, the maps of the same keypoints.

    Other maps stay random. Stages that the file does not have begin as its last one.
    """
    metadata = read_metadata(path)
    sources = load_any(path).state_dict()
    state = network.state_dict()
    last = max((int(stage[1]) for name in sources if (stage := _STAGE.match(name))), default=0)
    matches = {name: sources.get(_in_last_stage(name, last)) for name in state}
    fitting = [name for name, source in matches.items() if source is not None and source.shape == state[name].shape]
    if not any(name.startswith("stem.") and state[name].ndim == 4 for name in fitting):
        raise WeightsError(
            f"{path} cannot start this network: not even its first convolution has the same shape; set"
            " train.initial_weights to another file, or to null for random weights"
        )
    by_keypoint: Mapping[str, list[int]] = {}
    if isinstance(network, PoseNetwork) and isinstance(metadata, CheckpointMetadata) and keypoints is not None:
        theirs = metadata.recipe.keypoint_table.keypoints
        if tuple(keypoints) != theirs or other_names:
            by_keypoint = _keypoint_dimensions(network)
            _take_over_maps(state, matches, by_keypoint, _same_keypoints(theirs, keypoints, other_names))
    fitting = [name for name in fitting if name not in by_keypoint]
    for name in fitting:
        state[name].copy_(matches[name])
    logger.info("starting from %s: %d of %d tensors fit", path, len(fitting), len(state))


def _same_keypoints(
    theirs: Sequence[str], ours: Sequence[str], other_names: Mapping[str, str]
) -> list[tuple[int, int]]:
    """Positions of the keypoints that both have: in the file, and in the network."""
    for own, name in other_names.items():
        if own not in ours or name not in theirs:
            side, names = ("the labels", ours) if own not in ours else ("the initial weights", theirs)
            missing = own if own not in ours else name
            raise WeightsError(f"train.initial_keypoints: {missing!r} is none of {side}' keypoints: {', '.join(names)}")
    matched = {**match_keypoints(theirs, ours), **other_names}
    if matched:
        logger.info("heads start from those of %s", ", ".join(matched))
    return [(theirs.index(name), ours.index(own)) for own, name in matched.items()]


def _keypoint_dimensions(network: PoseNetwork) -> dict[str, list[int]]:
    """The dimensions of tensors that count keypoints: those that grow with their number."""
    config = network.config
    with torch.device("meta"):
        larger = build_network(config.model_copy(update={"num_keypoints": config.num_keypoints + 1})).state_dict()
    grown = {
        name: [number for number, size in enumerate(tensor.shape) if larger[name].shape[number] != size]
        for name, tensor in network.state_dict().items()
    }
    return {name: dimensions for name, dimensions in grown.items() if dimensions}


def _take_over_maps(
    state: Mapping[str, Tensor],
    sources: Mapping[str, Tensor | None],
    dimensions: Mapping[str, Sequence[int]],
    same: Sequence[tuple[int, int]],
) -> None:
    """Copy, into `state`, what belongs to the keypoints that both have."""
    theirs, ours = [pair[0] for pair in same], [pair[1] for pair in same]
    for name, counted in dimensions.items():
        source = sources[name]
        if source is None or source.ndim != state[name].ndim:
            continue
        block, place = _block(source, counted, theirs), _block(state[name], counted, ours)
        if source[block].shape == state[name][place].shape:
            state[name][place] = source[block]


def _block(tensor: Tensor, counted: Sequence[int], keypoints: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Index of what belongs to these keypoints; dimensions from the third on do not count keypoints."""
    sizes = tensor.shape[:2]
    return np.ix_(*(keypoints if number in counted else range(size) for number, size in enumerate(sizes)))


def _in_last_stage(name: str, last: int) -> str:
    """Name of a tensor in a file whose last stage has that number."""
    stage = _STAGE.match(name)
    return name if stage is None else f"stages.{min(int(stage[1]), last)}.{name[stage.end() :]}"
