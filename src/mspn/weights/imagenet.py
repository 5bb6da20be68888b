"""Starting from a ResNet that was trained on ImageNet."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mspn.model.pose_network import PoseNetwork
from mspn.model_config import BackboneConfig
from mspn.weights.checkpoint import WeightsError
from mspn.weights.foreign_file import read_foreign_file

Scope = Literal["all-stages", "first-stage", "stem"]

_CLASSIFIER = ("fc.weight", "fc.bias")
_DOWN = r"(?:stages\.\d+\.|global_net\.)?down"
"""Down-sampling layers of an MSPN, a CPN and a simple baseline."""


@torch.no_grad()
def start_from_imagenet(model: PoseNetwork, path: Path, scope: Scope) -> None:
    """Fill a network's stem and down-sampling layers from a ResNet file in torchvision's layout.

    The file must be the ResNet that the stages are made of, whole: every tensor of it has its place, except the
    classifier (fc.*). torchvision's networks see RGB and have their stride on the 3x3 convolution, as ours.

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
    if not isinstance(config, BackboneConfig):
        raise WeightsError(f"{path} cannot start this network: {config.summary} has no ResNet in it")
    theirs = _read(path)
    filled: dict[str, Tensor] = {}
    used = set(_CLASSIFIER)
    for name, tensor in model.state_dict().items():
        original = _torchvision_name(name)
        if original is None:
            if re.match(rf"{_DOWN}\.", name):
                raise WeightsError(
                    f"{path} cannot start this network: {config.backbone} is no ResNet (it has {name!r})"
                )
            continue
        used.add(original)
        if original not in theirs:
            # Files of the first versions of torch do not count batches, and nothing reads the count.
            if original.endswith(".num_batches_tracked"):
                continue
            raise WeightsError(f"{path} has no tensor {original!r}; is it the ResNet of {config.backbone}?")
        if theirs[original].shape != tensor.shape:
            raise WeightsError(
                f"{path}: tensor {original!r} is {tuple(theirs[original].shape)}, the network asks for"
                f" {tuple(tensor.shape)} ({config.backbone}, stem_channels {config.stem_channels})"
            )
        if _is_in_scope(name, scope):
            filled[name] = theirs[original]
    for name in theirs:
        if name not in used:
            raise WeightsError(f"{path} has the unknown tensor {name!r}; is it the ResNet of {config.backbone}?")
    ours = model.state_dict()
    for name, tensor in filled.items():
        ours[name].copy_(tensor)


def _is_in_scope(name: str, scope: Scope) -> bool:
    if scope == "all-stages" or name.startswith("stem."):
        return True
    return scope == "first-stage" and not re.match(r"stages\.[1-9]", name)


def _torchvision_name(name: str) -> str | None:
    """What torchvision calls a tensor of ours; None where it has no such thing."""
    if match := re.fullmatch(r"stem\.conv\.(conv|norm)\.(\w+)", name):
        return f"{'conv1' if match[1] == 'conv' else 'bn1'}.{match[2]}"
    if match := re.fullmatch(rf"{_DOWN}\.layers\.(\d+)\.(\d+)\.(conv\d|shortcut)\.(conv|norm)\.(\w+)", name):
        level, block, part, kind, tensor = match.groups()
        if part == "shortcut":
            layer = f"downsample.{0 if kind == 'conv' else 1}"
        else:
            layer = part if kind == "conv" else part.replace("conv", "bn")
        return f"layer{int(level) + 1}.{block}.{layer}.{tensor}"
    return None


def _read(path: Path) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"no ResNet weights at {path}; check train.initial_weights")
    try:
        content = load_file(path) if path.suffix == ".safetensors" else read_foreign_file(path)
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a safetensors file ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsError(f"{path} holds no plain table of tensors; torchvision's own ResNet files do")
    return content
