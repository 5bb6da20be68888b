"""mspn models list, show, cost, download and verify: which networks and weights there are."""

import json
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Column, Table

from mspn.checkpoints.format import read_metadata
from mspn.checkpoints.hub import cache_folder, download_weights, evict, find_weights, is_cached, is_present, verify
from mspn.checkpoints.index import ASSETS, IndexEntry, load_index
from mspn.checkpoints.metadata import AnyMetadata, CheckpointMetadata, DetectorMetadata
from mspn.checkpoints.networks import find_shape
from mspn.cli.options import download_bar
from mspn.cli.printing import SOME_FAILED, SafeConsole, echo, fail, one_line_errors
from mspn.config.model import NetworkConfig, parse_size
from mspn.config.recipes import RECIPES
from mspn.models.cost import Cost, count_cost
from mspn.structures.boxes import Size

_UNLIMITED = 10_000
"""Characters: wider than any table."""
_ONLY_NUMBERS: Any = {"calibration_ranges": True, "score_calibration": {"oks_predictor": {"layers"}}}
"""Metadata by the thousand that say nothing to a reader."""


class ConventionName(str, Enum):
    """Ways to count the cost of a network, see `mspn.models.cost.count_cost`."""

    PAPER = "paper"
    PUBLISHED = "published"
    EXECUTED = "executed"


def list_command() -> None:
    """List the named networks, and the weights that are available."""
    index, costs = load_index(), listed_costs()
    networks = Table(Column("network", no_wrap=True), "crop", "parameters", "G", "weights", box=SIMPLE)
    for name, recipe in RECIPES.items():
        entry = index.find(name)
        cost = costs[name] if name in costs else count_cost(recipe.model).total
        location = _location(entry) if entry is not None else "-"
        networks.add_row(name, _size(recipe.model.input_size), *_parameters_and_g(cost), location)
    weights = Table(Column("weights", no_wrap=True), "AP", "license", "where", box=SIMPLE)
    protocols: list[str] = []
    for entry in index.entries:
        aliases = [alias for alias, name in index.aliases.items() if name == entry.name and alias != entry.recipe]
        precisions = []
        for result, protocol in _main_results(entry).items():
            if protocol not in protocols:
                protocols.append(protocol)
            precisions.append(f"{100 * entry.results[result]:.1f} [{protocols.index(protocol) + 1}]")
        names = " = ".join([entry.name, *aliases])
        weights.add_row(names, escape("\n".join(precisions) or "-"), entry.license, _location(entry))
    for table in (networks, weights):
        _print_whole(table)
    for number, protocol in enumerate(protocols, 1):
        echo(f"[{number}] {protocol}")
    echo("G: billions of multiply-adds of one crop at inference; `mspn models cost NAME` has the parts")
    echo(f"cache: {cache_folder()}; `mspn models show NAME` describes weights")


def listed_costs() -> dict[str, Cost]:
    """Total costs of the named networks by name, as `mspn models cost --all --json` has counted them."""
    rows = json.loads((ASSETS / "costs.json").read_text(encoding="utf-8"))
    return {row["name"]: Cost(row["params"], row["gmacs"], row["gmacs_inference"]) for row in rows}


def _main_results(entry: IndexEntry) -> dict[str, str]:
    """Which of the results are average precisions, and what each was measured on."""
    if "AP" in entry.results:
        return {"AP": entry.protocol}
    return {name: f"{name}, {entry.protocol}" for name in entry.results}


def _print_whole(table: Table) -> None:
    """Print a table that is as wide as its names need, even where the terminal is narrower."""
    console = SafeConsole()
    unlimited = console.options.update(width=_UNLIMITED)
    console.width = max(console.width, table.__rich_measure__(console, unlimited).minimum)
    console.print(table)


def _location(entry: IndexEntry) -> str:
    if entry.file is not None:
        return "in the package"
    if is_cached(entry, cache_folder()):
        return "in the cache"
    if entry.recipe not in RECIPES:
        return "for a newer mspn"
    return "to download" if entry.urls else "download by hand"


def show_command(
    model: Annotated[str, typer.Argument(help="Name of a model, or a weights file.")],
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the metadata, but for thousands of numbers; before a download, the index entry."
        ),
    ] = False,
) -> None:
    """Describe a weights file, or weights that are not downloaded yet, in a screen."""
    with one_line_errors():
        entry = load_index().find(model)
        if entry is not None and entry.file is None and not is_cached(entry, cache_folder()):
            described: IndexEntry | AnyMetadata = entry
            card = _card_of_entry(entry)
            if entry.urls:
                echo(f"not in the cache; `mspn models download {entry.name}` downloads it", err=True)
        else:
            path = find_weights(model)
            described = read_metadata(path)
            card = _card_of_file(path, described, entry)
    if as_json:
        echo(*described.model_dump_json(indent=2, exclude=_ONLY_NUMBERS).split("\n"))
        return
    table = Table.grid("", Column(overflow="fold"), padding=(0, 2))
    for key, value in card.items():
        if value:
            table.add_row(key, escape(value))
    SafeConsole().print(table)


