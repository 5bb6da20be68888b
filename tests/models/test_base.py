import pytest
import torch

from mspn.config.model import CPNConfig, HourglassConfig, ModelConfig, NetworkConfig, SimpleBaselineConfig
from mspn.models import build_network
from mspn.models.base import normalize
from tests.models.networks import random_crops, random_network
from tests.shallow import cut_backbones

NETWORKS: dict[str, NetworkConfig] = {
    "mspn": ModelConfig(num_stages=2, backbone="resnet18", stem_channels=8, up_channels=16),
    "xception": ModelConfig(num_stages=2, backbone="xception-small", stem_channels=8, up_channels=16),
    "hourglass": HourglassConfig(num_stages=2, stem_channels=8, channels=16, aggregation=True, coarse_heads=True),
    "simple baseline": SimpleBaselineConfig(backbone="resnet18", stem_channels=8, up_channels=16),
    "cpn": CPNConfig(backbone="resnet18", stem_channels=8, up_channels=16),
}


@pytest.fixture(autouse=True)
def _two_blocks_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_backbones(monkeypatch)


every_network = pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)


@every_network
def test_the_final_heat_maps_are_exactly_those_of_the_whole_network(config: NetworkConfig):
    network = random_network(config)
    crops = random_crops()

    with torch.no_grad():
        assert torch.equal(network.final_heatmaps(crops), network(crops)[-1][0])


@every_network
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 160)])
def test_any_multiple_of_32_is_a_crop(config: NetworkConfig, height: int, width: int):
    network = build_network(config).eval()

    for maps in (maps for levels in network(torch.zeros(2, 3, height, width)) for maps in levels):
        assert maps.shape == (2, 17, height // 4, width // 4)


@every_network
@pytest.mark.parametrize("coarse_heads", [True, False])
def test_the_settings_say_how_many_levels_each_stage_has(config: NetworkConfig, coarse_heads: bool):
    if isinstance(config, ModelConfig | HourglassConfig):
        config = config.model_copy(update={"coarse_heads": coarse_heads})

    outputs = build_network(config).eval()(torch.zeros(1, 3, 32, 32))

    assert config.levels_by_stage == [len(levels) for levels in outputs]


@every_network
def test_other_crops_are_refused(config: NetworkConfig):
    network = build_network(config).eval()

    with pytest.raises(ValueError, match="must be multiples of 32 pixels, not 48x64"):
        network(torch.zeros(1, 3, 48, 64))
    with pytest.raises(ValueError, match="must be multiples of 32 pixels, not 48x64"):
        network.final_heatmaps(torch.zeros(1, 3, 48, 64))


@every_network
def test_heat_maps_start_flat(config: NetworkConfig):
    # Against a peak of 1. Behind a norm the deviation is 1/255 = 0.004; without, it depends on the features a little.
    torch.manual_seed(9)
    network = build_network(config).train()

    for maps in (maps for levels in network(random_crops(batch=4)) for maps in levels):
        assert 0.0005 < maps.std().item() < 0.01
        assert maps.mean().abs().item() < 0.01


@every_network
def test_people_of_a_batch_do_not_see_each_other(config: NetworkConfig):
    network = random_network(config)
    crops = random_crops(batch=3)

    with torch.no_grad():
        together, alone = network.final_heatmaps(crops), network.final_heatmaps(crops[1:2])

    torch.testing.assert_close(together[1:2], alone, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["mspn", "hourglass"])
def test_it_can_be_exported_for_any_batch_size(name: str):
    network = random_network(NETWORKS[name])
    batch = torch.export.Dim("batch", min=1, max=64)

    program = torch.export.export(network, (random_crops(batch=2),), dynamic_shapes={"crops": {0: batch}})

    crops = random_crops(batch=5)
    for levels, expected in zip(program.module()(crops), network(crops), strict=True):
        for maps, expected_maps in zip(levels, expected, strict=True):
            torch.testing.assert_close(maps, expected_maps)


def test_each_channel_of_each_pixel_is_normalized_by_its_own_numbers():
    # 255, 0 and 51 are 1, 0 and 0.2: (1 - 0.485) / 0.229 = 2.2489, -0.456 / 0.224 = -2.0357, (0.2 - 0.406) / 0.225.
    crops = torch.zeros(2, 3, 5, 3, dtype=torch.uint8)
    crops[1, 2, 3] = torch.tensor([255, 0, 51])

    images = normalize(crops)

    assert images.shape == (2, 3, 3, 5)
    assert images[1, :, 2, 3].tolist() == pytest.approx([2.2489, -2.0357, -0.9156], abs=1e-4)
    assert images[1, :, 2, 4].tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], abs=1e-6)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert normalize(crops[:0]).shape == (0, 3, 3, 5)
