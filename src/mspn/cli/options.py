"""Options that several commands share."""

from collections.abc import Iterable
from enum import Enum
from typing import Annotated

import typer

from mspn.cli.errors import fail


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


class BoxSelectionName(str, Enum):
    """Which boxes of a file are used."""

    PEOPLE = "people"
    TOP_100 = "top-100"


class ProtocolName(str, Enum):
    """Named test settings."""

    FAITHFUL = "faithful"
    MMPOSE = "mmpose"


BoxSelectionOption = Annotated[
    BoxSelectionName,
    typer.Option(help="All people of --boxes, or those among the best 100 boxes of all categories (paper)."),
]


ProtocolOption = Annotated[
    ProtocolName | None, typer.Option(help="Padding, filter and decoder; without it those of the weights.")
]


ProtocolSettingsOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a switch of the protocol, e.g. test.blur_kernel=1."),
]


def refuse_unused(context: typer.Context, names: Iterable[str], reason: str) -> None:
    """End with exit code 2 if an option was given that the command would not use, even with its default value.

    Args:
        context: of the command.
        names: the function's parameters.
        reason: what follows the option's name in the message.
    """
    unused = set(names)
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in unused and source is not None and source.name != "DEFAULT":
            fail(f"{parameter.opts[0]} {reason}")
