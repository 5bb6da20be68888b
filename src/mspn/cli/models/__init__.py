"""mspn models: which networks and weights there are, and conversion of foreign checkpoints."""

import json
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from mspn.checkpoints.convert import read_external, write_external
from mspn.checkpoints.format import (
    Checkpoint,
    CheckpointMetadata,
    DetectorMetadata,
    load_checkpoint,
    load_detector,
    read_metadata,
    save_weights,
)
from mspn.checkpoints.hub import find_shape, find_weights
from mspn.checkpoints.hub.cache import cache_folder, is_cached
from mspn.checkpoints.hub.index import IndexEntry, load_index
from mspn.cli.errors import fail, one_line_errors
from mspn.cli.models.download import download_command, verify_command
from mspn.cli.models.networks import change_test
from mspn.cli.models.quantize import average_command, quantize_command
from mspn.cli.options import parse_size
from mspn.config.recipes import RECIPES
from mspn.models.cost import Cost, count_cost

models_app = typer.Typer(
    no_args_is_help=True,
    help="Networks and their weights: list, show, cost, download, verify, convert, average, quantize.",
)


models_app.command("download")(download_command)


models_app.command("verify")(verify_command)


models_app.command("average")(average_command)


models_app.command("quantize")(quantize_command)


_OUR_SUFFIX = ".safetensors"


class Target(str, Enum):
    """File layouts that `convert` writes."""

    MSPN = "mspn"
    OFFICIAL = "official"
    MMPOSE = "mmpose"


class ConventionName(str, Enum):
    """Ways to count what a network costs."""

    STANDARD = "standard"
    PAPER = "paper"


@models_app.command("list")
def list_command() -> None:
    """List the networks that have a name, and the weights that there are of them."""
    index = load_index()
    networks = Table("network", "crop", "parameters", "G", Column("weights", overflow="fold"), box=SIMPLE)
    for name, recipe in RECIPES.items():
        shape, entry = recipe.model, index.find(name)
        size = f"{shape.input_size.height}x{shape.input_size.width}"
        cost = count_cost(shape).total
        place = entry.name if entry is not None else "-"
        networks.add_row(name, size, f"{cost.params:,}", f"{cost.gmacs_inference:.2f}", place)
    weights = Table("weights", "AP", "license", "where", box=SIMPLE)
    for entry in index.entries:
        aliases = [alias for alias, name in index.aliases.items() if name == entry.name and alias != entry.recipe]
        precision = f"{100 * entry.results['AP']:.1f}" if "AP" in entry.results else "-"
        weights.add_row(" = ".join([entry.name, *aliases]), precision, entry.license, _place(entry))
    for table in (networks, weights):
        Console().print(table)
    typer.echo("G: billions of multiply-adds of one crop at inference; `mspn models cost NAME` has the parts")
    typer.echo(f"cache: {cache_folder()}; `mspn models show NAME` says what each AP was measured on")


