"""Graphs as ONNX, by torch's exporter; their weights in half the bytes, for files that travel."""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from mspn.config.model import CROP_MULTIPLE
from mspn.detectors.base import MAX_SUPPORT, SUPPORT_POWER, USUAL_SUPPORT
from mspn.errors import ExportError, import_extra
from mspn.export.graphs import NETWORK
from mspn.inference.exported_files import (
    IMAGE_SIZES,
    METADATA_KEY,
    DetectorExportMetadata,
    ExportMetadata,
    NetworkInput,
)
from mspn.inference.quantization import stays_in_float32
from mspn.structures.boxes import VOTE_POWER

OPSET = 18
"""Of ONNX, which onnxruntime reads from 1.14 on."""
_BATCH = 2
_EXAMPLE_SIDES = (96, 64)
"""Of an input whose size is left open; two numbers, so that torch does not take them for one."""
_MAX_MULTIPLES = 128
_MIN_HALVED = 4
"""Values for each channel; biases and factors, which have one, are few."""
_MISSING = "exporting needs onnx, onnxscript and onnxruntime; pip install 'mspn[onnx]'"


def trace(graph: nn.Module, description: NetworkInput) -> ExportedProgram:
    """The operations of a graph, for any number of people or images.

    Args:
        graph: of `mspn.export.graphs`; it is put into eval mode, and its weights can no longer be trained.
        description: of its input.
    """
    sides = (description.height, description.width)
    dims = [
        None if side is not None else CROP_MULTIPLE * Dim(name, max=_MAX_MULTIPLES)
        for side, name in zip(sides, ("rows", "columns"), strict=True)
    ]
    example_sides = [side or example for side, example in zip(sides, _EXAMPLE_SIDES, strict=True)]
    is_uint8 = description.type == "uint8"
    example = torch.zeros(_BATCH, 3, *example_sides, dtype=torch.uint8 if is_uint8 else torch.float32)
    open_dims = {0: Dim("people" if description.name == "crops" else "images"), 2: dims[0], 3: dims[1]}
    if description.layout == "NHWC":
        example = example.permute(0, 2, 3, 1).contiguous()
        open_dims = {0: open_dims[0], 1: dims[0], 2: dims[1]}
    with _quiet_exporter():
        return torch.export.export(
            graph.eval().requires_grad_(False),
            (example,),
            dynamic_shapes=({axis: dim for axis, dim in open_dims.items() if dim is not None},),
            strict=False,
        )


def make_onnx(program: ExportedProgram, metadata: ExportMetadata, output_names: Sequence[str]) -> Any:
    """A traced graph as an ONNX model, its metadata left out.

    Raises:
        ExportError: if onnx or onnxscript is not installed.
    """
    for library in ("onnx", "onnxscript"):
        import_extra(library, ExportError(_MISSING))
    with _quiet_exporter():
        exported = torch.onnx.export(
            program,
            (),
            input_names=[metadata.input.name],
            output_names=list(output_names),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    model.producer_name, model.producer_version = "mspn", metadata.mspn
    _name_dimensions(model.graph, metadata.input)
    return model


def write_metadata(model: Any, text: str) -> None:
    """Put JSON text into an ONNX model, in place of the metadata that are there."""
    del model.metadata_props[:]
    model.metadata_props.add(key=METADATA_KEY, value=text)


def nodes_in_float32(model: Any) -> list[str]:
    """Names of the nodes that int8 leaves as they are: steps before and after the network, and its first layers."""
    modules = {node.name: _modules(node) for node in model.graph.node}
    return [name for name, inside in modules.items() if not inside or any(map(stays_in_float32, inside))]


def halve(model: Any, network: nn.Module) -> Any:
    """A copy whose weights take 16 bits in the file; they are widened when it is opened, and computed with in float32.

    Args:
        model: made of the network, in float32.
        network: weights that were stored in 16 bits before stay as exact as they are; others are rounded.

    Raises:
        ExportError: if onnx is not installed.
    """
    onnx = import_extra("onnx", ExportError(_MISSING))
    halved = type(model).FromString(halve_weights(model.SerializeToString(), network))
    graph, to_array, from_array = halved.graph, onnx.numpy_helper.to_array, onnx.numpy_helper.from_array
    for item in list(graph.initializer):
        if item.data_type != onnx.TensorProto.FLOAT or np.prod(item.dims[1:]) < _MIN_HALVED:
            continue
        graph.initializer.remove(item)
        graph.initializer.append(from_array(to_array(item).astype(np.float16), f"{item.name}.half"))
        cast = onnx.helper.make_node("Cast", [f"{item.name}.half"], [item.name], to=onnx.TensorProto.FLOAT)
        graph.node.insert(0, cast)
    return halved


def forget_origin(model: Any) -> None:
    """Remove what torch notes for each node, which has paths of the exporting machine and a third of a small file."""
    graph = model.graph
    for item in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer, graph):
        del item.metadata_props[:]
    for node in graph.node:
        node.ClearField("doc_string")