def _card_of_entry(entry: IndexEntry) -> dict[str, str]:
    network = _network_rows(RECIPES[entry.recipe].model) if entry.recipe in RECIPES else {}
    return {
        "weights": entry.name,
        "network": entry.recipe,
        **network,
        "trained on": ", ".join(entry.data),
        **_result_rows(entry.results, entry.protocol),
        "license": entry.license,
        "source": entry.source,
        "where": f"{_location(entry)}: {entry.page or entry.urls[0]}",
    }


def _card_of_file(path: Path, metadata: AnyMetadata, entry: IndexEntry | None) -> dict[str, str]:
    network: dict[str, str] = {}
    if isinstance(metadata, CheckpointMetadata):
        network = _network_rows(metadata.recipe.model)
        network["keypoints"] = f"{metadata.recipe.model.num_keypoints}, skeleton {metadata.recipe.skeleton}"
        network["int8"] = "calibrated for --precision int8" if metadata.calibration_ranges else ""
        network["scores"] = _describe_scores(metadata)
    elif isinstance(metadata, DetectorMetadata):
        network = {"longer side": f"{metadata.recipe.model.longer_side} pixels"}
    last = metadata.sessions[-1] if metadata.sessions else None
    return {
        "weights": entry.name if entry is not None else path.name,
        "network": metadata.recipe.name,
        **network,
        "trained on": ", ".join(metadata.data),
        "trained": f"{last.started} with mspn {last.mspn}; --json has the command" if last is not None else "",
        **_result_rows(*((entry.results, entry.protocol) if entry is not None else (metadata.results, ""))),
        "license": metadata.license,
        "source": entry.source if entry is not None else "",
        "notes": metadata.notes,
        "where": str(path),
    }


def _describe_scores(metadata: CheckpointMetadata) -> str:
    calibration = metadata.score_calibration
    if calibration is None:
        return "peaks of heat maps; `mspn models calibrate` makes them probabilities"
    scores = f"probability that a keypoint is right, calibrated on {calibration.people:,} people"
    if calibration.oks_predictor is None or metadata.recipe.test.rescoring != "predicted_oks":
        return scores
    return f"{scores}; poses rank by predicted OKS, fitted to {calibration.oks_predictor.people:,} people"


def _network_rows(model: NetworkConfig) -> dict[str, str]:
    params, gmacs = _parameters_and_g(count_cost(model).total)
    return {"crop": _size(model.input_size), "cost": f"{params} parameters, {gmacs} G multiply-adds at inference"}


def _result_rows(results: dict[str, float], protocol: str) -> dict[str, str]:
    return {
        "results": ", ".join(f"{name} {100 * value:.1f}" for name, value in results.items()),
        "measured on": protocol,
    }


def _size(size: Size) -> str:
    return f"{size.height}x{size.width}"


def _parameters_and_g(cost: Cost) -> tuple[str, str]:
    return f"{cost.params:,}", f"{cost.gmacs_inference:.2f}"


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
        echo(*json.dumps(rows, indent=2).split("\n"))
        return
    table = Table("name", *([] if every else ["part"]), "parameters", "G", "G at inference")
    for name, cost in costs.items():
        if every:
            table.add_row(name, *_figures(cost.total))
            continue
        for part, part_cost in cost.parts.items():
            table.add_row("", part, *_figures(part_cost))
        table.add_row(name, "all", *_figures(cost.total))
    SafeConsole().print(table)


def _figures(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.params:,}", f"{cost.gmacs:.3f}", f"{cost.gmacs_inference:.3f}"


CacheOption = Annotated[Path | None, typer.Option("--cache", help="Folder of the cache, in place of MSPN_CACHE.")]


def download_command(
    model: Annotated[str, typer.Argument(help="Name of published weights, see `mspn models list`.")],
    cache: CacheOption = None,
) -> None:
    """Download published weights, check them, and convert them into the cache."""
    with one_line_errors():
        entry = _find(model)
        if entry.file is not None:
            echo(f"{entry.name} is part of the package")
            return
        folder = cache or cache_folder()
        if is_cached(entry, folder) and verify(entry, folder) is not None:
            echo(f"{entry.name} in the cache is damaged and downloaded again", err=True)
            evict(entry, folder)
        with download_bar(entry.name) as report:
            path = download_weights(entry, folder, report=report)
    echo(f"{entry.name}: {path}")


def verify_command(
    model: Annotated[str | None, typer.Argument(help="Name of weights; without it all that are present.")] = None,
    cache: CacheOption = None,
) -> None:
    """Check the bytes of the package's weights and of the cache against their SHA-256."""
    problems = 0
    with one_line_errors():
        folder = cache or cache_folder()
        entries = (
            [entry for entry in load_index().entries if entry.file is not None or is_present(entry, folder)]
            if model is None
            else [_find(model)]
        )
        for entry in entries:
            problem = verify(entry, folder)
            problems += problem is not None
            echo(f"{entry.name}: {problem or 'ok'}", err=problem is not None)
    if problems:
        raise typer.Exit(SOME_FAILED)


def _find(model: str) -> IndexEntry:
    entry = load_index().find(model)
    if entry is None:
        fail(f"no published weights {model!r}; there are {', '.join(load_index().names())}")
    return entry