@models_app.command("cost")
def cost_command(
    model: Annotated[str | None, typer.Argument(help="Name of a model, trained or not, or a weights file.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every network that has a name.")] = False,
    convention: Annotated[
        ConventionName, typer.Option(help="standard: what runs, in 1e9; paper: as Tables 2-4 count, in 2^30.")
    ] = ConventionName.STANDARD,
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
            {"name": name, **asdict(cost.total), "parts": {part: asdict(one) for part, one in cost.parts.items()}}
            for name, cost in costs.items()
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table("name", *([] if every else ["part"]), "parameters", "G", "G at inference")
    for name, cost in costs.items():
        if every:
            table.add_row(name, *_figures(cost.total))
            continue
        for part, one in cost.parts.items():
            table.add_row("", part, *_figures(one))
        table.add_row(name, "all", *_figures(cost.total))
    Console().print(table)


def _figures(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.params:,}", f"{cost.gmacs:.3f}", f"{cost.gmacs_inference:.3f}"


@models_app.command("show")
def show_command(model: Annotated[str, typer.Argument(help="Name of a model, or a weights file.")]) -> None:
    """Show what a weights file says about itself, or what the index says of weights that are not here, as JSON."""
    with one_line_errors():
        entry = load_index().find(model)
        if entry is None or entry.file is not None or is_cached(entry, cache_folder()):
            header = read_metadata(find_weights(model))
            typer.echo(header.model_dump_json(indent=2, exclude={"calibration_ranges"}))
            if isinstance(header, CheckpointMetadata) and header.calibration_ranges:
                typer.echo("how far values go is known, for --precision int8", err=True)
        else:
            typer.echo(entry.model_dump_json(indent=2))
            typer.echo(f"not in the cache; `mspn models download {entry.name}` downloads it", err=True)


@models_app.command("convert")
def convert_command(
    source: Annotated[
        Path, typer.Argument(help="Weights of ours (.safetensors), of MSPN or simple baselines of others (.pth).")
    ],
    destination: Annotated[Path, typer.Argument(help="File to write.")],
    to: Annotated[Target, typer.Option(help="Layout to write.")] = Target.MSPN,
    half: Annotated[bool, typer.Option("--half", help="Store in 16 bits, at half the size (only --to mspn).")] = False,
    input_size: Annotated[
        str | None,
        typer.Option(help="Height and width of their crop, as 384x288; files of others do not say."),
    ] = None,
    license_name: Annotated[
        str | None, typer.Option("--license", help="License of the weights, for the header.")
    ] = None,
    notes: Annotated[str | None, typer.Option(help="What else the header should say.")] = None,
    results: Annotated[
        list[str] | None, typer.Option("--result", metavar="SET=AP", help="A measured AP, 0 to 1, for the header.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="How they are to be tested, e.g. test.decoder=mmpose."),
    ] = None,
) -> None:
    """Convert weights between our layout, the released code's and MMPose's; simple baselines to ours only."""
    with one_line_errors():
        if half and to is not Target.MSPN:
            fail("--half is for --to mspn only")
        said = {"license": license_name, "notes": notes, "results": _parse_results(results) if results else None}
        changes = {key: one for key, one in said.items() if one is not None}
        dtype = torch.float16 if half else torch.float32
        if _is_detector(source):
            if to is not Target.MSPN or input_size is not None or settings:
                fail(
                    f"{source} is a person detector: it has one layout, no crop size, no test settings; leave them out"
                )
            detector = load_detector(source)
            save_weights(destination, detector.model, detector.header.model_copy(update=changes), dtype)
            typer.echo(f"{destination}: {detector.header.recipe.model.summary}")
            return
        checkpoint = _read(source)
        recipe = change_test(checkpoint.header.recipe, settings or [])
        if input_size is not None:
            model = recipe.model.model_copy(update={"input_size": parse_size(input_size)})
            recipe = recipe.model_copy(update={"model": model})
        if to is Target.MSPN:
            header = checkpoint.header.model_copy(update={"recipe": recipe, **changes})
            save_weights(destination, checkpoint.model, header, dtype)
        else:
            write_external(destination, checkpoint.model, to.value)
    shape = recipe.model
    crop = f"{shape.input_size.height}x{shape.input_size.width} crops"
    is_assumed = input_size is None and source.suffix != _OUR_SUFFIX
    hint = " (assumed; --input-size says otherwise)" if is_assumed else ""
    typer.echo(f"{destination}: {shape.summary}, {shape.num_keypoints} keypoints, {crop}{hint}")


def _parse_results(texts: list[str]) -> dict[str, float]:
    results = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            results[name] = float(value)
        except ValueError:
            fail(f"--result {text}: write it as SET=AP, for example studio_val=0.75")
    return results


def _place(entry: IndexEntry) -> str:
    if entry.file is not None:
        return "in the package"
    if is_cached(entry, cache_folder()):
        return "in the cache"
    if entry.recipe not in RECIPES:
        return "for a newer mspn"
    return "to pull" if entry.urls else "by hand"


def _is_detector(path: Path) -> bool:
    return path.suffix == _OUR_SUFFIX and isinstance(read_metadata(path), DetectorMetadata)


def _read(path: Path) -> Checkpoint:
    return load_checkpoint(path) if path.suffix == _OUR_SUFFIX else read_external(path)
