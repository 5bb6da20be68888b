"""mspn data check: mistakes in labels and images."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.data.options import (
    AllowOutsideOption,
    CategoryOption,
    FormatOption,
    LabelsArgument,
    SkeletonOption,
    WorkersOption,
    read_set,
    scan_with_bar,
)
from mspn.cli.printing import SOME_FAILED, echo, fail, one_line_errors
from mspn.io.files import write_text
from mspn.labels.checks import check_labels
from mspn.labels.label_set import LabeledSet
from mspn.labels.label_table import KINDS, Finding, Severity, order_findings

_EXAMPLES = 2


def check_command(
    labels: LabelsArgument,
    images: Annotated[Path | None, typer.Option(help="Folder of the images.")] = None,
    no_images: Annotated[bool, typer.Option("--no-images", help="Check the labels alone.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all findings.")] = None,
    workers: WorkersOption = 4,
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Look for mistakes in labels and images; exit code 1 if there are errors, 0 if there are warnings or nothing."""
    if (images is None) != no_images:
        fail("give the folder of the images, --images DIR, or else --no-images")
    with one_line_errors():
        labeled = read_set(labels, from_format, skeleton, category, allow_outside=allow_outside or images is None)
        files = [] if images is None else scan_with_bar(labeled, images, workers)
        findings = check_labels(labeled, files)
        if json_file is not None:
            write_text(json_file, json.dumps(_report(labeled, findings), indent=1) + "\n")
    for kind, matching in order_findings(findings).items():
        _show(kind, matching)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    counts = f"{len(labeled.people)} people in {len(labeled.images)} images"
    echo(f"{counts}: {errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(SOME_FAILED)


def _show(kind: str, matching: list[Finding]) -> None:
    echo(f"{KINDS[kind].severity.value} {kind}: {len(matching)}")
    for finding in matching[:_EXAMPLES]:
        echo(f"    {finding.place}: {finding.message}")
    echo(f"    -> {KINDS[kind].advice}")


def _report(labels: LabeledSet, findings: list[Finding]) -> dict[str, object]:
    return {
        "images": len(labels.images),
        "people": len(labels.people),
        "counts": {kind: len(matching) for kind, matching in order_findings(findings).items()},
        "findings": [
            {
                "kind": finding.kind,
                "severity": finding.severity.value,
                "image": finding.image,
                "image_id": finding.image_id,
                "person_id": finding.person_id,
                "message": finding.message,
            }
            for finding in findings
        ],
    }
