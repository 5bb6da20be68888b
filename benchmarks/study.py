"""The study of docs/study.md: train and measure its networks, then print its tables and draw its figure.

python -m benchmarks.study run RUNS --data DATA --seeds 0 1 2 [--only study-mspn-2 ...]
python -m benchmarks.study tables RUNS [--figure FIGURE.png] [--numbers NUMBERS.csv]

A run that is complete is not repeated, one that was cut off goes on. All networks of a seed come before the next seed.
"""

import argparse
import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.validation_sets import (
    VALIDATION_SETS,
    evaluate_on_validation_sets,
    is_evaluated,
    read_validation_sets,
    run_mspn,
)
from mspn.config.recipes import STUDY_RECIPES


class Row(NamedTuple):
    """A network of a table."""

    label: str
    recipe: str
    paper: float | None
    """AP of its like on COCO minival, where the paper has one."""


TABLES = {
    "Table 3: stages of one width": [
        Row("MSPN, 1", "study-mspn-1", 71.5),
        Row("MSPN, 2", "study-mspn-2", 74.5),
        Row("MSPN, 3", "study-mspn-3", 75.2),
        Row("MSPN, 4", "study-mspn-4", 75.9),
        Row("Hourglass, 1", "study-hourglass-1", 65.4),
        Row("Hourglass, 2", "study-hourglass-2", 70.9),
        Row("Hourglass, 4", "study-hourglass-4", 71.3),
    ],
    "Stages at one cost": [
        Row("MSPN, 1 wider", "study-mspn-1-cost-of-2", None),
        Row("MSPN, 2", "study-mspn-2", None),
        Row("MSPN, 3 narrower", "study-mspn-3-cost-of-2", None),
        Row("MSPN, 4 narrower", "study-mspn-4-cost-of-2", None),
    ],
    "Table 6: coarse-to-fine supervision (CTF), cross-stage feature aggregation (CSFA)": [
        Row("MSPN, 2", "study-mspn-2-base", 73.3),
        Row("+ CTF", "study-mspn-2-ctf", 74.2),
        Row("+ CTF + CSFA", "study-mspn-2", 74.5),
        Row("Hourglass, 4", "study-hourglass-4", 71.3),
        Row("Hourglass + CTF", "study-hourglass-4-ctf", 72.5),
        Row("Hourglass + CTF + CSFA", "study-hourglass-4-csfa", 73.0),
    ],
    "Table 7: kernels of the two stages": [
        Row("7, 7", "study-mspn-2-kernels-7-7", 74.2),
        Row("5, 5", "study-mspn-2-kernels-5-5", 74.0),
        Row("7, 5", "study-mspn-2", 74.5),
    ],
}
LINES = {
    "MSPN, 1 to 4 stages": [f"study-mspn-{stages}" for stages in (1, 2, 3, 4)],
    "one stage, wider": ["study-mspn-1", "study-mspn-1-cost-of-2", "study-mspn-1-cost-of-4"],
    "Hourglass, 1, 2 and 4 stages": [f"study-hourglass-{stages}" for stages in (1, 2, 4)],
}
"""Figure 1's."""


