import ast
import hashlib
import math
import os
import pickle
import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mspn.checkpoints.convert import read_external, to_layout, write_external
from mspn.checkpoints.external import Layout
from mspn.config.model import ModelConfig
from mspn.config.protocol import FAITHFUL_TEST, MMPOSE_TEST
from mspn.errors import FileError, WeightsError
from mspn.models.mspn import MSPN
from tests.full_disk import full_disk
from tests.golden import GOLDEN_RSNS, golden_rsn_figures, unfilled

LAYOUTS: list[Layout] = ["official", "mmpose", "mmpose-0.x"]


def small(**settings: Any) -> ModelConfig:
    return ModelConfig(**({"backbone": "resnet18", "num_stages": 2, "stem_channels": 4, "up_channels": 6} | settings))


@cache
def random_network(config: ModelConfig) -> MSPN:
    """A network of which no two tensors are alike; for all tests the same one, to be left as it is."""
    generator = torch.Generator().manual_seed(11)
    network = MSPN(config).eval()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + ("running_var" in name))
            else:
                tensor.fill_(1234)
    return network


def random_official(config: ModelConfig) -> dict[str, Tensor]:
    """Tensors as the released code would save them, biases and all."""
    return dict(_random_official(config))


@cache
def _random_official(config: ModelConfig) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(12)
    tensors = to_layout(random_network(config), "official")
    return {
        name: torch.rand(tensor.shape, generator=generator) if name.endswith("conv.bias") else tensor
        for name, tensor in tensors.items()
    }


def assert_same_tensors(one: MSPN, other: MSPN) -> None:
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def save_official(path: Path, tensors: dict[str, Any]) -> Path:
    torch.save({"model": tensors, "iteration": 96000}, path)
    return path


def crops() -> Tensor:
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(13))


