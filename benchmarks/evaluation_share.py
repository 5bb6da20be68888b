"""How much of an evaluation's time is not the network's: reading, cutting, decoding, scoring, writing results.

Processor time of one thread, with flip; without --annotations on images of 640 x 480 pixels that are drawn on the
spot, two people each. The weights are random, which changes no time.
Run: OMP_NUM_THREADS=1 python -m benchmarks.evaluation_share [--people 1000] [--precision bfloat16] [--model mspn-2]
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import cv2
import torch

from benchmarks.clock import Clock
from benchmarks.photographs import PEOPLE_PER_IMAGE, write_photographs
from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.config.recipes import find_recipe
from mspn.evaluation.average_precision import average_precision, read_ground_truth
from mspn.evaluation.predicting import predict_people
from mspn.evaluation.report import write_results
from mspn.inference.devices import Precision
from mspn.models import build_network
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Size
from mspn.structures.skeleton import COCO_17

_SIZE = Size(480, 640)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--model", default="mspn-2")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--annotations", type=Path, help="COCO keypoint file, in place of drawn images")
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        annotations, images = options.annotations, options.images
        if annotations is None:
            annotations, images = write_photographs(folder, options.people // PEOPLE_PER_IMAGE, _SIZE)
        _measure(annotations, images, folder / "results.json", options.model, options.precision)


def _measure(annotations: Path, images: Path, results: Path, model: str, precision: Precision) -> None:
    recipe = find_recipe(model)
    network = build_network(recipe.model).eval()
    clock = Clock(time.process_time)
    network.final_heatmaps = clock.time(network.final_heatmaps)  # type: ignore[method-assign]
    estimator = PoseEstimator(
        Checkpoint(CheckpointMetadata(recipe=recipe), network), "none", device="cpu", precision=precision
    )
    start = time.process_time()
    truth = read_ground_truth(annotations, COCO_17)
    predictions = predict_people(estimator, truth, images, None)
    write_results(results, predictions.rows)
    average_precision(truth, predictions.rows, COCO_17)
    total = time.process_time() - start
    people = len(predictions.rows)
    outside = total - clock.seconds
    print(
        f"{model}, {precision}: {people} people in {total:.1f} s, of which the network took {clock.seconds:.1f} s;"
        f" everything else is {outside / total:.1%}, {outside / people * 1000:.1f} ms a person"
    )


if __name__ == "__main__":
    main()
