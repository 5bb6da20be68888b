from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from mspn.checkpoints.initialize import Scope, initialize_from_imagenet
from mspn.config.model import CPNConfig, ModelConfig, NetworkConfig, SimpleBaselineConfig
from mspn.errors import WeightsError
from mspn.models import build_network
from mspn.models.base import normalize
from tests.imagenet_file import efficientnet_tensors

CHANNELS = 8
TWO_STAGES = ModelConfig(backbone="efficientnet-lite0", num_stages=2, stem_channels=CHANNELS, up_channels=6)


def start(config: NetworkConfig, tensors: dict[str, Tensor], folder: Path, scope: Scope) -> dict[str, Tensor]:
    """The tensors that starting has changed."""
    torch.save(tensors, folder / "lite0.pth")
    model = build_network(config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    initialize_from_imagenet(model, folder / "lite0.pth", scope)
    return {name: tensor for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def test_every_block_of_an_efficientnet_gets_its_own_tensors(tmp_path: Path):
    tensors = efficientnet_tensors(CHANNELS)

    filled = start(TWO_STAGES, tensors, tmp_path, "all-stages")

    # Blocks 0 and 1 are the stem's, 2 is the level at 1/4, 3 and 4 at 1/8, 5 to 10 at 1/16, 11 to 15 at 1/32.
    for name, original in {
        "stem.conv.norm.running_var": "_bn0.running_var",
        "stem.blocks.0.depthwise.conv.weight": "_blocks.0._depthwise_conv.weight",
        "stem.blocks.0.project.norm.bias": "_blocks.0._bn2.bias",
        "stem.blocks.1.expand.norm.weight": "_blocks.1._bn0.weight",
        "stages.0.down.layers.0.0.expand.conv.weight": "_blocks.2._expand_conv.weight",
        "stages.1.down.layers.1.1.depthwise.norm.running_mean": "_blocks.4._bn1.running_mean",
        "stages.0.down.layers.2.0.project.conv.weight": "_blocks.5._project_conv.weight",
        "stages.1.down.layers.2.5.depthwise.conv.weight": "_blocks.10._depthwise_conv.weight",
        "stages.1.down.layers.3.4.project.norm.num_batches_tracked": "_blocks.15._bn2.num_batches_tracked",
    }.items():
        assert torch.equal(filled[name], tensors[original]), name


@pytest.mark.parametrize(
    ("scope", "prefixes"),
    [
        ("all-stages", ("stem.", "stages.0.down.", "stages.1.down.")),
        ("first-stage", ("stem.", "stages.0.down.")),
        ("stem", ("stem.",)),
    ],
)
def test_a_scope_says_where_an_efficientnet_goes(scope: Scope, prefixes: tuple[str, ...], tmp_path: Path):
    filled = start(TWO_STAGES, efficientnet_tensors(CHANNELS), tmp_path, scope)

    assert filled.keys() == {name for name in build_network(TWO_STAGES).state_dict() if name.startswith(prefixes)}


@pytest.mark.parametrize("kind", [CPNConfig, SimpleBaselineConfig])
def test_the_other_networks_take_an_efficientnet_whole_but_for_its_classifier(
    kind: type[CPNConfig | SimpleBaselineConfig], tmp_path: Path
):
    tensors = efficientnet_tensors(CHANNELS)
    config = kind(backbone="efficientnet-lite0", stem_channels=CHANNELS, up_channels=6)

    filled = start(config, tensors, tmp_path, "all-stages")

    # _conv_head.weight, five tensors of _bn1, two of _fc.
    assert len(filled) == len(tensors) - 8


def test_an_efficientnet_sees_our_crops_as_it_saw_its_own(tmp_path: Path):
    tensors = efficientnet_tensors(CHANNELS)
    torch.save(tensors, tmp_path / "lite0.pth")
    model = build_network(TWO_STAGES).eval()
    crops = torch.randint(0, 256, (1, 32, 32, 3), generator=torch.Generator().manual_seed(5), dtype=torch.uint8)

    initialize_from_imagenet(model, tmp_path / "lite0.pth", "all-stages")

    theirs = functional.conv2d(
        (crops.permute(0, 3, 1, 2) - 127.0) / 128, tensors["_conv_stem.weight"], stride=2, padding=1
    )
    norm = (tensors[f"_bn0.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
    expected = functional.relu6(functional.batch_norm(theirs, *norm, eps=1e-3))
    # The first row and column read padding.
    torch.testing.assert_close(model.stem.conv(normalize(crops))[..., 1:, 1:], expected[..., 1:, 1:])


def test_the_file_of_another_width_is_refused(tmp_path: Path):
    message = (
        r"tensor '_conv_stem.weight' is \(8, 3, 3, 3\), the network has \(4, 3, 3, 3\) \(efficientnet-lite0, stem_"
    )

    with pytest.raises(WeightsError, match=message):
        start(TWO_STAGES, efficientnet_tensors(2 * CHANNELS), tmp_path, "all-stages")


def test_a_file_that_lacks_a_block_is_refused(tmp_path: Path):
    tensors = efficientnet_tensors(CHANNELS)
    del tensors["_blocks.9._bn1.bias"]

    with pytest.raises(WeightsError, match=r"has no tensor '_blocks\.9\._bn1\.bias'; is it of efficientnet-lite0\?"):
        start(TWO_STAGES, tensors, tmp_path, "all-stages")
