"""The report of an evaluation: numbers, protocol, and analysis."""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from mspn.config.protocol import ProtocolConfig
from mspn.detectors.base import BoxSelection
from mspn.errors import ReportError
from mspn.evaluation.analysis import Analysis
from mspn.evaluation.metrics.coco_backends import CocoBackend
from mspn.io.files import write_text
from mspn.predict.ensemble import Ensemble
from mspn.structures.settings import Settings, first_problem
from mspn.structures.skeleton import Skeleton, find_skeleton

REPORT_FILE = "report.json"
RESULTS_FILE = "results.json"
_SEAL = "seal"
_PACKAGES = ("mspn", "torch", "pycocotools")


class EvaluationProtocol(Settings):
    """The settings that must agree before two reports are compared."""

    annotations: str
    annotations_sha256: str | None = None
    """Of the file; None for PCKh and PCK."""
    skeleton: str | Skeleton = "coco-17"
    """Its sigmas weigh the keypoints; a name, or the skeleton itself, as in a recipe."""
    split: str | None = None
    """COCO's split, where the images are its images."""
    boxes: str
    """"ground truth", or the file of detected boxes."""
    boxes_sha256: str | None = None
    """None for labeled boxes, and where a results file of another system was scored."""
    box_selection: BoxSelection | None = None
    """Which boxes of that file were used."""
    num_boxes: int | None = None
    failed: int = 0
    """Images and boxes that could not be used."""
    test: ProtocolConfig | None = None
    """None where a results file of another system was scored."""
    input_size: tuple[int, int] | None = None
    """Crop height and width in pixels."""
    precision: str | None = None
    metric: str = "oks"
    """Or "PCKh by the head", "PCK by the torso", "PCK by the box"."""
    keypoints: tuple[str, ...] | None = None
    """Those that both the labels and the results have: others are not evaluated."""
    num_people: int | None = None
    """Of PCKh and PCK, the people who are evaluated."""
    engine: CocoBackend | None = "pycocotools"
    """None where no keypoint similarity is computed."""

    @property
    def keypoint_table(self) -> Skeleton:
        """The skeleton.

        Raises:
            ValueError: if its name is unknown.
        """
        return find_skeleton(self.skeleton) if isinstance(self.skeleton, str) else self.skeleton


class MemberReport(Settings):
    """One of several networks whose heat maps were averaged."""

    model: str
    weight: float
    input_size: tuple[int, int]
    test: ProtocolConfig


class Report(Settings):
    """Result of an evaluation."""

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
    """Of the detected boxes, against the labeled boxes of people."""
    reasons: tuple[str, ...] = ()
    """Possible causes if AP is near 0 or -1."""
    protocol: EvaluationProtocol
    gmacs: float | None = None
    """Multiply-adds of the networks for one crop, in billions; a flip doubles them. None for a results file."""
    results_sha256: str | None = None
    """Of the results.json beside the report, from which the numbers can be recomputed."""
    analysis: Analysis | None = None
    """Kinds of error, groups of people, calibration."""
    versions: dict[str, str] = Field({}, validate_default=True)
    """Of the packages that computed it; by default those that are installed."""

    @field_validator("versions")
    @classmethod
    def _fill_versions(cls, value: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        if value or "protocol" not in info.data:
            return value
        extras = ("hotcoco",) if info.data["protocol"].engine == "hotcoco" else ()
        return {name: version(name) for name in (*_PACKAGES, *extras)}


def describe_ensemble(ensemble: Ensemble, models: Sequence[str]) -> tuple[MemberReport, ...]:
    """The networks of an ensemble under the names given by the user; empty for a single network."""
    if len(models) == 1:
        return ()
    return tuple(
        MemberReport(model=model, weight=weight, input_size=member.recipe.model.input_size, test=member.test)
        for model, weight, member in zip(models, ensemble.weights, ensemble.members, strict=True)
    )


def write_report(path: Path, report: Report) -> None:
    """Write a report as JSON, with a seal over everything."""
    content = report.model_dump(mode="json")
    write_text(path, json.dumps(content | {_SEAL: _seal(content)}, indent=2) + "\n")


def read_report(path: Path) -> Report:
    """Read a report and check that it was not changed.

    The seal is a digest without a secret: it reveals edits by hand, but is easily recomputed.

    Raises:
        ReportError: if it is missing, or was changed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReportError(f"no report at {path}; give a report.json that `mspn evaluate --out` wrote") from None
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read ({error}); give a report.json of `mspn evaluate --out`") from error
    seal = content.pop(_SEAL, None) if isinstance(content, dict) else None
    if seal is None:
        raise ReportError(f"{path} has no seal: it is no report.json, or one of an older version; evaluate again")
    if seal != _seal(content):
        raise ReportError(f"{path} was changed after it was written (its seal does not fit); evaluate again")
    try:
        return Report.model_validate(content)
    except ValidationError as error:
        raise ReportError(
            f"{path}: {first_problem(error, 'the report')}; was it written by another version?"
        ) from error


def _seal(content: dict[str, Any]) -> str:
    """SHA-256 of the content, whatever the order of its keys and the spaces between them."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_results(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a COCO results list."""
    write_text(path, json.dumps(rows) + "\n")
