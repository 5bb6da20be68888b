"""Figures that the released code gave for weights and inputs anyone can draw again.

Each tensor comes from a generator of its own, seeded by the tensor's name in the released code, so the
network is fed our layout's names, converted, and must answer what the released network answered.
"""

import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mspn.checkpoints.convert import from_layout, to_layout
from mspn.config.model import ModelConfig, PoseRefineForm
from mspn.config.train import SupervisionConfig
from mspn.datasets.samples import KeypointLabels
from mspn.models.mspn import MSPN
from mspn.structures.skeleton import COCO_17
from mspn.training.losses import StageLosses, compute_losses
from tests.made_once import made_once

SEED = 20190101
_FIXTURES = Path(__file__).parent / "fixtures"


class GoldenInputs(NamedTuple):
    """Two people's network input and supervision."""

    crops: Tensor
    """(2, 3, 256, 192), RGB."""
    targets: Tensor
    """(2, kernels, 17, 64, 48) with peak 1; kernels from wide to narrow."""
    labels: KeypointLabels


def golden_network_figures(num_stages: int) -> dict[str, Any]:
    """What the released network answered, by stage and level, and its training loss."""
    figures: dict[str, Any] = json.loads((_FIXTURES / "golden_network.json").read_text(encoding="utf-8"))[
        str(num_stages)
    ]
    return figures


GOLDEN_RSNS = {
    "rsn-18": ModelConfig(backbone="rsn18", num_stages=1),
    "rsn-50": ModelConfig(backbone="rsn50", num_stages=1),
}


def golden_rsn_figures(variant: str) -> dict[str, Any]:
    """What RSN's released network and MMPose's answered: heat maps by stage and level, the loss and gradients."""
    figures: dict[str, Any] = json.loads((_FIXTURES / "golden_rsn.json").read_text(encoding="utf-8"))[variant]
    return figures


def golden_rsn(variant: str, machine: PoseRefineForm | None = None) -> MSPN:
    """The RSN with the golden weights, in eval mode; those of MMPose's refine machine are drawn by MMPose's names."""
    plain = _golden(GOLDEN_RSNS[variant])
    if machine is None:
        return plain
    network = unfilled(plain.config.model_copy(update={"pose_refine_machine": machine}))
    tensors = {
        name: _draw_tensor(name, tensor) if ".prm." in name else tensor
        for name, tensor in (to_layout(network, machine) | to_layout(plain, machine)).items()
    }
    network.load_state_dict(from_layout(tensors, network, machine, Path("golden")))
    return network.eval()


def golden_pipeline() -> dict[str, Any]:
    """Crop matrices, label maps and a half-body box of the released code."""
    figures: dict[str, Any] = json.loads((_FIXTURES / "golden_pipeline.json").read_text(encoding="utf-8"))
    return figures


def golden_decode() -> dict[str, Any]:
    """What the released code decodes from its own label maps, in a box of 180x240 around (320.5, 240.25)."""
    figures: dict[str, Any] = json.loads((_FIXTURES / "golden_decode.json").read_text(encoding="utf-8"))
    return figures


def golden_network(num_stages: int) -> MSPN:
    """The network with the golden weights, in eval mode."""
    return _golden(ModelConfig(num_stages=num_stages))


def _golden(config: ModelConfig) -> MSPN:
    def draw(folder: Path) -> None:
        network = unfilled(config)
        official = {name: _draw_tensor(name, tensor) for name, tensor in to_layout(network, "official").items()}
        save_file(from_layout(official, network, "official", Path("golden")), folder / "golden.safetensors")

    folder = made_once(f"golden-{config.backbone}-{config.num_stages}", draw)
    with torch.device("meta"):
        network = MSPN(config)
    network.load_state_dict(load_file(folder / "golden.safetensors"), assign=True)
    return network.eval()


def unfilled(config: ModelConfig) -> MSPN:
    """The network before its weights are drawn, which takes longest."""
    with torch.device("meta"):
        network = MSPN(config)
    return network.to_empty(device="cpu")


