from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mspn.checkpoints.initialize import Scope, initialize_from_imagenet
from mspn.config.model import (
    BackboneConfig,
    CPNConfig,
    HourglassConfig,
    ModelConfig,
    NetworkConfig,
    SimpleBaselineConfig,
)
from mspn.errors import WeightsError
from mspn.models import build_network
from mspn.models.mspn import MSPN
from tests.imagenet_file import DEPTHS, imagenet_tensors

CHANNELS = 4


def resnet(depth: int) -> dict[str, Tensor]:
    return imagenet_tensors(f"resnet{depth}", CHANNELS)


def network(backbone: str = "resnet50", **settings: Any) -> MSPN:
    torch.manual_seed(32)
    return MSPN(ModelConfig(backbone=backbone, num_stages=3, stem_channels=CHANNELS, up_channels=6, **settings))


def changed(model: MSPN, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def start(model: MSPN, path: Path, scope: Scope = "all-stages") -> set[str]:
    """Names of the tensors that starting has changed."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    initialize_from_imagenet(model, path, scope)
    return changed(model, before)


def save(tensors: dict[str, Tensor], path: Path) -> Path:
    torch.save(tensors, path)
    return path


@pytest.mark.parametrize("backbone", DEPTHS)
def test_the_stem_and_every_stage_on_its_way_down_are_filled(backbone: str, tmp_path: Path):
    tensors = resnet(int(backbone.removeprefix("resnet")))
    model = network(backbone)

    filled = start(model, save(tensors, tmp_path / "resnet.pth"))

    expected = {name for name in model.state_dict() if name.startswith("stem.") or ".down." in name}
    assert filled == expected
    # Each of the three stages has them all; the stem is there once, the classifier nowhere.
    stem = [name for name in tensors if name.startswith(("conv1.", "bn1."))]
    assert len(filled) == 3 * (len(tensors) - len(stem) - 2) + len(stem)


def test_a_stage_of_another_backbone_stays_as_it_was(tmp_path: Path):
    tensors = resnet(18)
    own, other = (BackboneConfig(backbone=name, stem_channels=CHANNELS) for name in ("resnet18", "resnet34"))
    model = build_network(ModelConfig(backbone="resnet18", stem_channels=CHANNELS, up_channels=6, stages=(own, other)))

    filled = start(model, save(tensors, tmp_path / "resnet.pth"))

    assert len(filled) == len(tensors) - 2
    assert not any(name.startswith("stages.1.") for name in filled)


@pytest.mark.parametrize(
    "config",
    [
        SimpleBaselineConfig(backbone="resnet50", stem_channels=CHANNELS, up_channels=6),
        CPNConfig(backbone="resnet50", stem_channels=CHANNELS, up_channels=6),
    ],
    ids=["simple baseline", "CPN"],
)
def test_the_other_networks_on_a_resnet_are_filled_too(config: NetworkConfig, tmp_path: Path):
    tensors = resnet(50)
    model = build_network(config)

    filled = start(model, save(tensors, tmp_path / "resnet.pth"))

    assert len(filled) == len(tensors) - 2
    assert start(build_network(config), tmp_path / "resnet.pth", scope="first-stage") == filled


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (HourglassConfig(num_stages=1, channels=8), "1 stage of hourglass has no ResNet or EfficientNet in it"),
        (ModelConfig(backbone="xception-small", stem_channels=CHANNELS), "2 stages of xception-small has no ResNet"),
    ],
)
def test_a_network_without_a_resnet_cannot_be_filled(config: NetworkConfig, message: str, tmp_path: Path):
    with pytest.raises(WeightsError, match=message):
        initialize_from_imagenet(build_network(config), save(resnet(50), tmp_path / "resnet.pth"), "all-stages")


def test_every_part_of_a_block_gets_its_own_tensor(tmp_path: Path):
    tensors = resnet(50)
    model = network()

    start(model, save(tensors, tmp_path / "resnet.pth"))

    ours = model.state_dict()
    for name, original in {
        "stem.conv.conv.weight": "conv1.weight",
        "stem.conv.norm.running_var": "bn1.running_var",
        "stages.0.down.layers.0.0.conv1.conv.weight": "layer1.0.conv1.weight",
        "stages.1.down.layers.1.3.conv2.conv.weight": "layer2.3.conv2.weight",
        "stages.2.down.layers.2.5.conv3.conv.weight": "layer3.5.conv3.weight",
        "stages.2.down.layers.2.5.conv3.norm.bias": "layer3.5.bn3.bias",
        "stages.1.down.layers.3.0.shortcut.conv.weight": "layer4.0.downsample.0.weight",
        "stages.1.down.layers.3.0.shortcut.norm.running_mean": "layer4.0.downsample.1.running_mean",
        "stages.0.down.layers.3.2.conv1.norm.num_batches_tracked": "layer4.2.bn1.num_batches_tracked",
    }.items():
        assert torch.equal(ours[name], tensors[original]), name


@pytest.mark.parametrize(("scope", "prefixes"), [("first-stage", ("stem.", "stages.0.down.")), ("stem", ("stem.",))])
def test_a_narrower_scope_fills_only_the_beginning(scope: Scope, prefixes: tuple[str, ...], tmp_path: Path):
    model = network()

    filled = start(model, save(resnet(50), tmp_path / "resnet.pth"), scope)

    assert filled == {name for name in model.state_dict() if name.startswith(prefixes)}


def test_a_safetensors_file_fills_the_same(tmp_path: Path):
    tensors, one, other = resnet(50), network(), network()
    save_file(tensors, tmp_path / "resnet.safetensors")

    start(one, tmp_path / "resnet.safetensors")
    start(other, save(tensors, tmp_path / "resnet.pth"))

    assert changed(one, other.state_dict()) == set()


def test_a_file_without_a_classifier_or_counts_of_batches_is_whole(tmp_path: Path):
    tensors = resnet(50)
    old = {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }

    filled = start(network(), save(old, tmp_path / "resnet.pth"))

    assert "stages.2.down.layers.3.2.conv3.conv.weight" in filled
    assert not any(name.endswith("num_batches_tracked") for name in filled)


@pytest.mark.parametrize("scope", ["all-stages", "stem"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("layer3.4.bn2.weight"), "has no tensor 'layer3.4.bn2.weight'; is it of resnet50"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "has the unknown tensor 'extra'; is it of resnet50"),
        (
            lambda tensors: tensors.update({"layer1.0.conv1.weight": torch.zeros(8, 4, 1, 1)}),
            r"tensor 'layer1.0.conv1.weight' is \(8, 4, 1, 1\), the network has \(4, 4, 1, 1\) \(resnet50, stem_",
        ),
    ],
    ids=["missing", "unknown", "misshapen"],
)
def test_a_file_that_does_not_fit_is_refused_by_name_and_changes_nothing(
    change: Any, message: str, scope: Scope, tmp_path: Path
):
    tensors, model = resnet(50), network()
    change(tensors)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    with pytest.raises(WeightsError, match=message):
        initialize_from_imagenet(model, save(tensors, tmp_path / "resnet.pth"), scope)

    assert changed(model, before) == set()


def test_the_file_of_another_depth_is_refused(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"resnet\.pth has no tensor 'layer1\.0\.conv3\.weight'|is \(4, 4, 3, 3\)"):
        initialize_from_imagenet(network(), save(resnet(18), tmp_path / "resnet.pth"), "all-stages")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("resnet.pth", b"no zip", r"resnet\.pth is damaged, or no checkpoint"),
        ("resnet.safetensors", b"no table", r"resnet\.safetensors is not a safetensors file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(name: str, content: bytes, message: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(WeightsError, match=message):
        initialize_from_imagenet(network(), tmp_path / name, "all-stages")


def test_a_missing_file_and_one_that_holds_no_tensors_are_refused(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"no ImageNet weights at .*gone\.pth; check train\.initial_weights"):
        initialize_from_imagenet(network(), tmp_path / "gone.pth", "all-stages")
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "run.pth")
    with pytest.raises(WeightsError, match=r"run\.pth holds no plain table of tensors"):
        initialize_from_imagenet(network(), tmp_path / "run.pth", "all-stages")
