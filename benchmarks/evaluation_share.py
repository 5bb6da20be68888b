"""How much of an evaluation's time is not the network's: reading, cutting, decoding, scoring, writing results.

Processor time of one thread, with flip; without --annotations on pictures of 640 x 480 pixels that are drawn on the
spot, two people each. The weights are random, which changes no time.
Run: OMP_NUM_THREADS=1 python benchmarks/evaluation_share.py [--people 1000] [--precision bfloat16] [--model mspn-2]
"""

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

import cv2
import numpy as np
import torch

from mspn.evaluate.average_precision import average_precision, read_truth
from mspn.evaluate.evaluator import predict_people
from mspn.evaluate.report import write_results
from mspn.model.build import build_network
from mspn.model.pose_network import PoseNetwork
from mspn.predict.estimator import PoseEstimator
from mspn.predict.runner import Precision
from mspn.recipes import find_recipe
from mspn.skeleton import COCO_17
from mspn.weights.checkpoint import Checkpoint, Header

PEOPLE_PER_PICTURE = 2
WIDTH, HEIGHT = 640, 480


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--model", default="mspn-2")
    parser.add_argument("--precision", choices=get_args(Precision), default="float32")
    parser.add_argument("--annotations", type=Path, help="COCO keypoint file, in place of drawn pictures")
    parser.add_argument("--images", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        annotations, images = options.annotations, options.images
        if annotations is None:
            annotations, images = _draw(folder, options.people)
        _measure(annotations, images, folder / "results.json", options.model, options.precision)


def _measure(annotations: Path, images: Path, results: Path, model: str, precision: Precision) -> None:
    recipe = find_recipe(model)
    network = build_network(recipe.model).eval()
    clock = _Clock(network)
    estimator = PoseEstimator(Checkpoint(Header(recipe=recipe), network), device="cpu", precision=precision)
    start = time.process_time()
    truth = read_truth(annotations, COCO_17)
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


class _Clock:
    """Counts the processor time that a network takes."""

    def __init__(self, network: PoseNetwork) -> None:
        self.seconds = 0.0
        original = network.final_heatmaps

        def timed(crops: torch.Tensor) -> torch.Tensor:
            start = time.process_time()
            heatmaps = original(crops)
            self.seconds += time.process_time() - start
            return heatmaps

        network.final_heatmaps = timed  # type: ignore[method-assign]


def _draw(folder: Path, num_people: int) -> tuple[Path, Path]:
    """Write JPEG pictures of blurred noise and lines, and their labels; return the annotation file and the folder."""
    random = np.random.default_rng(0)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    (folder / "images").mkdir()
    for image_id in range(1, num_people // PEOPLE_PER_PICTURE + 1):
        noise = random.integers(0, 255, (HEIGHT // 8, WIDTH // 8, 3), np.uint8)
        canvas = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        for place in range(PEOPLE_PER_PICTURE):
            left, top, width, height = WIDTH / 2 * place + 80.0, 60.0, 150.0, 360.0
            keypoints = random.uniform((left, top), (left + width, top + height), (17, 2))
            cv2.polylines(canvas, [keypoints.astype(np.int32)], False, (255, 255, 255), 6)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": 1,
                    "iscrowd": 0,
                    "bbox": [left, top, width, height],
                    "area": 0.53 * width * height,
                    "num_keypoints": 17,
                    "keypoints": np.column_stack([keypoints, np.full(17, 2)]).ravel().tolist(),
                }
            )
        name = f"{image_id:012d}.jpg"
        cv2.imwrite(str(folder / "images" / name), canvas)
        images.append({"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH})
    category = {"id": 1, "name": "person", "keypoints": list(COCO_17.keypoints)}
    path = folder / "annotations.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
    return path, folder / "images"


if __name__ == "__main__":
    main()