CONFIGS = {
    "resnet50": small(backbone="resnet50"),
    "1 stage": small(num_stages=1),
    "3 stages": small(num_stages=3),
    "resnet18": small(),
    "resnet34": small(backbone="resnet34", num_stages=1),
    "resnet101": small(backbone="resnet101", num_stages=1),
    "resnet26": small(backbone="resnet26", bottleneck_expansion=1),
    "rsn18": small(backbone="rsn18"),
    "rsn50": small(backbone="rsn50", num_stages=1),
    "rsn18, own width": small(backbone="rsn18", rsn_width="own", num_stages=1),
    "rsn50, own width, expanded": small(backbone="rsn50", rsn_width="own", rsn_expansion=4, num_stages=1),
    "rsn18, expanded": small(backbone="rsn18", rsn_expansion=2, num_stages=1),
    "no aggregation": small(aggregation=False),
    "5 keypoints": small(num_keypoints=5),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_network_written_for_others_comes_back_bit_by_bit(config: ModelConfig, layout: Layout, tmp_path: Path):
    network = random_network(config)

    write_external(tmp_path / "foreign.pth", network, layout)
    back = read_external(tmp_path / "foreign.pth")

    assert back.model.config == config
    assert not back.model.training
    assert_same_tensors(back.model, network)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_refine_machine_comes_back_bit_by_bit(layout: Layout, tmp_path: Path):
    form = "official" if layout == "official" else "mmpose"
    network = random_network(small(pose_refine_machine=form))

    write_external(tmp_path / "foreign.pth", network, layout)
    back = read_external(tmp_path / "foreign.pth").model

    assert back.config == network.config
    assert_same_tensors(back, network)


@pytest.mark.parametrize(("form", "layout"), [("mmpose", "official"), ("official", "mmpose")])
def test_a_refine_machine_of_another_form_has_no_place(form: str, layout: Layout):
    network = MSPN(small(backbone="rsn18", pose_refine_machine=form))

    with pytest.raises(WeightsError, match=f"pose_refine_machine {form} has no {layout} layout, which is for {layout}"):
        to_layout(network, layout)


def test_a_linear_layers_bias_lowers_the_running_mean(tmp_path: Path):
    tensors = to_layout(random_network(small(pose_refine_machine="mmpose")), "mmpose")
    tensors["head.predict_layers.3.prm.middle_path.3.bias"] += torch.arange(17.0)
    torch.save({"state_dict": tensors}, tmp_path / "mmpose.pth")

    network = read_external(tmp_path / "mmpose.pth").model

    expected = tensors["head.predict_layers.3.prm.middle_path.4.running_mean"] - torch.arange(17.0)
    assert torch.equal(network.stages[0].refine[0].middle[1].norm.running_mean, expected)


@pytest.mark.parametrize("variant", GOLDEN_RSNS)
def test_rsns_tensors_have_the_names_and_shapes_of_the_originals(variant: str):
    figures, config = golden_rsn_figures(variant), GOLDEN_RSNS[variant]
    official = shapes(config, "official")
    mmpose = shapes(config, "mmpose")

    assert len(official) == figures["tensors"]
    assert digest(official) == figures["official_names"]
    assert digest(mmpose) == figures["mmpose_names"]
    assert parameters(official) == figures["parameters_with_conv_biases"]
    assert parameters(mmpose) == figures["mmpose_parameters"]
    for form in ("official", "mmpose"):
        refined = shapes(config.model_copy(update={"pose_refine_machine": form}), form)
        assert digest([row for row in refined if ".prm." in row]) == figures[f"{form}_machine_names"]


@pytest.mark.parametrize(
    ("backbone", "num_stages", "official", "mmpose"),
    [
        ("rsn18", 1, (9_159_072, 805), (9_165_208, 842)),
        ("rsn50", 2, (39_316_920, 3010), (39_302_448, 2884)),
    ],
)
def test_rsns_have_as_many_parameters_and_tensors_as_the_authors_and_as_mmposes_refined_ones(
    backbone: str, num_stages: int, official: tuple[int, int], mmpose: tuple[int, int]
):
    config = ModelConfig(backbone=backbone, num_stages=num_stages)
    theirs = shapes(config, "official")
    refined = shapes(config.model_copy(update={"pose_refine_machine": "mmpose"}), "mmpose")

    assert (parameters(theirs), len(theirs)) == official
    assert (parameters(refined), len(refined)) == mmpose


def shapes(config: ModelConfig, layout: Layout) -> list[str]:
    """Names and shapes of a network's tensors in a layout."""
    tensors = to_layout(_unfilled_network(config), layout)
    return [f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items()]


_unfilled_network = lru_cache(maxsize=1)(unfilled)


def digest(rows: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:16]


def parameters(rows: list[str]) -> int:
    """Of all that is learned: weights and biases."""
    learned = [row.split(" ", 1) for row in rows if re.search(r"\.(weight|bias) ", row)]
    return sum(math.prod(ast.literal_eval(shape)) for _, shape in learned)


def test_an_rsn_of_other_depths_is_refused(tmp_path: Path):
    tensors = random_official(small(backbone="rsn18", num_stages=1))
    tensors["stage0.downsample.layer2.5.conv_bn_relu1.conv.bias"] = torch.zeros(1)

    with pytest.raises(WeightsError, match=r"layers of \[2, 6, 2, 2\] residual steps blocks; there are rsn18, rsn50"):
        read_external(save_official(tmp_path / "deep.pth", tensors))


@pytest.mark.parametrize(
    "name",
    [
        "stage0.downsample.layer1.0.conv_bn_relu3.conv.weight",
        "stage0.downsample.layer3.1.conv_bn_relu1.conv.weight",
        "stage0.downsample.layer2.0.conv_bn_relu2_1_1.conv.weight",
        "stage0.downsample.layer4.0.conv_bn_relu2_4_4.bn.running_mean",
    ],
)
@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda tensors, name: tensors.pop(name), "has no tensor '{}'; it is no RSN of the official layout"),
        (lambda tensors, name: tensors.update({name: torch.tensor(1.0)}), r"tensor '{}' is \(\), not"),
    ],
    ids=["missing", "scalar"],
)
def test_a_damaged_rsn_is_refused_by_the_tensors_name(
    name: str, damage: Callable[[dict[str, Tensor], str], Any], problem: str, tmp_path: Path
):
    tensors = random_official(small(backbone="rsn18", num_stages=1))
    damage(tensors, name)

    with pytest.raises(WeightsError, match=problem.format(name)):
        read_external(save_official(tmp_path / "cut.pth", tensors))


def test_official_weights_pass_through_mmpose_without_loss(tmp_path: Path):
    first = read_external(save_official(tmp_path / "official.pth", random_official(small())))

    write_external(tmp_path / "mmpose.pth", first.model, "mmpose")
    second = read_external(tmp_path / "mmpose.pth")

    assert_same_tensors(second.model, first.model)