def add_suppression(model: Any, metadata: DetectorExportMetadata) -> None:
    """Let a detector's model choose among its candidates: non-maximum suppression, which torch has no operator for.

    As the package does, boxes are cut off at the borders of the image before, and suppressed ones vote after; the best
    come first. How much of the input is image, the rest being gray, is a second input.

    Raises:
        ExportError: if onnx is not installed.
    """
    onnx = import_extra("onnx", ExportError(_MISSING))
    graph, helper = model.graph, onnx.helper
    constants = {
        "max_people": (onnx.TensorProto.INT64, metadata.max_people),
        "iou_threshold": (onnx.TensorProto.FLOAT, metadata.iou_threshold),
        "min_score": (onnx.TensorProto.FLOAT, metadata.min_score),
        "zero": (onnx.TensorProto.FLOAT, 0.0),
        "smallest_area": (onnx.TensorProto.FLOAT, 1e-9),
        "smallest_total": (onnx.TensorProto.FLOAT, float(np.finfo(np.float32).tiny)),
        "vote_power": (onnx.TensorProto.FLOAT, VOTE_POWER),
        "usual_support": (onnx.TensorProto.FLOAT, USUAL_SUPPORT),
        "max_support": (onnx.TensorProto.FLOAT, MAX_SUPPORT),
        "support_power": (onnx.TensorProto.FLOAT, SUPPORT_POWER),
        "best_score": (onnx.TensorProto.FLOAT, 1.0),
        "multiple": (onnx.TensorProto.INT64, 256),
        "side_axis": (onnx.TensorProto.INT64, 2),
        "flat": (onnx.TensorProto.INT64, -1),
        "axis": (onnx.TensorProto.INT64, 1),
        "one": (onnx.TensorProto.INT64, 1),
        "first": (onnx.TensorProto.INT64, 0),
        "last": (onnx.TensorProto.INT64, 2),
    }
    graph.initializer.extend(helper.make_tensor(name, kind, [1], [value]) for name, (kind, value) in constants.items())
    graph.initializer.append(helper.make_tensor("sides_of_a_box", onnx.TensorProto.INT64, [4], [1, 0, 1, 0]))
    graph.input.append(helper.make_tensor_value_info(IMAGE_SIZES, onnx.TensorProto.FLOAT, ["images", 2]))
    for output, name in zip(graph.output, ("all_scores", "all_boxes"), strict=True):
        _rename(graph, output.name, name)
    graph.node.extend(
        [
            helper.make_node("Gather", [IMAGE_SIZES, "sides_of_a_box"], ["limits"], axis=1),
            helper.make_node("Unsqueeze", ["limits", "axis"], ["limits_of_candidates"]),
            helper.make_node("Min", ["all_boxes", "limits_of_candidates"], ["inside_bottom_right"]),
            helper.make_node("Max", ["inside_bottom_right", "zero"], ["inside"]),
            helper.make_node("Unsqueeze", ["all_scores", "axis"], ["scores_by_class"]),
            helper.make_node(
                "NonMaxSuppression",
                ["inside", "scores_by_class", "max_people", "iou_threshold", "min_score"],
                ["chosen"],  # rows of image, class and candidate
            ),
            helper.make_node("Gather", ["chosen", "first"], ["image_column"], axis=1),
            helper.make_node("Gather", ["chosen", "last"], ["candidate_column"], axis=1),
            helper.make_node("Concat", ["image_column", "candidate_column"], ["places"], axis=1),
            helper.make_node("GatherND", ["inside", "places"], ["kept_boxes"]),
            helper.make_node("GatherND", ["all_scores", "places"], ["kept_scores"]),
            helper.make_node("Squeeze", ["image_column", "axis"], ["kept_images"]),
            *_voting(helper),
        ]
    )
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, kind, shape)
        for name, kind, shape in (
            ("boxes", onnx.TensorProto.FLOAT, ["people", 4]),
            ("scores", onnx.TensorProto.FLOAT, ["people"]),
            ("image_indices", onnx.TensorProto.INT64, ["people"]),
        )
    )


