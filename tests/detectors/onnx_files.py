"""Tiny ONNX files, written byte by byte: the field numbers are those of onnx.proto."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

IMAGE = {"images": (1, 3, 64, 64)}
_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7}
_FLOAT, _INT64 = 1, 7
_INT = 2


def write_answers(
    path: Path,
    outputs: Mapping[str, np.ndarray],
    inputs: Mapping[str, Sequence[int | str]] = IMAGE,
) -> Path:
    """A network that gives these outputs, whatever it is shown."""
    nodes = [_node("Identity", [f"{name}_value"], [name]) for name in outputs]
    constants = [_tensor(f"{name}_value", values) for name, values in outputs.items()]
    graph = [*nodes, *constants, *_inputs(inputs), *(_value(12, name, one) for name, one in outputs.items())]
    return _write(path, graph)


def write_detr(path: Path, labels: np.ndarray, shares: np.ndarray, scores: np.ndarray) -> Path:
    """RT-DETR's and D-FINE's export: corners as shares of (width, height), times `orig_target_sizes`."""
    graph = [
        _node("Cast", ["orig_target_sizes"], ["sizes"], _int_attribute("to", _FLOAT)),
        _node("Concat", ["sizes", "sizes"], ["factors"], _int_attribute("axis", 1)),
        _node("Mul", ["shares", "factors"], ["boxes"]),
        _node("Identity", ["labels_value"], ["labels"]),
        _node("Identity", ["scores_value"], ["scores"]),
        _tensor("shares", shares),
        _tensor("labels_value", labels),
        _tensor("scores_value", scores),
        *_inputs(IMAGE),
        _field(11, _value_info("orig_target_sizes", _INT64, (1, 2))),
        _value(12, "labels", labels),
        _value(12, "boxes", shares),
        _value(12, "scores", scores),
    ]
    return _write(path, graph)


def write_adder(path: Path) -> Path:
    """A network for any size that runs with images of 64x64 alone."""
    one = np.ones((1, 3, 64, 64), np.float32)
    graph = [
        _node("Add", ["images", "one"], ["sum"]),
        _tensor("one", one),
        *_inputs({"images": (1, 3, "height", "width")}),
        _field(12, _value_info("sum", _FLOAT, (1, 3, "height", "width"))),
    ]
    return _write(path, graph)


def _write(path: Path, graph: Sequence[bytes]) -> Path:
    opset = _field(8, _field(1, b"") + _varint_field(2, 13))
    path.write_bytes(_varint_field(1, 8) + opset + _field(7, b"".join(graph) + _field(2, b"test")))
    return path


def _inputs(inputs: Mapping[str, Sequence[int | str]]) -> list[bytes]:
    return [_field(11, _value_info(name, _FLOAT, shape)) for name, shape in inputs.items()]


def _node(kind: str, takes: Sequence[str], gives: Sequence[str], attribute: bytes = b"") -> bytes:
    names = b"".join(_field(1, name.encode()) for name in takes) + b"".join(_field(2, name.encode()) for name in gives)
    return _field(1, names + _field(4, kind.encode()) + attribute)


def _int_attribute(name: str, value: int) -> bytes:
    return _field(5, _field(1, name.encode()) + _varint_field(3, value) + _varint_field(20, _INT))


def _tensor(name: str, values: np.ndarray) -> bytes:
    shape = b"".join(_varint_field(1, side) for side in values.shape)
    kind = _varint_field(2, _TYPES[values.dtype])
    return _field(5, shape + kind + _field(8, name.encode()) + _field(9, values.tobytes()))


def _value(number: int, name: str, values: np.ndarray) -> bytes:
    return _field(number, _value_info(name, _TYPES[values.dtype], values.shape))


def _value_info(name: str, kind: int, shape: Sequence[int | str]) -> bytes:
    sides = b"".join(
        _field(1, _varint_field(1, side) if isinstance(side, int) else _field(2, side.encode())) for side in shape
    )
    tensor = _varint_field(1, kind) + _field(2, sides)
    return _field(1, name.encode()) + _field(2, _field(1, tensor))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
