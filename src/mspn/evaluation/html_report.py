"""What explains an evaluation: its analysis, the sheet of the worst people, and report.html with all of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from mspn.errors import ImageError
from mspn.evaluation.analysis import ERRORS, Analysis, Diagnosed, GroupPrecision, analyze
from mspn.evaluation.calibration import NUM_BINS, Calibration
from mspn.evaluation.matching import UNMATCHED, Matching
from mspn.evaluation.report import REPORT_FILE, RESULTS_FILE, Report, write_report
from mspn.io.files import sha256_of, write_text
from mspn.io.images import read_image, write_jpeg
from mspn.labels.formats.coco import CocoPeople
from mspn.labels.label_set import box_around
from mspn.reporting import (
    Bar,
    Block,
    Chart,
    Details,
    Figure,
    Figures,
    Jpeg,
    Note,
    Page,
    Section,
    Series,
    Table,
    Tile,
    draw_bars,
    draw_chart,
    optional_output,
    render_page,
)
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import CropFrame, cut_crop, frame_from_box, transform_points
from mspn.structures.pose import Pose
from mspn.structures.settings import flatten
from mspn.structures.shapes import Float, Int, UInt8
from mspn.structures.skeleton import Skeleton
from mspn.visualize.contact_sheet import arrange_tiles, join_panels
from mspn.visualize.draw import draw_labels, draw_poses

PAGE_FILE = "report.html"
_NUM_HEADLINE_STATS = 4
_KINDS = [kind.name.lower() for kind in ERRORS]
_ALL = "all keypoints"
_KINDS_EXPLAINED = (
    "Jitter: close to the label, but not on it. Inversion: on the opposite side's keypoint. Swap: on another person's"
    " keypoint. Miss: elsewhere. Order: a worse prediction has the higher score. Background: false positives."
    " Missed: people without a prediction."
)


WORST_FILE = "worst.jpg"


def explain(
    report: Report,
    ground_truth: CocoPeople,
    results: Sequence[dict[str, Any]],
    skeleton: Skeleton,
    *,
    images: Path | None,
    out: Path,
) -> Report:
    """Write report.json, analyze the results, and draw the worst people as worst.jpg.

    What cannot be analyzed or drawn is logged; the report is written all the same.

    Args:
        report: of these results.
        ground_truth: the labels that they were scored against.
        results: COCO results list.
        skeleton: of both.
        images: folder of the images; without it no people are drawn.
        out: the report's folder; it holds the results already.

    Returns:
        The report with its analysis, and a digest of results.json.
    """
    report = report.model_copy(update={"results_sha256": sha256_of(out / RESULTS_FILE)})
    write_report(out / REPORT_FILE, report)
    (out / WORST_FILE).unlink(missing_ok=True)  # of an earlier evaluation
    with optional_output("analysis"):
        diagnosed = analyze(ground_truth, results, skeleton)
        report = report.model_copy(update={"analysis": diagnosed.analysis})
        with optional_output(WORST_FILE):
            sheet = None if images is None else draw_worst(ground_truth, diagnosed, images, skeleton)
            if sheet is not None:
                write_jpeg(out / WORST_FILE, sheet)
    return report


def write_page(path: Path, report: Report, worst: Path) -> None:
    """Write a report as one HTML page.

    Args:
        path: of the page.
        report: what it shows.
        worst: image of the worst people; if it is missing, the page says so.
    """
    now = datetime.now(timezone.utc)
    page = Page(
        title=f"{report.model}: evaluation",
        heading=report.model,
        note=f"on {report.protocol.annotations}; written {now:%Y-%m-%d %H:%M} UTC",
        tiles=_headline(report),
        sections=[
            Section("Numbers", [_tabulate(report.stats)]),
            *([] if report.analysis is None else _analysis_sections(report.analysis)),
            Section("The worst people", _show_worst(worst)),
            Section("Protocol", [_tabulate_protocol(report)]),
        ],
    )
    write_text(path, render_page(page))


def _headline(report: Report) -> list[Tile]:
    tiles = [Tile(name, f"{value:.3f}") for name, value in list(report.stats.items())[:_NUM_HEADLINE_STATS]]
    if report.analysis is not None:
        missed = f"{report.analysis.missed:,} without a prediction"
        tiles.append(Tile("people", f"{report.analysis.people:,}", missed))
        tiles.append(Tile("false positives", f"{report.analysis.background:,}"))
    return tiles


def _tabulate(stats: Mapping[str, float]) -> Table:
    return Table(list(stats), [[f"{value:.3f}" for value in stats.values()]])


def _analysis_sections(analysis: Analysis) -> list[Section]:
    errors = Figures([_draw_errors(analysis), _draw_gains(analysis.gains)])
    scores = [] if analysis.calibration is None else [_draw_calibration(analysis.calibration)]
    return [
        Section("Errors", [Note(_KINDS_EXPLAINED), errors]),
        Section("Groups and calibration", [Figures([*_draw_groups(analysis.groups), *scores])]),
        Section("Keypoints", [Details("Counts of all outcomes", _tabulate_keypoints(analysis))]),
    ]


def _draw_errors(analysis: Analysis) -> Figure:
    """Shares of the labeled keypoints of predicted people; a bar per keypoint, all together first."""
    rows = {_ALL: _sum_counts(analysis)} | analysis.keypoints
    bars = []
    for name, counts in rows.items():
        total = max(1, sum(counts.values()))
        parts = [counts[kind] / total for kind in _KINDS]
        bars.append(Bar(name.replace("_", " "), parts, f"{100 * sum(parts):.0f} %"))
    longest = max((sum(bar.parts) for bar in bars), default=0.0)
    title = "Wrong keypoints"
    svg = draw_bars(title, bars, full=longest or 1.0, parts=_KINDS)
    return Figure(title, "share of the labeled ones", svg, _KINDS)


def _draw_gains(gains: Mapping[str, float]) -> Figure:
    bars = [Bar(kind, [gain], f"{gain:+.3f}") for kind, gain in gains.items()]
    title = "AP gained without it"
    return Figure(title, "each alone", draw_bars(title, bars))


def _draw_groups(groups: Sequence[GroupPrecision]) -> list[Figure]:
    """A figure per criterion, all on one scale."""
    figures = []
    for quality in dict.fromkeys(row.quality for row in groups):
        bars = [Bar(row.name, [row.AP], f"{row.AP:.3f} ({row.people:,})") for row in groups if row.quality == quality]
        title = f"AP by {quality}"
        figures.append(Figure(title, "(people)", draw_bars(title, bars, full=1.0)))
    return figures


def _draw_calibration(calibration: Calibration) -> Figure:
    middles = [(index + 0.5) / NUM_BINS for index in range(NUM_BINS)]
    shares = [None if score_bin is None else score_bin.share_good for score_bin in calibration.bins]
    counts = [0 if score_bin is None else score_bin.keypoints for score_bin in calibration.bins]
    names = [
        f"scores {index / NUM_BINS:.1f} to {(index + 1) / NUM_BINS:.1f}: {count:,} keypoints"
        for index, count in enumerate(counts)
    ]
    title = "Share of good keypoints, by score"
    chart = Chart(
        title=title,
        x=[*middles, 1.0],
        x_label="score",
        point_names=[*names, ""],
        series=[
            Series("good (similarity 0.85 or higher)", [*shares, None]),
            Series("perfectly calibrated", [*middles, 1.0]),
        ],
        limits=(0.0, 1.0),
    )
    remark = f"expected error {calibration.expected_error:.3f}"
    return Figure(title, remark, draw_chart(chart), [curve.name for curve in chart.series])


def _tabulate_keypoints(analysis: Analysis) -> Table:
    rows = {_ALL: _sum_counts(analysis)} | analysis.keypoints
    head = ["", "labeled", *next(iter(rows.values()))]
    return Table(
        head, [[name, f"{sum(counts.values()):,}", *map(str, counts.values())] for name, counts in rows.items()]
    )


def _sum_counts(analysis: Analysis) -> dict[str, int]:
    return {kind: sum(counts[kind] for counts in analysis.keypoints.values()) for kind in ("good", *_KINDS)}


def _show_worst(path: Path) -> list[Block]:
    if not path.is_file():
        return [Note("Not drawn: give --images, the folder of the images.")]
    note = Note("For people without a prediction, the right half shows the false positives in the image.")
    return [note, Jpeg("the worst people, ground truth beside prediction", path.read_bytes())]


def _tabulate_protocol(report: Report) -> Table:
    rows = flatten(report.protocol.model_dump(mode="json")) | flatten(report.versions, "version")
    return Table(("setting", "value"), list(rows.items()))


MAX_WORST_PEOPLE = 24
_SHEET_COLUMNS = 4
_PANEL = Size(height=256, width=192)
_PANEL_PADDING = (1.35, 1.25)
_LINE_PX = 2
_POINT_SIDE = 32.0
"""Image pixels around a person of whom one point is known."""
_HEADINGS = (
    "Ground truth beside prediction, worst first (object keypoint similarity)",
    "left orange, right blue   ground truth: disc visible, ring occluded   prediction: fainter for a lower score",
)


def draw_worst(
    ground_truth: CocoPeople, diagnosed: Diagnosed, images: Path, skeleton: Skeleton
) -> UInt8[np.ndarray, "H W 3"] | None:
    """Draw the counted people in order of rising similarity, those without a prediction first.

    People in images that cannot be read are left out; None if none are left.
    """
    matching = diagnosed.matching
    file_names = {image.id: image.file_name for image in ground_truth.images}
    tiles = []
    for person in _order_people(diagnosed):
        row = ground_truth.annotations[person]
        path = images / file_names[row.image_id]
        try:
            pixels = read_image(path)
        except (ImageError, OSError):
            continue
        labels = ground_truth.keypoints_image[person].copy()
        frame = frame_from_box(_shown_box(Box(*row.bbox), labels), _PANEL, _PANEL_PADDING)
        crop = cut_crop(pixels, frame)
        labels[:, :2] = transform_points(labels[:, :2], frame.image_to_crop)
        shown = _choose_predictions(matching, person, row.image_id)
        panels = [
            draw_labels(crop, labels, skeleton, thickness=_LINE_PX),
            draw_poses(
                crop, [_pose_in_crop(keypoints, frame, skeleton) for keypoints in matching.keypoints_image[shown]]
            ),
        ]
        tiles.append(join_panels(panels, _describe(diagnosed, person, row.id, path.name)))
        if len(tiles) == MAX_WORST_PEOPLE:
            break
    return arrange_tiles(tiles, _HEADINGS, columns=_SHEET_COLUMNS) if tiles else None


def _order_people(diagnosed: Diagnosed) -> Int[np.ndarray, " M"]:
    matching = diagnosed.matching
    similarity = np.append(matching.similarity, 0.0)[matching.prediction_of]  # UNMATCHED, -1, takes the appended 0
    people = np.flatnonzero(matching.is_counted)
    order: Int[np.ndarray, " M"] = people[np.argsort(similarity[people], kind="stable")]
    return order


def _shown_box(box: Box, labels: Float[np.ndarray, "K 3"]) -> Box:
    """The labeled box; where that is empty, one around the labeled keypoints."""
    if min(box.width, box.height) > 0:
        return box
    x, y = labels[labels[:, 2] > 0, :2].mean(0).tolist()
    return box_around(labels) or Box(x - _POINT_SIDE / 2, y - _POINT_SIDE / 2, _POINT_SIDE, _POINT_SIDE)


def _choose_predictions(matching: Matching, person: int, image_id: int) -> Int[np.ndarray, " S"]:
    """The person's prediction; without one, the unmatched predictions in the image."""
    prediction = matching.prediction_of[person]
    if prediction != UNMATCHED:
        return np.array([prediction])
    unmatched: Int[np.ndarray, " S"] = np.flatnonzero(matching.is_background & (matching.image_ids == image_id))
    return unmatched


def _pose_in_crop(keypoints_image: Float[np.ndarray, "K 3"], frame: CropFrame, skeleton: Skeleton) -> Pose:
    """A prediction in coordinates of the crop."""
    return Pose(
        skeleton=skeleton,
        keypoints_image=transform_points(keypoints_image[:, :2], frame.image_to_crop),
        keypoint_scores=keypoints_image[:, 2].clip(0, 1),
        score=1.0,
        ranking_score=1.0,
        box=Box(0, 0, _PANEL.width, _PANEL.height),
        box_score=1.0,
    )


def _describe(diagnosed: Diagnosed, person: int, annotation_id: int, name: str) -> Sequence[str]:
    prediction = diagnosed.matching.prediction_of[person]
    if prediction == UNMATCHED:
        return f"#{annotation_id}  missed (right: false positives)", name
    counts = [(kind.name.lower(), int((diagnosed.outcomes[prediction] == kind).sum())) for kind in ERRORS]
    errors = ", ".join(f"{count} {kind}" for kind, count in counts if count)
    return f"#{annotation_id}  {diagnosed.matching.similarity[prediction]:.3f}  {errors}", name
