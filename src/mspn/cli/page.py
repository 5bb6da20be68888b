"""mspn page: the page as a site of files, whose networks run in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.checkpoints.format import load_checkpoint, load_detector
from mspn.checkpoints.hub import cache_folder
from mspn.cli.options import find_with_bar
from mspn.cli.printing import echo, one_line_errors
from mspn.export.build import Source
from mspn.io.files import sha256_of
from mspn.serve.site import SiteNetworks, check_package, find_package, write_site


def page_command(
    folder: Annotated[Path, typer.Argument(help="Folder to write, for any web host.")],
    model: Annotated[str, typer.Option(help="Name of a model, or a weights file.")] = "mspn-tiny",
    detector: Annotated[
        str, typer.Option(help="Name of a person detector of this package's kind, or its weights file.")
    ] = "person-detector",
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="Detections with a lower score are hidden until a visitor wants them.")
    ] = 0.3,
    runtime: Annotated[
        Path | None,
        typer.Option(help="File of npm's package onnxruntime-web; without it, npm downloads it into the cache once."),
    ] = None,
) -> None:
    """Write the service's page as files for any web host: its networks run in the visitors' browsers."""
    with one_line_errors():
        package = check_package(runtime) if runtime else find_package(cache_folder())
        pose, persons = find_with_bar(model), find_with_bar(detector)
        networks = SiteNetworks(
            load_checkpoint(pose),
            Source(pose.stem, sha256_of(pose)),
            load_detector(persons),
            Source(persons.stem, sha256_of(persons)),
        )
        files = write_site(folder, networks, threshold=threshold, package=package)
    echo(
        f"{folder}: {len(files)} files, {sum(files.values()) / 1e6:.0f} MB;"
        f" python -m http.server --directory {folder} shows them at http://localhost:8000"
    )
