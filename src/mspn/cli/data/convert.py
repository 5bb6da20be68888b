"""mspn data convert: labels from one format to another."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.data.options import read_set
from mspn.cli.errors import one_line_errors
from mspn.cli.options import AllowOutsideOption, CategoryOption
from mspn.cli.printing import echo
from mspn.labels.formats import FORMATS, write_labels
from mspn.labels.label_set import with_sizes

_WRITABLE = [name for name, label_format in FORMATS.items() if label_format.write]


def convert_command(
    source: Annotated[Path, typer.Argument(help="Label file, or folder where the format is one.")],
    destination: Annotated[Path, typer.Argument(help="File to write, or folder where the format is one.")],
    to: Annotated[str, typer.Option(help=f"Format to write: {', '.join(_WRITABLE)}.")],
    from_format: Annotated[
        str | None, typer.Option("--from", help=f"Format of the source, else told from it: {', '.join(FORMATS)}.")
    ] = None,
    skeleton: Annotated[
        str | None, typer.Option(help="Name or YAML file of the source's skeleton, where it does not say.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the images, for formats that need sizes which the source lacks.")
    ] = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Rewrite labels in another format; warn about what it cannot hold."""
    with one_line_errors():
        labels = read_set(source, from_format, skeleton, category, allow_outside=allow_outside or images is None)
        if images is not None:
            labels = with_sizes(labels, images)
        write_labels(labels, destination, to)
    echo(f"{destination}: {len(labels.people)} people in {len(labels.images)} images, as {to}")
