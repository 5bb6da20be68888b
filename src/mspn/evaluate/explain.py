"""What a report holds beyond its numbers: errors, groups, calibration, and the worst people drawn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mspn.data.coco import CocoPeople
from mspn.evaluate.analysis import analyse
from mspn.evaluate.report import RESULTS_FILE, Report
from mspn.evaluate.worst import draw_worst
from mspn.files import sha256_of
from mspn.jpeg import write_jpeg
from mspn.skeleton import Skeleton

WORST_FILE = "worst.jpg"


def explain(
    report: Report,
    truth: CocoPeople,
    results: Sequence[dict[str, Any]],
    skeleton: Skeleton,
    *,
    images: Path | None,
    out: Path,
) -> Report:
    """Analyse results that are in the report's folder already, and draw the worst people into it as worst.jpg.

    Args:
        report: of these results.
        truth: what they were measured against.
        results: COCO results list.
        skeleton: of both.
        images: folder of the pictures; without it nobody is drawn.
        out: the report's folder.

    Returns:
        The report with its analysis, and a digest of results.json.
    """
    diagnosed = analyse(truth, results, skeleton)
    sheet = None if images is None else draw_worst(truth, diagnosed, images, skeleton)
    if sheet is None:
        (out / WORST_FILE).unlink(missing_ok=True)  # of an earlier evaluation
    else:
        write_jpeg(out / WORST_FILE, sheet)
    return report.model_copy(update={"analysis": diagnosed.analysis, "results_sha256": sha256_of(out / RESULTS_FILE)})