def _voting(helper: Any) -> Iterator[Any]:
    """Nodes of `mspn.detectors.base.choose_detections` after suppression, from what it kept and all candidates."""

    node = partial(_make_node, helper)
    yield from _voters(node)
    yield node("Gather", "voter_boxes_of_images kept_images", "voters", axis=0)  # (people, voters, 4)
    yield node("Gather", "voter_scores_of_images kept_images", "voter_scores", axis=0)
    yield node("Unsqueeze", "kept_boxes axis", "kept_rows")
    yield from _overlaps(node)
    yield node("Sub", "iou iou_threshold", "signed_excess")
    yield node("Max", "signed_excess zero", "excess")
    yield node("GreaterOrEqual", "voter_scores min_score", "may_vote")
    yield node("Where", "may_vote voter_scores zero", "votes")
    yield node("Pow", "votes vote_power", "powers")
    yield node("Unsqueeze", "powers side_axis", "power_column")
    yield node("Mul", "excess power_column", "weights")
    yield node("Transpose", "weights", "weight_rows", perm=[0, 2, 1])
    yield node("MatMul", "weight_rows voters", "weighted_sums")
    yield node("ReduceSum", "weights axis", "totals", keepdims=1)
    yield node("Max", "totals smallest_total", "positive_totals")
    yield node("Div", "weighted_sums positive_totals", "means")
    yield node("Greater", "totals zero", "has_votes")
    yield node("Where", "has_votes means kept_rows", "voted_rows")
    yield node("Squeeze", "voted_rows axis", "voted_boxes")
    yield node("Reshape", "totals flat", "total_votes")
    yield node("Pow", "kept_scores vote_power", "own_votes")
    yield node("Max", "own_votes smallest_total", "positive_votes")
    yield node("Div", "total_votes positive_votes", "support")
    yield node("Min", "support max_support", "limited_support")
    yield node("Div", "limited_support usual_support", "relative_support")
    yield node("Pow", "relative_support support_power", "factors")
    yield node("Mul", "kept_scores factors", "unlimited_scores")
    yield node("Min", "unlimited_scores best_score", "voted_scores")
    yield node("Shape", "voted_scores", "num_kept")
    yield node("TopK", "voted_scores num_kept", "sorted_scores order")
    yield node("GreaterOrEqual", "sorted_scores min_score", "is_person")
    yield node("Cast", "is_person", "ones", to=_INT64)
    yield node("ReduceSum", "ones", "num_people", keepdims=1)
    yield node("Slice", "order first num_people first", "best")
    yield node("Slice", "sorted_scores first num_people first", "scores")
    yield node("Gather", "voted_boxes best", "boxes", axis=0)
    yield node("Gather", "kept_images best", "image_indices", axis=0)


def _voters(node: Callable[..., Any]) -> Iterator[Any]:
    """The candidates of each image that may vote, few of all, and the best others up to a multiple of 256.

    OpenVINO compiles what follows anew for each number that it has not seen.
    """
    yield node("GreaterOrEqual", "all_scores min_score", "is_candidate")
    yield node("Cast", "is_candidate", "candidate_ones", to=_INT64)
    yield node("ReduceSum", "candidate_ones axis", "candidate_counts", keepdims=0)
    yield node("ReduceMax", "candidate_counts", "most_candidates", keepdims=1)
    yield node("Div", "most_candidates multiple", "full_multiples")
    yield node("Add", "full_multiples one", "multiples")
    yield node("Mul", "multiples multiple", "rounded_up")
    yield node("Shape", "all_scores", "shape_of_scores")
    yield node("Gather", "shape_of_scores axis", "num_candidates", axis=0)
    yield node("Min", "rounded_up num_candidates", "at_most_all")
    yield node("Max", "at_most_all first", "num_voters")  # without images, the largest count is negative
    yield node("TopK", "all_scores num_voters", "voter_scores_of_images voter_places", axis=1)
    yield node("Unsqueeze", "voter_places side_axis", "voter_rows")
    yield node("GatherND", "inside voter_rows", "voter_boxes_of_images", batch_dims=1)


