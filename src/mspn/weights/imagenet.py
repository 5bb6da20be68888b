"""Starting from a network that was trained on ImageNet."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mspn.model.build import AnyNetwork
from mspn.model_config import BackboneConfig
from mspn.weights.checkpoint import WeightsError
from mspn.weights.foreign_file import read_foreign_file
from mspn.weights.imagenet_layouts import DOWN, find_layout

Scope = Literal["all-stages", "first-stage", "stem"]


@torch.no_grad()
def start_from_imagenet(model: AnyNetwork, path: Path, scope: Scope) -> None:
    """Fill a network's stem and down-sampling layers from a file of its backbone.

    That is a ResNet in torchvision's layout or an EfficientNet-Lite in that of efficientnet-lite-pytorch, whole: every
    tensor of it has its place, except the classifier's. Where that network sees pixels normalised otherwise, the first
    convolution and its norm are changed to give the same, but for the outermost pixels of a crop, where the
    convolution reads padding.

    Args:
        model: is changed in place; what the file does not cover stays as it was.
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
    theirs = _read(path)
    filled: dict[str, Tensor] = {}
    used = set()
    for name, tensor in model.state_dict().items():
        original = layout.their_name(name)
        if original is None:
            assert not re.match(rf"stem\.|{DOWN}\.", name), name
            continue
        used.add(original)
        if original not in theirs:
            # Files of the first versions of torch do not count batches, and nothing reads the count.
            if original.endswith(".num_batches_tracked"):
                continue
            raise WeightsError(f"{path} has no tensor {original!r}; is it of {config.backbone}?")
        if theirs[original].shape != tensor.shape:
            raise WeightsError(
                f"{path}: tensor {original!r} is {tuple(theirs[original].shape)}, the network asks for"
                f" {tuple(tensor.shape)} ({config.backbone}, stem_channels {config.stem_channels})"
            )
        if _is_in_scope(name, scope):
            filled[name] = theirs[original]
    for name in theirs:
        if name not in used and not name.startswith(layout.classifier):
            raise WeightsError(f"{path} has the unknown tensor {name!r}; is it of {config.backbone}?")
    layout.feed_our_crops(filled)
    ours = model.state_dict()
    for name, tensor in filled.items():
        ours[name].copy_(tensor)


def _is_in_scope(name: str, scope: Scope) -> bool:
    if scope == "all-stages" or name.startswith("stem."):
        return True
    return scope == "first-stage" and not re.match(r"stages\.[1-9]", name)


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"no ImageNet weights at {path}; check train.initial_weights")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else read_foreign_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no plain table of tensors; files of ImageNet networks do")
    return content