def test_head_norms_as_they_are_initialized_come_back_bit_by_bit(tmp_path: Path):
    network = MSPN(small())

    write_external(tmp_path / "mmpose.pth", network, "mmpose")

    assert_same_tensors(read_external(tmp_path / "mmpose.pth").model, network)


def test_a_value_without_a_float32_multiple_is_kept_in_float64(tmp_path: Path):
    # A value of which no float32 divided by 255 gives this very float32 back.
    values = torch.rand(5000, generator=torch.Generator().manual_seed(14))
    above = torch.tensor(float("inf"))
    nearest = values * 255
    near = [nearest, torch.nextafter(nearest, above), torch.nextafter(nearest, -above)]
    has_multiple = torch.stack([(multiple.double() / 255).float() == values for multiple in near]).any(0)
    awkward = values[~has_multiple][0]
    network = deepcopy(random_network(small()))
    with torch.no_grad():
        network.stages[0].heads[0].predict.norm.weight[3] = awkward

    written = to_layout(network, "official")["stage0.upsample.up4.res_conv2.bn.weight"]
    write_external(tmp_path / "official.pth", network, "official")
    back = read_external(tmp_path / "official.pth").model

    assert written.dtype == torch.float64
    assert back.stages[0].heads[0].predict.norm.weight.dtype == torch.float32
    assert_same_tensors(back, network)


def test_official_heads_peak_at_255_and_ours_at_1():
    network = random_network(small())
    norm = network.stages[1].heads[0].predict.norm

    for layout, name in [
        ("official", "stage1.upsample.up4.res_conv2.bn.bias"),
        ("mmpose", "head.predict_layers.7.conv_layers.1.bn.bias"),
    ]:
        torch.testing.assert_close(to_layout(network, layout)[name].float(), norm.bias * 255)


def test_the_official_stem_sees_blue_first():
    network = random_network(small())
    ours = network.stem.conv.conv.weight

    assert torch.equal(to_layout(network, "official")["top.conv.conv.weight"], ours[:, [2, 1, 0]])
    assert torch.equal(to_layout(network, "mmpose")["backbone.top.top.0.conv.weight"], ours)


def test_an_official_bias_lowers_the_running_mean(tmp_path: Path):
    tensors = random_official(small())

    network = read_external(save_official(tmp_path / "official.pth", tensors)).model

    expected = tensors["stage0.upsample.up2.u_skip.bn.running_mean"] - tensors["stage0.upsample.up2.u_skip.conv.bias"]
    # Unit up2 of the released code is the level at 1/16: the third of ours.
    assert torch.equal(network.stages[0].up[2].lateral.norm.running_mean, expected)


@pytest.mark.parametrize(
    ("num_stages", "layout", "count"),
    [(1, "official", 476), (2, "official", 1008), (4, "official", 2072), (1, "mmpose", 408), (4, "mmpose", 1776)],
)
def test_layouts_have_as_many_tensors_as_the_originals(num_stages: int, layout: Layout, count: int):
    assert len(to_layout(MSPN(small(backbone="resnet50", num_stages=num_stages)), layout)) == count


