"""mspn models: which networks there are, and conversion of foreign checkpoints."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from mspn.cli.errors import fail, one_line_errors
from mspn.recipes import RECIPES
from mspn.weights.checkpoint import Checkpoint, load_checkpoint, read_header, save_weights
from mspn.weights.convert import read_foreign, write_foreign
from mspn.weights.models import ALIASES, EMBEDDED, find_weights

models_app = typer.Typer(no_args_is_help=True, help="Networks: list, show, convert.")


class Target(str, Enum):
    """File layouts that `convert` writes."""

    MSPN = "mspn"
    OFFICIAL = "official"
    MMPOSE = "mmpose"


@models_app.command("list")
def list_command() -> None:
    """List the networks that have a name."""
    table = Table("name", "backbone", "stages", "crop", "weights")
    for name, recipe in RECIPES.items():
        aliases = [alias for alias, target in ALIASES.items() if target == name]
        shape = recipe.model
        size = f"{shape.input_size.height}x{shape.input_size.width}"
        weights = "in the package" if name in EMBEDDED else "-"
        table.add_row(" = ".join([name, *aliases]), shape.backbone, str(shape.num_stages), size, weights)
    Console().print(table)


@models_app.command("show")
def show_command(model: Annotated[str, typer.Argument(help="Name of a model, or a weights file.")]) -> None:
    """Show what a weights file says about itself, as JSON."""
    with one_line_errors():
        typer.echo(read_header(find_weights(model)).model_dump_json(indent=2))


@models_app.command("convert")
def convert_command(
    source: Annotated[
        Path, typer.Argument(help="Weights of ours (.safetensors), of the released code or MMPose (.pth).")
    ],
    destination: Annotated[Path, typer.Argument(help="File to write.")],
    to: Annotated[Target, typer.Option(help="Layout to write.")] = Target.MSPN,
    half: Annotated[bool, typer.Option("--half", help="Store in 16 bits, at half the size (only --to mspn).")] = False,
    licence: Annotated[str | None, typer.Option(help="Licence of the weights, for the header.")] = None,
) -> None:
    """Convert weights between our layout, the released code's and MMPose's."""
    with one_line_errors():
        if half and to is not Target.MSPN:
            fail("--half is for --to mspn only")
        checkpoint = _read(source)
        if to is Target.MSPN:
            header = checkpoint.header if licence is None else checkpoint.header.model_copy(update={"licence": licence})
            save_weights(destination, checkpoint.model, header, torch.float16 if half else torch.float32)
        else:
            write_foreign(destination, checkpoint.model, to.value)
    shape = checkpoint.model.config
    typer.echo(f"{destination}: {shape.num_stages} stages of {shape.backbone}, {shape.num_keypoints} keypoints")


def _read(path: Path) -> Checkpoint:
    return load_checkpoint(path) if path.suffix == ".safetensors" else read_foreign(path)
