from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mspn.checkpoints.convert import read_external, write_external
from mspn.config.model import SimpleBaselineConfig
from mspn.config.protocol import SIMPLE_BASELINE_TEST
from mspn.errors import WeightsError
from mspn.models.baselines import SimpleBaseline

_NORM = ("weight", "bias", "running_mean", "running_var")


def original_tensors(depths: tuple[int, ...] = (3, 4, 6, 3), *, counts: bool = True) -> dict[str, Tensor]:
    """A narrow simple baseline as the authors' code names and shapes its tensors: stem of 4, deconvolutions of 6."""
    generator = torch.Generator().manual_seed(11)
    tensors: dict[str, Tensor] = {}

    def norm(name: str, channels: int) -> None:
        for part in _NORM:
            tensors[f"{name}.{part}"] = torch.rand(channels, generator=generator) + 0.5
        if counts:
            tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def conv(name: str, norm_name: str, *shape: int, channels: int | None = None) -> None:
        tensors[f"{name}.weight"] = torch.randn(*shape, generator=generator) / 10
        norm(norm_name, channels or shape[0])

    conv("conv1", "bn1", 4, 3, 7, 7)
    in_channels = 4
    for layer, depth in enumerate(depths, start=1):
        width = 4 * 2 ** (layer - 1)
        for index in range(depth):
            block = f"layer{layer}.{index}"
            conv(f"{block}.conv1", f"{block}.bn1", width, in_channels, 1, 1)
            conv(f"{block}.conv2", f"{block}.bn2", width, width, 3, 3)
            conv(f"{block}.conv3", f"{block}.bn3", 4 * width, width, 1, 1)
            if index == 0:
                conv(f"{block}.downsample.0", f"{block}.downsample.1", 4 * width, in_channels, 1, 1)
            in_channels = 4 * width
    for first in (0, 3, 6):
        shape = (in_channels, 6, 4, 4)
        conv(f"deconv_layers.{first}", f"deconv_layers.{first + 1}", *shape, channels=6)
        in_channels = 6
    tensors["final_layer.weight"] = torch.randn(17, 6, 1, 1, generator=generator)
    tensors["final_layer.bias"] = torch.randn(17, generator=generator)
    return tensors


def as_mmpose(tensors: dict[str, Tensor], head: str) -> dict[str, Any]:
    def prefix(name: str) -> str:
        return head if name.startswith(("deconv_layers", "final_layer")) else "backbone"

    return {"state_dict": {f"{prefix(name)}.{name}": tensor for name, tensor in tensors.items()}, "meta": {}}


def save(path: Path, content: dict[str, Any]) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("depths", "backbone"), [((3, 4, 6, 3), "resnet50"), ((3, 4, 23, 3), "resnet101"), ((3, 8, 36, 3), "resnet152")]
)
def test_the_shape_is_read_off_the_tensors(depths: tuple[int, ...], backbone: str, tmp_path: Path):
    checkpoint = read_external(save(tmp_path / "simple.pth", original_tensors(depths)))

    assert checkpoint.model.config == SimpleBaselineConfig(backbone=backbone, stem_channels=4, up_channels=6)
    assert checkpoint.metadata.recipe.test == SIMPLE_BASELINE_TEST
    assert checkpoint.metadata.notes == "converted from simple.pth (simple baseline, original layout)"


