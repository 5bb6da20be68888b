"""Plot a run's training curve: python -m benchmarks.plot_curve RUN_DIR CURVE.png (needs the extra `plots`)."""

import sys
from pathlib import Path

from matplotlib import pyplot as plt

from mspn.training.metrics import read_metrics


def main(run: Path, destination: Path) -> None:
    """Draw loss and learning rate by iteration."""
    rows = read_metrics(run)
    iterations = [row.iteration for row in rows]
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    axes.plot(iterations, [row.loss for row in rows], label="all stages and levels")
    axes.plot(iterations, [row.losses[-1][0] for row in rows], label="last stage, finest level")
    axes.set(xlabel="iteration", ylabel="loss (peak 255)", yscale="log")
    rates = axes.twinx()
    rates.plot(iterations, [row.learning_rate for row in rows], color="gray", linestyle=":", label="learning rate")
    rates.set_ylabel("learning rate")
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(destination, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
