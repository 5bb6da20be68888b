"""Options that several commands share."""

from enum import Enum
from typing import Annotated

import typer

from mspn.errors import InvalidValueError
from mspn.structures.boxes import Size


class PrecisionName(str, Enum):
    """What the network computes with."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


class EngineName(str, Enum):
    """What computes the network."""

    AUTO = "auto"
    TORCH = "torch"
    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


ModelsOption = Annotated[
    list[str],
    typer.Option("--model", help="Name of a model, or a weights file. Given several times, heat maps are averaged."),
]
WeightsOption = Annotated[
    list[float] | None, typer.Option("--weight", help="How much a model counts: once for each --model, in their order.")
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
PrecisionOption = Annotated[
    PrecisionName,
    typer.Option(
        help="auto: bfloat16 where the processor computes with it. int8: on CPUs, weights of `mspn models quantize`."
    ),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        help="auto: openvino for bfloat16 on a CPU, from a thousand images on where it is installed; else torch. For"
        " int8 openvino, else onnxruntime."
    ),
]
FlipOption = Annotated[
    bool | None,
    typer.Option("--flip/--no-flip", help="Average with the mirrored crop, or do not; by default as the weights ask."),
]
BatchOption = Annotated[int, typer.Option(min=1, help="People that the network sees at once.")]


def parse_size(text: str) -> Size:
    """Height and width from "384x288".

    Raises:
        ValueError: for anything else.
    """
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise InvalidValueError(f"--input-size {text}: write height x width in pixels, for example 384x288")
    return Size(int(height), int(width))
