"""Comparison of reports: ranked only if their protocols agree and their numbers can be recomputed."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mspn.errors import ReportError
from mspn.evaluation.metrics.average_precision import STATS, average_precision, read_ground_truth, read_results
from mspn.evaluation.report import RESULTS_FILE, Report, read_report
from mspn.io.files import sha256_of
from mspn.structures.settings import flatten

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
