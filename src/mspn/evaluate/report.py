"""What an evaluation found, and under which protocol."""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mspn.config import TestConfig
from mspn.detect.boxes_file import BoxesRule
from mspn.evaluate.engines import Engine
from mspn.files import write_text
from mspn.predict.ensemble import Ensemble
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
    metric: str = "oks"
    """Or the measure of single keypoints: "PCKh by the head", "PCK by the torso", "PCK by the box"."""
    keypoints: tuple[str, ...] | None = None
    """The keypoints that such a measure is of."""
    num_people: int | None = None
    """The people that it is of."""
    engine: Engine | None = "pycocotools"
    """None where no keypoint similarity is computed."""


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
    """COCO's ten numbers, or the shares of correct keypoints, 0 to 1."""
    table: dict[str, float] | None = None
    """Shares of correct keypoints by part of the body, and their mean."""
    by_keypoint: dict[str, float] | None = None
    """Shares of correct keypoints, each on its own."""
    boxes_average_precision: float | None = None
    """The detected boxes' own, measured on the labelled boxes of people."""
    reasons: tuple[str, ...] = ()
    """Where AP is about 0, or nothing can be found: what may be wrong."""
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
    if report.protocol.engine == "hotcoco":
        versions["hotcoco"] = version("hotcoco")
    content = report.model_dump() | {"versions": versions}
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_results(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a COCO results list."""
    write_text(path, json.dumps(rows) + "\n")