def golden_inputs() -> GoldenInputs:
    """Crops, targets and labels; the released code's BGR crops are turned to RGB."""
    random = np.random.RandomState(SEED)
    crops_bgr = random.standard_normal((2, 3, 256, 192)).astype(np.float32)
    maps = random.uniform(0, 255, (2, 5, 17, 64, 48)).astype(np.float32)
    visibility = random.randint(0, 3, (2, 17, 1))
    labels = KeypointLabels(
        keypoints_crop=torch.zeros(2, 17, 2),
        visibility=torch.from_numpy(visibility[..., 0].astype(np.int64)),
        counted=torch.ones(2, 17, dtype=torch.bool),
    )
    return GoldenInputs(torch.from_numpy(crops_bgr).flip(1), torch.from_numpy(maps) / 255, labels)


def assert_summary_matches(values: Tensor, expected: Mapping[str, float], tolerance: float = 1e-4) -> None:
    """Compare values with the released code's by their mean, spread, extremes, ends, and a sum with a cosine wave."""
    flat = values.detach().double().reshape(-1)
    wave = torch.cos(torch.arange(flat.numel(), dtype=torch.float64) * 0.37)
    scale = expected["std"]
    measured = {
        "mean": flat.mean().item(),
        "std": flat.std().item(),
        "absmax": flat.abs().max().item(),
        "first": flat[0].item(),
        "last": flat[-1].item(),
    }
    for name, value in measured.items():
        assert abs(value - expected[name]) <= tolerance * max(abs(expected[name]), scale), (name, value, expected[name])
    # Errors that do not depend on each other add up to their size times the root of their number.
    probe = (flat @ wave).item()
    assert abs(probe - expected["probe"]) <= tolerance * scale * flat.numel() ** 0.5, (
        "probe",
        probe,
        expected["probe"],
    )


def _draw_tensor(name: str, like: Tensor) -> Tensor:
    """The golden values of one of the released network's tensors."""
    if name.endswith("num_batches_tracked"):
        return torch.zeros_like(like)
    random = np.random.RandomState((SEED ^ zlib.crc32(name.encode())) & 0xFFFFFFFF)
    shape = tuple(like.shape)
    if len(shape) in (2, 4):
        values = random.standard_normal(shape) * np.sqrt(2.0 / np.prod(shape[1:]))
    elif low_high := _uniform_range(name):
        values = random.uniform(*low_high, shape)
    else:
        values = random.standard_normal(shape) * (0.05 if name.endswith("conv.bias") else 0.1)
    return torch.from_numpy(values.astype(np.float32))


def _uniform_range(name: str) -> tuple[float, float] | None:
    """Variances and norm weights are drawn from a range; the rest from a normal distribution."""
    if name.endswith("running_var"):
        return 0.5, 1.5
    if name.endswith(("middle_path.1.weight", "middle_path.4.weight")):  # norms, too
        return 0.5, 1.0
    if not name.endswith("bn.weight"):
        return None
    if name.endswith("conv_bn_relu3.bn.weight"):
        return 0.1, 0.3
    if name.endswith(("skip1.bn.weight", "skip2.bn.weight")):
        return 0.2, 0.4
    return 0.5, 1.0


@contextmanager
def gradients_of_golden_inputs(network: MSPN, monkeypatch: pytest.MonkeyPatch) -> Iterator[StageLosses]:
    """The losses of the golden inputs, whose gradients the network has meanwhile; afterwards it is as it was."""
    inputs = golden_inputs()
    # The golden targets are noise, one map for each kernel, instead of bumps.
    kernels = SupervisionConfig().kernel_sizes
    monkeypatch.setattr(
        "mspn.training.losses.draw_targets",
        lambda _keypoints, _labeled, *, size, kernel_size: inputs.targets[:, kernels.index(kernel_size)],
    )
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    losses = compute_losses(network.train()(inputs.crops), inputs.labels, SupervisionConfig(), COCO_17.sigmas)
    losses.total.backward()
    try:
        yield losses
    finally:
        network.zero_grad()
        network.load_state_dict(before)
        network.eval()