class Measured(NamedTuple):
    """A recipe's networks, one a seed."""

    gmacs: float
    seeds: list[int]
    by_set: dict[str, list[float]]
    """AP on each validation set, in the order of the seeds."""

    @property
    def means(self) -> list[float]:
        """Over the sets."""
        return [statistics.fmean(of_seed) for of_seed in zip(*self.by_set.values(), strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description="train, measure and compare the study's networks")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run")
    run.add_argument("runs", type=Path)
    run.add_argument("--data", type=Path, required=True, help="folder of the sets of photos")
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    run.add_argument("--only", nargs="+", choices=STUDY_RECIPES, default=list(STUDY_RECIPES), metavar="RECIPE")
    tables = commands.add_parser("tables")
    tables.add_argument("runs", type=Path)
    tables.add_argument("--figure", type=Path)
    tables.add_argument("--numbers", type=Path, help="file of every network's AP")
    chosen = parser.parse_args()
    if chosen.command == "run":
        for seed in chosen.seeds:
            for name in chosen.only:
                train_and_measure(name, seed, chosen.runs, chosen.data)
        return
    measured = read_runs(chosen.runs)
    for title, rows in TABLES.items():
        print("\n".join(["", title, "", *table_lines(rows, measured)]))
    if chosen.figure:
        draw_figure(chosen.figure, measured)
    if chosen.numbers:
        write_numbers(chosen.numbers, measured)


def train_and_measure(name: str, seed: int, runs: Path, data: Path) -> None:
    """Train a recipe and evaluate it on the validation sets, each with the command that a reader would use.

    Only a run that reached its end is evaluated; weights alone do not say so, a run that is cut off leaves them too.
    """
    folder = runs / f"{name}-seed{seed}"
    if not is_evaluated(folder):
        settings = [f"data.root={data}", f"train.seed={seed}", "train.threads=1"]
        resume = ["--resume"] if folder.is_dir() else []
        run_mspn("train", name, "--out", folder, *resume, *(word for one in settings for word in ("--set", one)))
        evaluate_on_validation_sets(folder / "weights.safetensors", data, folder)


def read_runs(runs: Path) -> dict[str, Measured]:
    """Of each recipe, all seeds that have been measured on all sets."""
    measured: dict[str, Measured] = {}
    for name in STUDY_RECIPES:
        folders = [folder for folder in sorted(runs.glob(f"{name}-seed*")) if is_evaluated(folder)]
        if folders:
            reports = [read_validation_sets(folder) for folder in folders]
            gmacs = reports[0][VALIDATION_SETS[0]].gmacs
            assert gmacs is not None
            seeds = [int(folder.name.removeprefix(f"{name}-seed")) for folder in folders]
            by_set = {name: [one[name].stats["AP"] for one in reports] for name in VALIDATION_SETS}
            measured[name] = Measured(gmacs, seeds, by_set)
    return measured


def table_lines(rows: Sequence[Row], measured: Mapping[str, Measured]) -> list[str]:
    """Lines of a Markdown table; numbers are means over the seeds, with half the range between the extremes."""
    sets = " | ".join(f"`{name}`" for name in VALIDATION_SETS)
    lines = [
        f"| | multiply-adds, M | {sets} | mean of the three | seeds | paper |",
        f"|---|---|{'---|' * (len(VALIDATION_SETS) + 3)}",
    ]
    for row in rows:
        if row.recipe in measured:
            one = measured[row.recipe]
            aps = [_with_spread(values) for values in (*one.by_set.values(), one.means)]
            paper = "" if row.paper is None else f"{row.paper / 100:.3f}"
            cells = [row.label, f"{1000 * one.gmacs:.0f}", *aps, str(len(one.seeds)), paper]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _with_spread(values: Sequence[float]) -> str:
    mean = f"{statistics.fmean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {(max(values) - min(values)) / 2:.3f}"


def draw_figure(path: Path, measured: Mapping[str, Measured]) -> None:
    """Draw AP over cost, a line a family; bars reach from the lowest to the highest seed."""
    from matplotlib import pyplot as plt  # noqa: PLC0415 (extra `plots`)

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for label, names in LINES.items():
        points = [measured[name] for name in names if name in measured]
        means = [statistics.fmean(one.means) for one in points]
        below = [mean - min(one.means) for mean, one in zip(means, points, strict=True)]
        above = [max(one.means) - mean for mean, one in zip(means, points, strict=True)]
        costs = [1000 * one.gmacs for one in points]
        axes.errorbar(costs, means, yerr=[below, above], marker="o", capsize=3, label=label)
    axes.set(xlabel="million multiply-adds a crop", ylabel="AP, mean of the three sets")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=110)


def write_numbers(path: Path, measured: Mapping[str, Measured]) -> None:
    """One line a network: what the tables and the figure are made of."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["recipe", "seed", "million_multiply_adds", *VALIDATION_SETS])
        for name, one in measured.items():
            for seed, *aps in zip(one.seeds, *one.by_set.values(), strict=True):
                writer.writerow([name, seed, f"{1000 * one.gmacs:.1f}", *(f"{ap:.4f}" for ap in aps)])


if __name__ == "__main__":
    main()
