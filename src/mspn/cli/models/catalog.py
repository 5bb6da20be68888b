"""mspn models list, show and cost: which networks and weights there are."""

import json
from dataclasses import asdict
from enum import Enum
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from mspn.checkpoints.format import CheckpointMetadata, read_metadata
from mspn.checkpoints.hub import find_shape, find_weights
from mspn.checkpoints.hub.cache import cache_folder, is_cached
from mspn.checkpoints.hub.index import IndexEntry, load_index
from mspn.cli.errors import fail, one_line_errors
from mspn.config.model import parse_size
from mspn.config.recipes import RECIPES
from mspn.models.cost import Cost, count_cost


class ConventionName(str, Enum):
    """Ways to count the cost of a network, see `mspn.models.cost.count_cost`."""

    PAPER = "paper"
    PUBLISHED = "published"
    EXECUTED = "executed"


def list_command() -> None:
    """List the named networks, and the weights that are available."""
    index = load_index()
    networks = Table("network", "crop", "parameters", "G", Column("weights", overflow="fold"), box=SIMPLE)
    for name, recipe in RECIPES.items():
        shape, entry = recipe.model, index.find(name)
        size = f"{shape.input_size.height}x{shape.input_size.width}"
        cost = count_cost(shape).total
        weights_name = entry.name if entry is not None else "-"
        networks.add_row(name, size, f"{cost.params:,}", f"{cost.gmacs_inference:.2f}", weights_name)
    weights = Table("weights", "AP", "license", "where", box=SIMPLE)
    for entry in index.entries:
        aliases = [alias for alias, name in index.aliases.items() if name == entry.name and alias != entry.recipe]
        precision = f"{100 * entry.results['AP']:.1f}" if "AP" in entry.results else "-"
        weights.add_row(" = ".join([entry.name, *aliases]), precision, entry.license, _location(entry))
    for table in (networks, weights):
        Console().print(table)
    typer.echo("G: billions of multiply-adds of one crop at inference; `mspn models cost NAME` has the parts")
    typer.echo(f"cache: {cache_folder()}; `mspn models show NAME` says what each AP was measured on")


def _location(entry: IndexEntry) -> str:
    if entry.file is not None:
        return "in the package"
    if is_cached(entry, cache_folder()):
        return "in the cache"
    if entry.recipe not in RECIPES:
        return "for a newer mspn"
    return "to download" if entry.urls else "download by hand"


def show_command(model: Annotated[str, typer.Argument(help="Name of a model, or a weights file.")]) -> None:
    """Print the metadata of a weights file, or the index entry of weights that are not downloaded, as JSON."""
    with one_line_errors():
        entry = load_index().find(model)
        if entry is None or entry.file is not None or is_cached(entry, cache_folder()):
            header = read_metadata(find_weights(model))
            typer.echo(header.model_dump_json(indent=2, exclude={"calibration_ranges"}))
            if isinstance(header, CheckpointMetadata) and header.calibration_ranges:
                typer.echo("calibrated for --precision int8", err=True)
        else:
            typer.echo(entry.model_dump_json(indent=2))
            typer.echo(f"not in the cache; `mspn models download {entry.name}` downloads it", err=True)


def cost_command(
    model: Annotated[str | None, typer.Argument(help="Name of a model, trained or not, or a weights file.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every network that has a name.")] = False,
    convention: Annotated[
        ConventionName,
        typer.Option(
            help="published: as the released code orders its operations, in 1e9. executed: what this network runs,"
            " as torch counts it, in 1e9. paper: as Tables 2-4 count, in 2^30."
        ),
    ] = ConventionName.PUBLISHED,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
    input_size: Annotated[
        str | None, typer.Option(help="Height and width of the crop, as 384x288; each network's own without it.")
    ] = None,
) -> None:
    """Count parameters and the multiply-adds of one crop, by part."""
    with one_line_errors():
        if (model is None) != every:
            fail("name one model, or give --all")
        size = None if input_size is None else parse_size(input_size)
        names = [model] if model is not None else list(RECIPES)
        costs = {name: count_cost(find_shape(name), convention.value, size) for name in names}
    if as_json:
        rows = [
            {
                "name": name,
                **asdict(cost.total),
                "parts": {part: asdict(part_cost) for part, part_cost in cost.parts.items()},
            }
            for name, cost in costs.items()
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("name", *([] if every else ["part"]), "parameters", "G", "G at inference")
    for name, cost in costs.items():
        if every:
            table.add_row(name, *_figures(cost.total))
            continue
        for part, part_cost in cost.parts.items():
            table.add_row("", part, *_figures(part_cost))
        table.add_row(name, "all", *_figures(cost.total))
    Console().print(table)


def _figures(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.params:,}", f"{cost.gmacs:.3f}", f"{cost.gmacs_inference:.3f}"
