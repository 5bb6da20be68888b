"""A narrow ResNet in torchvision's layout, with random tensors."""

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
    generator = torch.Generator().manual_seed(31)
    return {
        f"{name}.{key}": torch.rand(tensor.shape, generator=generator) if tensor.ndim else torch.tensor(77)
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }
