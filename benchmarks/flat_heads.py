"""How the heads' first weight decides whether a short run learns: python -m benchmarks.flat_heads

Over-fits eight drawn people for 120 iterations from four starts and prints AP on the same people.
"""

import tempfile
from itertools import product
from pathlib import Path
from unittest.mock import patch

import torch
from torch import nn

from mspn.config.recipe import override
from mspn.evaluation.average_precision import average_precision, read_ground_truth
from mspn.evaluation.predicting import predict_people
from mspn.models.base import initialize
from mspn.models.mspn import Head
from mspn.predict.estimator import PoseEstimator
from mspn.structures.skeleton import COCO_17
from mspn.training.loop import train
from tests.drawn_people import write_drawn_set
from tests.trained import tiny_recipe


def main() -> None:
    """Print a line per start."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_drawn_set(folder, num_images=4, people_per_image=2)
        for number, (weight, foreground) in enumerate(product((1.0, 1 / 255), (0, 15))):

            def with_weight(model: nn.Module, weight: float = weight) -> None:
                initialize(model)
                for module in model.modules():
                    if isinstance(module, Head):
                        nn.init.constant_(module.predict.norm.weight, weight)

            recipe = override(tiny_recipe(folder, iterations=120), [f"supervision.foreground_weight={foreground}"])
            with patch("mspn.models.mspn.initialize", with_weight):
                weights = train(recipe, folder / str(number), resume=False)
            estimator = PoseEstimator(weights, "none", precision="float32")
            truth = read_ground_truth(folder / "annotations.json", COCO_17)
            rows = predict_people(estimator, truth, folder / "images", None).rows
            stats = average_precision(truth, rows, COCO_17)
            print(f"head weight {weight:.4f}, foreground weight {foreground}: AP {stats['AP']:.3f}")


if __name__ == "__main__":
    main()