@pytest.mark.parametrize("head", ["keypoint_head", "head"], ids=["v0", "v1"])
def test_mmposes_tensors_come_over_unchanged(head: str, tmp_path: Path):
    theirs = original_tensors()

    checkpoint = read_external(save(tmp_path / "mmpose.pth", as_mmpose(theirs, head)))

    ours = checkpoint.model.state_dict()
    assert len(ours) == len(theirs)
    for our_name, their_name in {
        "stem.conv.conv.weight": "conv1.weight",
        "stem.conv.norm.running_mean": "bn1.running_mean",
        "down.layers.2.5.conv2.conv.weight": "layer3.5.conv2.weight",
        "down.layers.2.5.conv2.norm.running_var": "layer3.5.bn2.running_var",
        "down.layers.1.0.shortcut.conv.weight": "layer2.0.downsample.0.weight",
        "down.layers.1.0.shortcut.norm.bias": "layer2.0.downsample.1.bias",
        "up.2.conv.weight": "deconv_layers.6.weight",
        "up.2.norm.weight": "deconv_layers.7.weight",
        "head.bias": "final_layer.bias",
    }.items():
        assert torch.equal(ours[our_name], theirs[their_name])
    assert checkpoint.metadata.notes == "converted from mmpose.pth (simple baseline, mmpose layout)"


def test_the_originals_first_convolution_answers_the_same_to_rgb(tmp_path: Path):
    theirs = original_tensors()
    network = read_external(save(tmp_path / "simple.pth", theirs)).model
    assert isinstance(network, SimpleBaseline)
    rgb = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(12))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    # They give ImageNet's red mean to blue, since blue comes first.
    seen = (rgb.flip(1) - mean[:, None, None]) / deviation[:, None, None]
    convolved = torch.nn.functional.conv2d(seen, theirs["conv1.weight"], stride=2, padding=3)
    expected = torch.nn.functional.batch_norm(
        convolved, *(theirs[f"bn1.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    )

    actual = network.stem.conv.norm(network.stem.conv.conv((rgb - mean[:, None, None]) / deviation[:, None, None]))

    # Two cells from the border on, no padding is read.
    torch.testing.assert_close(actual[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], rtol=1e-4, atol=1e-5)


def test_batches_that_old_versions_did_not_count_are_zero(tmp_path: Path):
    network = read_external(save(tmp_path / "old.pth", original_tensors(counts=False))).model

    assert network.state_dict()["stem.conv.norm.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"layer4.2.bn3.bias": None},
            r"has no tensor 'layer4\.2\.bn3\.bias'; it is no simple baseline of the original",
        ),
        (
            {"final_layer.weight": None},
            r"has no convolution 'final_layer\.weight'; it is no simple baseline, or is cut short",
        ),
        ({"deconv_layers.0.bias": torch.zeros(6)}, r"has the unknown tensor 'deconv_layers\.0\.bias'"),
        (
            {"layer2.1.conv1.weight": torch.zeros(8, 3, 1, 1)},
            r"tensor 'layer2\.1\.conv1\.weight' is \(8, 3, 1, 1\), not \(8, 32, 1, 1\)",
        ),
        ({"layer3.5.conv1.weight": None}, r"has no tensor 'layer3\.5\.conv1\.weight'"),
        ({"layer3.6.conv1.weight": torch.zeros(1)}, r"has layers of \[3, 4, 7, 3\] bottlenecks; there are resnet18"),
    ],
)
def test_a_tensor_that_is_missing_unknown_or_misshapen_is_named(
    change: dict[str, Tensor | None], message: str, tmp_path: Path
):
    changed = {name: tensor for name, tensor in (original_tensors() | change).items() if tensor is not None}

    with pytest.raises(WeightsError, match=r"odd\.pth:? " + message):
        read_external(save(tmp_path / "odd.pth", changed))


def test_a_simple_baseline_is_not_written_as_mspn(tmp_path: Path):
    network = SimpleBaseline(SimpleBaselineConfig(backbone="resnet18", stem_channels=4, up_channels=6))

    with pytest.raises(WeightsError, match="only an MSPN has the official layout, not a simple baseline on resnet18"):
        write_external(tmp_path / "simple.pth", network, "official")


def test_deconvolutions_that_are_none_are_named(tmp_path: Path):
    tensors = original_tensors() | {"deconv_layers.0.weight": torch.zeros(4)}

    with pytest.raises(WeightsError, match=r"has no convolution 'deconv_layers\.0\.weight'; it is no simple baseline"):
        read_external(save(tmp_path / "flat.pth", tensors))
