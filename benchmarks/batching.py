"""How much faster people are estimated in batches, shared by images, than one at a time.

200 images of 640 x 480 pixels that are drawn on the spot, 1 to 10 people each with boxes given, go through the same
pipeline with the same settings; all that differs is how many people the network sees at once.
Run: OMP_NUM_THREADS=1 python -m benchmarks.batching [--images 200] [--model default] [--precision auto] [--batch 32]
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import cv2
import numpy as np

from benchmarks.photographs import write_photographs
from mspn.inference.devices import Precision
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import predict_images
from mspn.sources import open_sources
from mspn.structures.boxes import Box, Detection, Size

_SIZE = Size(480, 640)
_MAX_PEOPLE = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--model", default="default")
    parser.add_argument("--precision", choices=get_args(Precision), default="auto")
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder:
        _, images = write_photographs(Path(folder), options.images, _SIZE)
        people = give_boxes(images)
        count = sum(map(len, people.values()))
        seconds, processor_seconds = {}, {}
        for batch_size in (1, options.batch):
            estimator = PoseEstimator(options.model, "none", precision=options.precision, batch_size=batch_size)
            _run(estimator, dict(list(people.items())[:5]))  # the first run prepares much
            start, processor_start = time.perf_counter(), time.process_time()
            _run(estimator, people)
            seconds[batch_size] = time.perf_counter() - start
            processor_seconds[batch_size] = time.process_time() - processor_start
            print(
                f"{options.model}, {estimator.precision}, {batch_size} people at once: {len(people)} images with"
                f" {count} people in {seconds[batch_size]:.1f} s, {seconds[batch_size] / count * 1000:.1f} ms a person"
                f" ({processor_seconds[batch_size]:.1f} s of the processor)"
            )
    gain, processor_gain = (clock[1] / clock[options.batch] for clock in (seconds, processor_seconds))
    print(f"in batches {gain:.2f} times faster ({processor_gain:.2f} times less work for the processor)")


def give_boxes(images: Path) -> dict[str, list[Detection]]:
    """Boxes of 1 to 10 people in each image of a folder, by its path."""
    rng = np.random.default_rng(0)
    boxes: dict[str, list[Detection]] = {}
    for path in sorted(images.iterdir()):
        heights = rng.uniform(0.3, 0.9, rng.integers(1, _MAX_PEOPLE, endpoint=True)) * _SIZE.height
        corners = rng.uniform(0, 1, (len(heights), 2))
        boxes[str(path)] = [
            Detection(Box(x * (_SIZE.width - height / 2), y * (_SIZE.height - height), height / 2, height), 1.0)
            for height, (x, y) in zip(heights.tolist(), corners.tolist(), strict=True)
        ]
    return boxes


def _run(estimator: PoseEstimator, people: Mapping[str, Sequence[Detection]]) -> None:
    results = predict_images(
        estimator.top_down, open_sources(list(people)), lambda image: list(people[image.source]), keep_pixels=False
    )
    assert sum(len(result.poses) for result in results) == sum(map(len, people.values()))


if __name__ == "__main__":
    main()
