"""The validation sets of photos, and what networks reach on them."""

import subprocess
import sys
from pathlib import Path

from mspn.evaluation.report import REPORT_FILE, Report, read_report

VALIDATION_SETS = ("lspet_val", "studio_val", "coco_sample")


def run_mspn(*words: str | Path) -> None:
    """Run the command as a reader would."""
    subprocess.run([sys.executable, "-m", "mspn", *map(str, words)], check=True)


def evaluate_on_validation_sets(model: str | Path, data: Path, folder: Path) -> None:
    """Evaluate a model, by name or file, on the sets that have no report in the folder yet."""
    for name in VALIDATION_SETS:
        if not (folder / name / REPORT_FILE).is_file():
            labels, images = data / name / "annotations.json", data / name / "images"
            out = folder / name
            run_mspn("evaluate", "--model", model, "--annotations", labels, "--images", images, "--out", out)


def is_evaluated(folder: Path) -> bool:
    return all((folder / name / REPORT_FILE).is_file() for name in VALIDATION_SETS)


def read_validation_sets(folder: Path) -> dict[str, Report]:
    """The reports, by set."""
    return {name: read_report(folder / name / REPORT_FILE) for name in VALIDATION_SETS}
