import sys

import pytest
import torch
from torch import Tensor

from mspn.config.recipes import RECIPES
from mspn.inference.fold import HEATMAPS, export_onnx
from mspn.inference.quantization import CalibrationRanges, calibrate_activations, find_float32_nodes, quantize
from mspn.models import build_network
from mspn.models.base import PoseNetwork, normalize
from tests.config.test_every_recipe import small


@pytest.fixture(scope="module")
def network() -> PoseNetwork:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(6)
    return build_network(small(RECIPES["resnet18-2"]).model.model_copy(update={"num_stages": 1})).eval()


@pytest.fixture(scope="module")
def crops() -> Tensor:
    """More than the calibrator sees at once."""
    return torch.randint(0, 256, (11, 64, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(7))


@pytest.fixture(scope="module")
def ranges(network: PoseNetwork, crops: Tensor) -> CalibrationRanges:
    return calibrate_activations(network, crops)


def test_ranges_go_from_the_lowest_to_the_highest_value_of_all_crops(
    network: PoseNetwork, crops: Tensor, ranges: CalibrationRanges
):
    with torch.inference_mode():
        heatmaps = network.final_heatmaps(normalize(crops))

    assert ranges[HEATMAPS] == pytest.approx((heatmaps.min().item(), heatmaps.max().item()), rel=1e-3)
    assert all(low <= high for low, high in ranges.values())


def test_convolutions_have_weights_and_biases_of_integers_also_where_a_file_holds_equal_ones_once(
    network: PoseNetwork, ranges: CalibrationRanges
):
    onnx = pytest.importorskip("onnx")
    exported = export_onnx(network)
    # Untrained biases are all 0.
    assert "Identity" in {node.op_type for node in onnx.load_model_from_string(exported).graph.node}

    nodes = onnx.load_model_from_string(quantize(exported, ranges)).graph.node

    of_integers = {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}
    taken = {name for node in nodes if node.op_type == "Conv" for name in node.input}
    assert taken <= of_integers


def test_all_convolutions_but_the_first_compute_in_integers(network: PoseNetwork, ranges: CalibrationRanges):
    onnx = pytest.importorskip("onnx")
    exported = export_onnx(network)

    nodes = onnx.load_model_from_string(quantize(exported, ranges, find_float32_nodes(exported))).graph.node

    makers = {output: node.op_type for node in nodes for output in node.output}
    in_float = [node.name for node in nodes if node.op_type == "Conv" and makers[node.input[0]] != "DequantizeLinear"]
    assert in_float == ["/stem/conv/conv/Conv"]


def test_of_an_efficientnet_the_first_block_stays_in_float32_too():
    pytest.importorskip("onnx")
    config = small(RECIPES["mspn-tiny"]).model
    names = find_float32_nodes(export_onnx(build_network(config).eval()))

    assert [name for name in names if name.endswith("/Conv")] == [
        "/stem/conv/conv/Conv",
        "/stem/blocks/blocks.0/depthwise/conv/Conv",
        "/stem/blocks/blocks.0/project/conv/Conv",
    ]


def test_without_ranges_there_is_no_int8():
    with pytest.raises(ValueError, match="measure them on images with `mspn models quantize`"):
        quantize(b"", {})


def test_ranges_of_another_network_are_refused(network: PoseNetwork):
    with pytest.raises(ValueError, match="calibration ranges in the weights file are of another network; measure them"):
        quantize(export_onnx(network), {"elsewhere": (0.0, 1.0)})


def test_missing_tools_name_their_extra(network: PoseNetwork, crops: Tensor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)

    with pytest.raises(ValueError, match=r"int8 needs onnxruntime's tools; pip install 'mspn\[onnx\]'"):
        calibrate_activations(network, crops)