def test_names_are_those_of_the_originals():
    network = MSPN(small(backbone="resnet50"))
    official, mmpose = to_layout(network, "official"), to_layout(network, "mmpose")

    # One name of every kind.
    stage = "backbone.multi_stage_mspn.0"
    pairs = {
        "top.conv": ("backbone.top.top.0.conv", "backbone.top.top.0.bn"),
        "stage0.downsample.layer2.0.downsample": (
            f"{stage}.downsample.layer2.0.downsample.conv",
            f"{stage}.downsample.layer2.0.downsample.bn",
        ),
        "stage0.downsample.layer3.5.conv_bn_relu2": (
            f"{stage}.downsample.layer3.5.conv2",
            f"{stage}.downsample.layer3.5.bn2",
        ),
        "stage0.upsample.up1.u_skip": (f"{stage}.upsample.up1.in_skip.conv", f"{stage}.upsample.up1.in_skip.bn"),
        "stage0.upsample.up3.up_conv": (f"{stage}.upsample.up3.up_conv.conv", f"{stage}.upsample.up3.up_conv.bn"),
        "stage0.upsample.up2.skip1": (f"{stage}.upsample.up2.out_skip1.conv", f"{stage}.upsample.up2.out_skip1.bn"),
        "stage0.upsample.up2.skip2": (f"{stage}.upsample.up2.out_skip2.conv", f"{stage}.upsample.up2.out_skip2.bn"),
        "stage0.upsample.up4.cross_conv": (
            f"{stage}.upsample.up4.cross_conv.conv",
            f"{stage}.upsample.up4.cross_conv.bn",
        ),
        # Heads are numbered 4 stage + unit - 1.
        "stage1.upsample.up2.res_conv1": (
            "head.predict_layers.5.conv_layers.0.conv",
            "head.predict_layers.5.conv_layers.0.bn",
        ),
    }
    for name, (conv, norm) in pairs.items():
        assert torch.equal(official[f"{name}.bn.running_var"], mmpose[f"{norm}.running_var"])
        assert official[f"{name}.conv.weight"].shape == mmpose[f"{conv}.weight"].shape
        assert torch.equal(official[f"{name}.conv.bias"], torch.zeros(len(mmpose[f"{conv}.weight"])))


def test_the_layout_and_its_protocol_are_recognized(tmp_path: Path):
    network = random_network(small())
    write_external(tmp_path / "official.pth", network, "official")
    write_external(tmp_path / "mmpose.pth", network, "mmpose")

    official, mmpose = (read_external(tmp_path / f"{layout}.pth").metadata for layout in ("official", "mmpose"))

    assert official.notes == "converted from official.pth (official layout)"
    assert mmpose.notes == "converted from mmpose.pth (mmpose layout)"
    assert official.recipe.test == FAITHFUL_TEST
    assert mmpose.recipe.test == MMPOSE_TEST
    assert official.recipe.name == "official"
    assert official.recipe.skeleton == "coco-17"


@pytest.mark.parametrize(
    ("num_keypoints", "skeleton"), [(5, "unnamed-5"), (14, "lsp-14"), (16, "mpii-16"), (17, "coco-17")]
)
def test_the_number_of_keypoints_suggests_the_skeleton(num_keypoints: int, skeleton: str, tmp_path: Path):
    write_external(tmp_path / "foreign.pth", random_network(small(num_keypoints=num_keypoints)), "official")

    recipe = read_external(tmp_path / "foreign.pth").metadata.recipe

    assert recipe.skeleton == skeleton
    assert recipe.model.num_keypoints == num_keypoints


def old_mmpose(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "state_dict": {name.replace("head.", "keypoint_head.", 1): value for name, value in tensors.items()},
        "meta": {},
    }


def with_preprocessor(tensors: dict[str, Tensor]) -> dict[str, Any]:
    mean = {"data_preprocessor.mean": torch.zeros(3, 1, 1), "data_preprocessor.std": torch.ones(3, 1, 1)}
    return {"state_dict": mean | tensors}


def of_several_gpus(tensors: dict[str, Tensor]) -> dict[str, Any]:
    return {"state_dict": {f"module.{name}": value for name, value in tensors.items()}}


@pytest.mark.parametrize(
    "as_saved", [old_mmpose, with_preprocessor, of_several_gpus, dict], ids=["v0", "v1", "distributed", "bare"]
)
def test_checkpoints_of_all_mmpose_versions_are_read(as_saved: Callable[[dict], dict], tmp_path: Path):
    network = random_network(small())
    torch.save(as_saved(to_layout(network, "mmpose")), tmp_path / "mmpose.pth")

    assert_same_tensors(read_external(tmp_path / "mmpose.pth").model, network)


def test_the_layout_of_mmpose_0_x_has_another_name_for_the_heads():
    network = random_network(small(num_stages=1))
    new, old = to_layout(network, "mmpose"), to_layout(network, "mmpose-0.x")

    assert list(old) == [name.replace("head.", "keypoint_head.", 1) for name in new]
    assert "keypoint_head.predict_layers.0.conv_layers.1.bn.bias" in old


def test_a_resnet_18_network_gives_the_same_maps_after_the_official_layout(tmp_path: Path):
    torch.manual_seed(15)
    network = MSPN(small()).eval()

    write_external(tmp_path / "official.pth", network, "official")

    with torch.no_grad():
        assert torch.equal(read_external(tmp_path / "official.pth").model(crops())[1][3], network(crops())[1][3])


