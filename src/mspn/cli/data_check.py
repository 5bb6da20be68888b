"""mspn data check: what is wrong with labels, and what to do."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.data_options import FormatOption, LabelsArgument, SkeletonOption, WorkersOption, read_set, scan_with_bar
from mspn.cli.errors import SOME_FAILED, fail, one_line_errors
from mspn.data.check import check_labels
from mspn.data.checks.findings import KINDS, Finding, Severity, order_findings
from mspn.data.labels import LabelledSet
from mspn.files import write_text

_EXAMPLES = 2


def check_command(
    labels: LabelsArgument,
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures.")] = None,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Check the labels alone.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all findings.")] = None,
    workers: WorkersOption = 4,
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
) -> None:
    """Look for mistakes in labels and pictures; exit code 1 if there are errors, 0 if there are warnings or nothing."""
    if (images is None) != no_pictures:
        fail("give the folder of the pictures, --images DIR, or else --no-pictures")
    with one_line_errors():
        labelled = read_set(labels, from_format, skeleton)
        files = [] if images is None else scan_with_bar(labelled, images, workers)
        findings = check_labels(labelled, files)
        if json_file is not None:
            write_text(json_file, json.dumps(_report(labelled, findings), indent=1) + "\n")
    for kind, found in order_findings(findings).items():
        _show(kind, found)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    counts = f"{len(labelled.people)} people in {len(labelled.pictures)} pictures"
    typer.echo(f"{counts}: {errors} errors, {len(findings) - errors} warnings")
    if errors:
        raise typer.Exit(SOME_FAILED)


def _show(kind: str, found: list[Finding]) -> None:
    typer.echo(f"{KINDS[kind].severity.value} {kind}: {len(found)}")
    for finding in found[:_EXAMPLES]:
        typer.echo(f"    {finding.place}: {finding.words}")
    typer.echo(f"    -> {KINDS[kind].advice}")


def _report(labels: LabelledSet, findings: list[Finding]) -> dict[str, object]:
    return {
        "pictures": len(labels.pictures),
        "people": len(labels.people),
        "counts": {kind: len(found) for kind, found in order_findings(findings).items()},
        "findings": [
            {
                "kind": finding.kind,
                "severity": finding.severity.value,
                "picture": finding.picture,
                "picture_id": finding.picture_id,
                "person_id": finding.person_id,
                "words": finding.words,
            }
            for finding in findings
        ],
    }
