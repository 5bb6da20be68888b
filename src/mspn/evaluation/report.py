"""The report of an evaluation: numbers, protocol, and analysis; and the comparison of several.

Reports are ranked only if their protocols agree and their numbers can be recomputed.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from mspn.config.protocol import ProtocolConfig
from mspn.detectors.base import BoxSelection
from mspn.errors import ReportError
from mspn.evaluation.analysis import Analysis
from mspn.evaluation.average_precision import STATS, CocoBackend, average_precision, read_ground_truth, read_results
from mspn.io.files import sha256_of, write_text
from mspn.predict.ensemble import Ensemble
from mspn.structures.settings import Settings, first_problem, flatten
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


_NETWORK_SETTINGS = ("input_size",)
"""Settings that may differ, since they belong to the network."""
_NEUTRAL_SETTINGS = ("engine",)
"""Settings that do not change the numbers."""
_MAX_DIFFERENCE = 1e-9
"""Between numbers that count as equal: other machines may sum in another order."""
_NUM_DIGEST_DIGITS = 12


class Compared(NamedTuple):
    """A report that was read and checked."""

    path: Path
    report: Report
    unchecked: str | None
    """Why its numbers could not be recomputed; None if they were, and agree."""


class Comparison(NamedTuple):
    """Reports side by side."""

    reports: tuple[Compared, ...]
    """If ranked, by decreasing AP, or whichever number comes first; else in the order given."""
    objections: tuple[str, ...]
    """Why they cannot be ranked; empty if they are."""


def compare_reports(paths: Sequence[Path], *, annotations: Path | None, across_protocols: bool) -> Comparison:
    """Read reports, recompute their numbers from the results beside them, and rank them if they are comparable.

    Args:
        paths: of the report.json files.
        annotations: the labels, if they are not at the path in the reports.
        across_protocols: return reports that cannot be ranked, with the objections.

    Raises:
        ReportError: if a report was changed; without `across_protocols` also if protocols differ, or if numbers could
            not be recomputed from the results and the labels; see `check_numbers`.
    """
    if len(paths) < 2:
        raise ReportError("give two reports or more to compare: mspn compare A/report.json B/report.json")
    reports = [read_report(path) for path in paths]
    compared = [
        Compared(path, report, check_numbers(path, report, annotations))
        for path, report in zip(paths, reports, strict=True)
    ]
    objections = [f"{entry.path} cannot be checked: {entry.unchecked}" for entry in compared if entry.unchecked]
    objections += _name_differences([entry.report for entry in compared])
    if objections and not across_protocols:
        raise ReportError(
            f"no ranking of {', '.join(map(str, paths))}: {'; '.join(objections)}."
            " --across-protocols shows them side by side"
        )
    if not objections:
        compared.sort(key=lambda entry: -next(iter(entry.report.stats.values())))
    return Comparison(tuple(compared), tuple(objections))


def check_numbers(path: Path, report: Report, annotations: Path | None) -> str | None:
    """Recompute a report's numbers from its results and labels.

    Returns:
        None if they agree, else why they cannot be recomputed.

    Raises:
        ReportError: if they disagree, or the results beside the report are not its own.
    """
    results = path.with_name(RESULTS_FILE)
    labels = annotations or Path(report.protocol.annotations)
    if tuple(report.stats) != STATS:
        return "only COCO's ten numbers can be recomputed"
    if report.results_sha256 is None or not results.is_file():
        return f"it has no {RESULTS_FILE} beside it"
    if sha256_of(results) != report.results_sha256:
        raise ReportError(
            f"{results} is not the file that {path} was computed from; one of them was changed; evaluate again"
        )
    if not labels.is_file():
        return f"its labels are not at {labels}; name them with --annotations"
    if sha256_of(labels) != report.protocol.annotations_sha256:
        return f"{labels} is not the label file that it was evaluated on"
    try:
        skeleton = report.protocol.keypoint_table
    except ValueError as error:
        return str(error)
    stats = average_precision(read_ground_truth(labels, skeleton), read_results(results, skeleton), skeleton)
    for name, value in report.stats.items():
        if abs(stats[name] - value) > _MAX_DIFFERENCE:
            raise ReportError(
                f"{path} says {name} {value:.4f}, but its results give {stats[name]:.4f}; it was changed after it was"
                " written; evaluate again"
            )
    return None


def _name_differences(reports: Sequence[Report]) -> list[str]:
    """A line for each setting that differs, with its value in each report."""
    flat = [_comparable(report) for report in reports]
    names = list(dict.fromkeys(name for settings in flat for name in settings))
    differing = [name for name in names if len({settings.get(name, "-") for settings in flat}) > 1]
    lines = []
    for name in differing:
        values = [settings.get(name, "-").strip('"') for settings in flat]
        shown = [value[:_NUM_DIGEST_DIGITS] if name.endswith("_sha256") else value for value in values]
        lines.append(f"{name} differs ({' / '.join(shown)})")
    return lines


def _comparable(report: Report) -> dict[str, str]:
    """Settings that must agree; files are compared by digest, not by path."""
    protocol = report.protocol
    content = protocol.model_dump(mode="json", exclude={*_NETWORK_SETTINGS, *_NEUTRAL_SETTINGS})
    for name in ("annotations", "boxes"):
        if content[f"{name}_sha256"] is not None:
            del content[name]
    # The protocol holds the test settings of an ensemble's first network; add those of other networks that differ.
    further = [member.test.model_dump(mode="json") for member in report.ensemble if member.test != protocol.test]
    return flatten(content | {f"network_{number}": test for number, test in enumerate(further, start=2)})
