"""Plot a run's training curve: python -m benchmarks.plot_curve RUN_DIR CURVE.png (needs the extra `plots`)."""

import sys
from pathlib import Path

from matplotlib import pyplot as plt

from mspn.training.metrics import read_metrics


def main(run: Path, destination: Path) -> None:
    """Draw loss and learning rate by epoch."""
    lines = read_metrics(run)
    epochs = [line.epoch for line in lines]
    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    axes.plot(epochs, [line.loss for line in lines], label="all stages and levels")
    axes.plot(epochs, [line.losses[-1][0] for line in lines], label="last stage, finest level")
    axes.set(xlabel="epoch", ylabel="loss (peak 255)", yscale="log")
    rates = axes.twinx()
    rates.plot(epochs, [line.learning_rate for line in lines], color="gray", linestyle=":", label="learning rate")
    rates.set_ylabel("learning rate")
    figure.legend(loc="outside upper center", ncols=3)
    figure.savefig(destination, dpi=110)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
