"""The tables of a model's card (docs/models.md): python -m benchmarks.model_card MODEL --data DATA --out FOLDER

Reports that the folder already has are read, not made again.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

from benchmarks.validation_sets import evaluate_on_validation_sets, read_validation_sets
from mspn.evaluation.report import Report
from mspn.structures.skeleton import COCO_17

_KINDS = ("good", "jitter", "inversion", "swap", "miss")


def main() -> None:
    parser = argparse.ArgumentParser(description="print the tables of a model's card")
    parser.add_argument("model", help="name or weights file")
    parser.add_argument("--data", type=Path, required=True, help="folder of the sets of photos")
    parser.add_argument("--out", type=Path, required=True, help="folder of the reports")
    chosen = parser.parse_args()
    evaluate_on_validation_sets(chosen.model, chosen.data, chosen.out)
    reports = read_validation_sets(chosen.out)
    print("\n".join([*precision_lines(reports), "", *joint_lines(reports), "", *error_lines(reports)]))


def precision_lines(reports: Mapping[str, Report]) -> list[str]:
    names = ("AP", "AP50", "AP75", "APM", "APL", "AR")
    rows = [[f"`{one}`", *(f"{reports[one].stats[name]:.3f}" for name in names)] for one in reports]
    return _table(["", *names], rows)


def joint_lines(reports: Mapping[str, Report]) -> list[str]:
    """Share of good keypoints by joint, left and right together; a joint that a set does not label has a dash."""
    joints = list(dict.fromkeys(name.removeprefix("left_").removeprefix("right_") for name in COCO_17.keypoints))
    return _table(["", *joints], [[f"`{one}`", *(_good(reports[one], joint) for joint in joints)] for one in reports])


def error_lines(reports: Mapping[str, Report]) -> list[str]:
    """Share of each kind among all labeled keypoints of people with a prediction."""
    return _table(["", *_KINDS], [[f"`{one}`", *_shares(reports[one])] for one in reports])


def _good(report: Report, joint: str) -> str:
    counts = [row for name, row in _keypoints(report).items() if name.split("_", 1)[-1] == joint]
    total = sum(sum(row.values()) for row in counts)
    return f"{100 * sum(row['good'] for row in counts) / total:.0f} %" if total else "–"


def _shares(report: Report) -> list[str]:
    counts = {kind: sum(row[kind] for row in _keypoints(report).values()) for kind in _KINDS}
    return [f"{100 * count / sum(counts.values()):.1f} %" for count in counts.values()]


def _keypoints(report: Report) -> dict[str, dict[str, int]]:
    assert report.analysis is not None, f"the report of {report.model} has no analysis; evaluate again"
    return report.analysis.keypoints


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    main()
