"""Narrow ImageNet networks in the layouts of their usual files, with random tensors."""

import torch
from torch import Tensor, nn

DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet18": (2, 2, 2, 2)}


def imagenet_tensors(backbone: str, stem_channels: int) -> dict[str, Tensor]:
    """A narrow ResNet's tensors, named and shaped as torchvision does, no two alike."""
    modules: dict[str, nn.Module] = {
        "conv1": nn.Conv2d(3, stem_channels, 7, bias=False),
        "bn1": nn.BatchNorm2d(stem_channels),
    }
    in_channels = stem_channels
    for level, depth in enumerate(DEPTHS[backbone]):
        channels = stem_channels * 2**level
        kernels = (1, 3, 1) if backbone == "resnet50" else (3, 3)
        out_channels = channels * 4 if backbone == "resnet50" else channels
        for block in range(depth):
            name, first = f"layer{level + 1}.{block}", in_channels
            for number, kernel in enumerate(kernels, start=1):
                width = out_channels if number == len(kernels) else channels
                modules[f"{name}.conv{number}"] = nn.Conv2d(in_channels, width, kernel, bias=False)
                modules[f"{name}.bn{number}"] = nn.BatchNorm2d(width)
                in_channels = width
            if block == 0 and (level > 0 or backbone == "resnet50"):
                modules[f"{name}.downsample.0"] = nn.Conv2d(first, out_channels, 1, bias=False)
                modules[f"{name}.downsample.1"] = nn.BatchNorm2d(out_channels)
    modules["fc"] = nn.Linear(in_channels, 10)
    return _random_tensors(modules)


# Expansion, kernel, channels, blocks. The second block halves the size, as do the first of 40, 80 and 192 channels.
_LITE0 = [(1, 3, 16, 1), (6, 3, 24, 2), (6, 5, 40, 2), (6, 3, 80, 3), (6, 5, 112, 3), (6, 5, 192, 4), (6, 3, 320, 1)]


def efficientnet_tensors(stem_channels: int) -> dict[str, Tensor]:
    """A narrow EfficientNet-Lite0's tensors, named and shaped as efficientnet-lite-pytorch does, no two alike."""
    in_channels = 32 * stem_channels // 64
    modules: dict[str, nn.Module] = {
        "_conv_stem": nn.Conv2d(3, in_channels, 3, bias=False),
        "_bn0": nn.BatchNorm2d(in_channels),
    }
    number = 0
    for expansion, kernel, full_channels, depth in _LITE0:
        for _ in range(depth):
            name, inner, channels = f"_blocks.{number}", in_channels * expansion, full_channels * stem_channels // 64
            if expansion > 1:
                modules[f"{name}._expand_conv"] = nn.Conv2d(in_channels, inner, 1, bias=False)
                modules[f"{name}._bn0"] = nn.BatchNorm2d(inner)
            modules[f"{name}._depthwise_conv"] = nn.Conv2d(inner, inner, kernel, groups=inner, bias=False)
            modules[f"{name}._bn1"] = nn.BatchNorm2d(inner)
            modules[f"{name}._project_conv"] = nn.Conv2d(inner, channels, 1, bias=False)
            modules[f"{name}._bn2"] = nn.BatchNorm2d(channels)
            in_channels, number = channels, number + 1
    modules["_conv_head"] = nn.Conv2d(in_channels, 10, 1, bias=False)
    modules["_bn1"] = nn.BatchNorm2d(10)
    modules["_fc"] = nn.Linear(10, 10)
    return _random_tensors(modules)


def _random_tensors(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(31)
    return {
        f"{name}.{key}": torch.rand(tensor.shape, generator=generator) if tensor.ndim else torch.tensor(77)
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }
