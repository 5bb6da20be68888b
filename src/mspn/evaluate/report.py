"""What an evaluation found, and under which protocol."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mspn.config import TestConfig
from mspn.detect.boxes_file import BoxesRule
from mspn.evaluate.engines import Engine
from mspn.files import write_text
from mspn.settings import Settings


class Protocol(Settings):
    """Everything that must agree before two numbers are compared."""

    annotations: str
    split: str | None = None
    """COCO's split, where the pictures are its pictures."""
    boxes: str
    """"ground truth", or the file that they came from."""
    boxes_rule: BoxesRule | None = None
    """Which boxes of that file were used."""
    num_boxes: int | None = None
    failed: int = 0
    """Pictures and boxes that could not be used."""
    test: TestConfig | None = None
    """None where a results file of another system was scored."""
    input_size: tuple[int, int] | None = None
    """Crop height and width in pixels."""
    precision: str | None = None
    engine: Engine = "pycocotools"


class Report(Settings):
    """An evaluation's outcome."""

    model: str
    stats: dict[str, float]
    """COCO's ten numbers, 0 to 1."""
    boxes_average_precision: float | None = None
    """The detected boxes' own, measured on the labelled boxes of people."""
    reasons: tuple[str, ...] = ()
    """Where AP is about 0, or nothing can be found: what may be wrong."""
    protocol: Protocol


def write_report(path: Path, report: Report) -> None:
    """Write a report as JSON, with the versions of what computed it."""
    versions = {"mspn": version("mspn"), "torch": torch.__version__, "pycocotools": version("pycocotools")}
    if report.protocol.engine == "hotcoco":
        versions["hotcoco"] = version("hotcoco")
    content = report.model_dump() | {"versions": versions}
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_results(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a COCO results list."""
    write_text(path, json.dumps(rows) + "\n")