def _overlaps(node: Callable[..., Any]) -> Iterator[Any]:
    """From `kept_rows` (people, 1, 4) and `voters` (people, voters, 4) to their `iou` (people, voters, 1)."""
    for boxes in ("kept", "voter"):
        source = "kept_rows" if boxes == "kept" else "voters"
        yield node("Split", source, " ".join(f"{boxes}_{side}" for side in _SIDES), axis=2, num_outputs=4)
        yield node("Sub", f"{boxes}_right {boxes}_left", f"{boxes}_width")
        yield node("Sub", f"{boxes}_bottom {boxes}_top", f"{boxes}_height")
        yield node("Mul", f"{boxes}_width {boxes}_height", f"{boxes}_area")
    for side, kind in zip(_SIDES, ("Max", "Max", "Min", "Min"), strict=True):
        yield node(kind, f"kept_{side} voter_{side}", f"common_{side}")
    for first, last, extent in (("left", "right", "width"), ("top", "bottom", "height")):
        yield node("Sub", f"common_{last} common_{first}", f"signed_{extent}")
        yield node("Max", f"signed_{extent} zero", f"common_{extent}")
    yield node("Mul", "common_width common_height", "intersection")
    yield node("Add", "kept_area voter_area", "sum_of_areas")
    yield node("Sub", "sum_of_areas intersection", "union")
    yield node("Max", "union smallest_area", "positive_union")
    yield node("Div", "intersection positive_union", "iou")


def _make_node(helper: Any, kind: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


_SIDES = ("left", "top", "right", "bottom")
_INT64 = 7
"""As ONNX numbers types."""


def _name_dimensions(graph: Any, description: NetworkInput) -> None:
    """Call open dimensions by what they count, in place of torch's s81 and 32*s30."""
    del graph.value_info[:]  # follows from the rest
    names = ("people" if description.name == "crops" else "images", "candidates")
    (input_shape,) = (value.type.tensor_type.shape.dim for value in graph.input)
    batch = input_shape[0].dim_param
    sides = ("height", "width") if description.layout == "NHWC" else ("", "height", "width")
    for dimension, name in zip(input_shape[1:], sides, strict=False):
        if dimension.dim_param:
            dimension.dim_param = name
    for value in (*graph.input, *graph.output):
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param and dimension.dim_param not in sides:
                dimension.dim_param = names[0] if dimension.dim_param == batch else names[1]


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new


def _modules(node: Any) -> list[str]:
    """Dotted names, within the network, of the modules that a node comes from; none of a node outside of it."""
    scopes = next((item.value for item in node.metadata_props if item.key == "pkg.torch.onnx.name_scopes"), "")
    names = (scope.strip("'\"").partition(NETWORK) for scope in scopes.strip("[]").split(", "))
    return [inside.strip(".") for _, network, inside in names if network]


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without what the exporter says about its own steps and about libraries that are not needed."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_MAX_RELATIVE_ERROR = 1e-5


def halve_weights(encoded: bytes, network: nn.Module) -> bytes:
    """Store an ONNX file's convolutions in half the bytes, as exactly as the network's own weights fit into float16.

    An exported weight is the network's own times a factor of its channel, since norms are folded into convolutions.
    Stored are the network's own in float16, which is what weights files have, and the factors in float32. What loads
    the file multiplies them once, and computes in float32 then.

    Args:
        encoded: an ONNX file in float32, of `mspn.export`.
        network: that it was exported from.

    Raises:
        ExportError: if onnx is not installed.
    """
    onnx = import_extra("onnx", ExportError("exporting needs onnx; pip install 'mspn[onnx]'"))
    model = onnx.load_model_from_string(encoded)
    graph, helper, from_array = model.graph, onnx.helper, onnx.numpy_helper.from_array
    own = network.state_dict()
    for item in list(graph.initializer):
        name = item.name.partition(f"{NETWORK}.")[2]
        if name not in own or len(item.dims) != 4:
            continue
        folded, half = onnx.numpy_helper.to_array(item), own[name].numpy().astype(np.float16)
        factors = _channel_factors(folded, half)
        if not np.allclose(half * factors, folded, rtol=0, atol=_MAX_RELATIVE_ERROR * np.abs(folded).max()):
            continue
        graph.initializer.remove(item)
        stored = {f"{item.name}.half": half, f"{item.name}.factors": factors}
        graph.initializer.extend(from_array(values, name) for name, values in stored.items())
        wide, (half_name, factors_name) = f"{item.name}.wide", stored
        graph.node.insert(0, helper.make_node("Mul", [wide, factors_name], [item.name]))
        graph.node.insert(0, helper.make_node("Cast", [half_name], [wide], to=onnx.TensorProto.FLOAT))
    return bytes(model.SerializeToString())


def _channel_factors(folded: Any, half: Any) -> Any:
    """Of each output channel, (C, 1, 1, 1): what its weights were multiplied with, by least squares."""
    own = half.astype(np.float64)
    sums = (own**2).sum((1, 2, 3), keepdims=True)
    return ((folded * own).sum((1, 2, 3), keepdims=True) / np.where(sums == 0, 1, sums)).astype(np.float32)
