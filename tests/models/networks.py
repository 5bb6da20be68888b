"""Small networks with random input, for tests."""

import torch

from mspn.config.model import NetworkConfig
from mspn.models import build_network
from mspn.models.base import PoseNetwork


def random_crops(batch: int = 2, height: int = 64, width: int = 96) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(6))


def random_network(config: NetworkConfig) -> PoseNetwork:
    """A network whose running statistics are those of some crops, so that no layer is dead."""
    torch.manual_seed(7)
    network = build_network(config).train()
    with torch.no_grad():
        network(random_crops())
    return network.eval()
