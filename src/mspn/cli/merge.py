"""mspn merge: join the results of several runs."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.predict import parse_writers
from mspn.cli.printing import SOME_FAILED, echo, one_line_errors
from mspn.outputs import WRITERS
from mspn.outputs.coco import read_image_ids
from mspn.outputs.merge import merge_results


def merge_command(
    folders: Annotated[list[Path], typer.Argument(help="Folders that `mspn predict` has written.")],
    out: Annotated[Path, typer.Option(help="Folder for the joint results.")],
    save: Annotated[
        str | None, typer.Option(help=f"What to write, of {','.join(WRITERS)}; by default all that the runs wrote.")
    ] = None,
    annotations: Annotated[
        Path | None, typer.Option(help="Label file whose image ids coco.json takes, by file name.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Remove the results of earlier runs in --out first.")
    ] = False,
) -> None:
    """Join the results of several runs, such as shards of one."""
    with one_line_errors():
        outputs = parse_writers(save) if save else ()
        image_ids = read_image_ids(annotations) if annotations else None
        missing = merge_results(folders, out, outputs, image_ids, overwrite=overwrite)
    echo(f"results: {out}")
    if missing:
        names = ", ".join(map(str, missing))
        echo(f"missing: {names}; predict what is missing and join all shards again", err=True)
        raise typer.Exit(SOME_FAILED)
