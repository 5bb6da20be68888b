"""The held-out sets of photos, and what networks reach on them."""

import subprocess
import sys
from pathlib import Path

from mspn.evaluation.report import REPORT_FILE, Report, read_report

HELD_OUT = ("lspet_val", "studio_val", "coco_sample")


def run_mspn(*words: str | Path) -> None:
    """Run the command as a reader would."""
    subprocess.run([sys.executable, "-m", "mspn", *map(str, words)], check=True)


def evaluate_on_held_out(model: str | Path, data: Path, folder: Path) -> None:
    """Evaluate a model, by name or file, on the sets that have no report in the folder yet."""
    for held_out in HELD_OUT:
        if not (folder / held_out / REPORT_FILE).is_file():
            labels, images = data / held_out / "annotations.json", data / held_out / "images"
            out = folder / held_out
            run_mspn("evaluate", "--model", model, "--annotations", labels, "--images", images, "--out", out)


def is_evaluated(folder: Path) -> bool:
    return all((folder / held_out / REPORT_FILE).is_file() for held_out in HELD_OUT)


def read_held_out(folder: Path) -> dict[str, Report]:
    """The reports, by set."""
    return {held_out: read_report(folder / held_out / REPORT_FILE) for held_out in HELD_OUT}
