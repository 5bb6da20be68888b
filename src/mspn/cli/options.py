"""Options that several commands share."""

from enum import Enum
from typing import Annotated

import typer


class PrecisionName(str, Enum):
    """What the network computes with."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


ModelOption = Annotated[str, typer.Option(help="Name of a model, or a weights file.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]
PrecisionOption = Annotated[PrecisionName, typer.Option(help="auto: bfloat16 where the processor computes with it.")]
FlipOption = Annotated[
    bool | None,
    typer.Option("--flip/--no-flip", help="Average with the mirrored crop, or do not; by default as the weights ask."),
]
BatchOption = Annotated[int, typer.Option(min=1, help="People that the network sees at once.")]
