"""What an evaluation found, and under which protocol."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mspn.config import TestConfig
from mspn.files import write_text
from mspn.predict.ensemble import Ensemble
from mspn.settings import Settings


class Protocol(Settings):
    """Everything that must agree before two numbers are compared."""

    annotations: str
    boxes: str
    """"ground truth", or the file that they came from."""
    num_boxes: int | None = None
    failed: int = 0
    """Pictures and boxes that could not be used."""
    test: TestConfig | None = None
    """None where a results file of another system was scored."""
    input_size: tuple[int, int] | None = None
    """Crop height and width in pixels."""
    precision: str | None = None
    engine: str = "pycocotools"


class MemberReport(Settings):
    """One of several networks whose heat maps were averaged."""

    model: str
    weight: float
    input_size: tuple[int, int]
    test: TestConfig


class Report(Settings):
    """An evaluation's outcome."""

    model: str
    """Several networks are joined by " + "."""
    ensemble: tuple[MemberReport, ...] = ()
    """Empty for a single network; the first one's settings are also the protocol's."""
    stats: dict[str, float]
    """COCO's ten numbers, 0 to 1."""
    protocol: Protocol


def describe_ensemble(ensemble: Ensemble, models: Sequence[str]) -> tuple[MemberReport, ...]:
    """The networks of an ensemble with the names that they were asked for by; empty if there is only one."""
    if len(models) == 1:
        return ()
    return tuple(
        MemberReport(model=model, weight=weight, input_size=member.recipe.model.input_size, test=member.test)
        for model, weight, member in zip(models, ensemble.weights, ensemble.members, strict=True)
    )


def write_report(path: Path, report: Report) -> None:
    """Write a report as JSON, with the versions of what computed it."""
    versions = {"mspn": version("mspn"), "torch": torch.__version__, "pycocotools": version("pycocotools")}
    content = report.model_dump() | {"versions": versions}
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_results(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a COCO results list."""
    write_text(path, json.dumps(rows) + "\n")