class _MakesAFolder:
    """When unpickled carelessly, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_checkpoint_with_code_is_refused_and_its_code_never_runs(save: Callable[[Any, Path], Any], tmp_path: Path):
    path, trap = tmp_path / "evil.pth", tmp_path / "trap"
    save({"model": to_layout(MSPN(small(num_stages=1)), "official"), "optimizer": _MakesAFolder(trap)}, path)

    with pytest.raises(
        WeightsError, match=r"evil\.pth (wants to run posix\.mkdir when it is read, which is|is damaged)"
    ):
        read_external(path)

    assert not trap.exists()


def test_a_missing_checkpoint_is_refused(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"no checkpoint at .*nowhere\.pth; check the path"):
        read_external(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path):
    path = tmp_path / "notes.pth"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"notes\.pth is damaged, or no checkpoint"):
        read_external(path)


@pytest.mark.parametrize(
    "content", [[1, 2], {"model": {"epoch": 3}}, torch.zeros(3)], ids=["list", "numbers", "tensor"]
)
def test_a_checkpoint_without_a_table_of_tensors_is_refused(content: Any, tmp_path: Path):
    torch.save(content, tmp_path / "other.pth")

    with pytest.raises(
        WeightsError, match=r"other\.pth holds no table of tensors; is it a checkpoint of MSPN or MMPose\?"
    ):
        read_external(tmp_path / "other.pth")


@pytest.mark.parametrize(
    ("config", "backbone"),
    [
        (small(backbone="xception-small", num_stages=1), "xception-small, size halved by 3x3 convolutions,"),
        (small(backbone="resnet50", bottleneck_stride="1x1"), "resnet50, size halved by 1x1 convolutions,"),
    ],
)
def test_a_backbone_that_others_do_not_know_is_not_written(config: ModelConfig, backbone: str):
    with pytest.raises(WeightsError, match=f"a network of {backbone} has no mmpose layout"):
        to_layout(MSPN(config), "mmpose")


def test_another_network_is_refused(tmp_path: Path):
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet.pth")

    with pytest.raises(
        WeightsError, match=r"resnet\.pth has no convolution 'backbone\.top\.top.*'; it is no MSPN checkpoint"
    ):
        read_external(tmp_path / "resnet.pth")


def test_a_missing_tensor_is_named(tmp_path: Path):
    tensors = random_official(small())
    del tensors["stage1.upsample.up3.res_conv1.bn.weight"]

    message = (
        r"cut\.pth has no tensor 'stage1\.upsample\.up3\.res_conv1\.bn\.weight'; it is no MSPN of the official layout"
    )
    with pytest.raises(WeightsError, match=message):
        read_external(save_official(tmp_path / "cut.pth", tensors))


def test_an_unknown_tensor_is_named(tmp_path: Path):
    tensors = random_official(small()) | {"stage0.upsample.up1.attention.weight": torch.zeros(1)}

    message = (
        r"more\.pth has the unknown tensor 'stage0\.upsample\.up1\.attention\.weight'; it is another network than MSPN"
    )
    with pytest.raises(WeightsError, match=message):
        read_external(save_official(tmp_path / "more.pth", tensors))


def test_a_tensor_of_another_shape_is_named(tmp_path: Path):
    tensors = random_official(small()) | {"stage1.upsample.up4.u_skip.conv.weight": torch.zeros(6, 3, 1, 1)}

    message = r"odd\.pth: tensor 'stage1\.upsample\.up4\.u_skip\.conv\.weight' is \(6, 3, 1, 1\), not \(6, 4, 1, 1\)"
    with pytest.raises(WeightsError, match=message):
        read_external(save_official(tmp_path / "odd.pth", tensors))


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("top.conv.conv.bias", torch.tensor(0.0), r"is \(\), not \(4,\)"),
        ("top.conv.conv.bias", torch.zeros(1), r"is \(1,\), not \(4,\)"),
        ("top.conv.conv.bias", torch.zeros(5), r"is \(5,\), not \(4,\)"),
        ("stage0.upsample.up2.u_skip.bn.running_mean", torch.zeros(1), r"is \(1,\), not \(6,\)"),
        ("top.conv.bn.bias", torch.zeros(4, dtype=torch.int64), "has numbers of the kind torch.int64"),
        ("top.conv.bn.bias", torch.zeros(4, dtype=torch.complex64), "has numbers of the kind torch.complex64"),
        ("top.conv.bn.bias", torch.full((4,), float("nan")), "has numbers that are not finite"),
    ],
)
def test_a_tensor_that_would_fit_by_accident_is_refused_by_name(
    name: str, tensor: torch.Tensor, message: str, tmp_path: Path
):
    tensors = random_official(small()) | {name: tensor}

    with pytest.raises(WeightsError, match=rf"odd\.pth: tensor '{name}' {message}"):
        read_external(save_official(tmp_path / "odd.pth", tensors))


@pytest.mark.parametrize(
    "name",
    [
        "stage0.downsample.layer3.2.conv_bn_relu1.conv.weight",
        "stage0.downsample.layer1.0.conv_bn_relu3.conv.weight",
        "stage0.upsample.up1.skip1.conv.weight",
        "stage1.downsample.layer1.0.conv_bn_relu1.conv.weight",
    ],
)
def test_a_missing_tensor_that_shows_the_networks_shape_is_named_too(name: str, tmp_path: Path):
    tensors = random_official(small(backbone="resnet50"))
    del tensors[name]

    with pytest.raises(WeightsError, match=f"has no tensor '{name}'"):
        read_external(save_official(tmp_path / "cut.pth", tensors))


@pytest.mark.parametrize("name", ["stage1.foo", "stage2.foo", "stage999.downsample.foo"])
def test_an_unknown_tensor_of_a_stage_that_there_is_not_is_named(name: str, tmp_path: Path):
    tensors = random_official(small()) | {name: torch.zeros(1)}

    with pytest.raises(WeightsError, match=f"has the unknown tensor '{name}'"):
        read_external(save_official(tmp_path / "odd.pth", tensors))


def test_a_tensor_that_is_there_with_and_without_a_prefix_is_refused(tmp_path: Path):
    tensors = random_official(small())
    tensors["module.top.conv.conv.bias"] = tensors["top.conv.conv.bias"]

    with pytest.raises(WeightsError, match=r"has 'top\.conv\.conv\.bias' twice, with and without a prefix"):
        read_external(save_official(tmp_path / "odd.pth", tensors))


def test_tensors_without_names_are_no_table_of_tensors(tmp_path: Path):
    torch.save({"state_dict": {0: torch.zeros(3)}}, tmp_path / "optimizer.pth")

    with pytest.raises(WeightsError, match="holds no table of tensors"):
        read_external(tmp_path / "optimizer.pth")


@pytest.mark.parametrize(
    ("name", "shape", "problem"),
    [
        ("top.conv.conv.weight", (0, 3, 7, 7), "stem_channels: Input should be greater than or equal to 1"),
        ("top.conv.conv.weight", (1025, 3, 1, 1), "stem_channels: Input should be less than or equal to 1024"),
    ],
)
def test_a_network_of_a_width_that_is_not_built_is_refused(
    name: str, shape: tuple[int, ...], problem: str, tmp_path: Path
):
    tensors = random_official(small(num_stages=1)) | {name: torch.zeros(shape)}

    with pytest.raises(WeightsError, match=rf"wide\.pth holds a network of a shape that is not built here: {problem}"):
        read_external(save_official(tmp_path / "wide.pth", tensors))


def test_a_stage_of_a_number_of_thousands_of_digits_is_no_stage(tmp_path: Path):
    name = f"stage{'1' * 5000}.downsample.layer1.0.conv_bn_relu1.conv.weight"
    tensors = random_official(small(num_stages=1)) | {name: torch.zeros(1)}

    with pytest.raises(WeightsError, match="has the unknown tensor 'stage1111"):
        read_external(save_official(tmp_path / "long.pth", tensors))


@pytest.mark.parametrize("layout", ["official", "mmpose"])
def test_a_full_disk_names_the_file(layout: Layout, tmp_path: Path):
    network = random_network(small(num_stages=1))

    with (
        full_disk(1000),
        pytest.raises(FileError, match=r"could not write .*other\.pth \(.*\); is there room on the disk"),
    ):
        write_external(tmp_path / "other.pth", network, layout)

    assert list(tmp_path.iterdir()) == []
