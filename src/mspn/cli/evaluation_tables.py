"""What `mspn evaluate` prints."""

from rich.box import SIMPLE
from rich.table import Column, Table

from mspn.cli.printing import SafeConsole, echo
from mspn.evaluation.pck import UNDEFINED_SHARE
from mspn.evaluation.report import Report
from mspn.evaluation.tracks import TrackingScores


def show_report(report: Report) -> None:
    """Print the scores, and how they were measured."""
    if report.table is not None:
        _show_pck(report, report.table)
    else:
        _show_stats(report.stats)
    for member in report.ensemble:
        height, width = member.input_size
        echo(f"averaged: {member.model}, {height}x{width}, weight {member.weight:g}")
    for reason in report.reasons:
        echo(f"why: {reason}")
    protocol = report.protocol
    if protocol.split is not None:
        echo(f"images: COCO's {protocol.split}")
    rule = f", rule {protocol.box_selection}" if protocol.box_selection else ""
    echo(f"boxes: {protocol.boxes} ({protocol.num_boxes}{rule})")
    if report.boxes_average_precision is not None:
        echo(f"the boxes' own AP: {report.boxes_average_precision:.3f}")
    if protocol.test is not None:
        echo("protocol: " + ", ".join(f"{name} {value}" for name, value in protocol.test.model_dump().items()))


def show_tracking(scores: TrackingScores) -> None:
    """Print how well people were followed."""
    table = Table("HOTA", "DetA", "AssA", "IDF1", "MOTA", "switches", "labels", "found", box=SIMPLE, padding=0)
    shares = (scores.hota, scores.detection, scores.association, scores.idf1, scores.mota)
    counts = (scores.num_switches, scores.num_labels, scores.num_found)
    table.add_row(*(f"{value:.3f}" for value in shares), *map(str, counts))
    SafeConsole().print(table)


def _show_stats(stats: dict[str, float]) -> None:
    table = Table(*stats, box=SIMPLE, padding=0, collapse_padding=True)
    table.add_row(*(f"{value:.3f}" for value in stats.values()))
    SafeConsole().print(table)


def _show_pck(report: Report, table: dict[str, float]) -> None:
    """Print the table of body parts in percent, as papers do, and how many people and keypoints it is of."""
    columns = table | report.stats
    drawn = Table(*(Column(name, justify="right") for name in columns), box=SIMPLE, padding=0, collapse_padding=True)
    drawn.add_row(*("-" if value == UNDEFINED_SHARE else f"{100 * value:.1f}" for value in columns.values()))
    SafeConsole().print(drawn)
    protocol = report.protocol
    echo(f"{protocol.metric}, percent; {protocol.num_people} people, {len(protocol.keypoints or ())} keypoints")
