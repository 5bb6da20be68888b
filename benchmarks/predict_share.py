"""How much of the time that `mspn predict` takes for a folder the networks have, those for poses and for people.

Without --images, images of 640 x 480 pixels are drawn on the spot, and two boxes given in each. Seconds of the wall
clock, with flip, from the first image read to the last result written as JSON; pose weights are random, which changes
no time.
Run: OMP_NUM_THREADS=1 python -m benchmarks.predict_share [--images 50] [--model mspn-2] [--precision auto]
    [--images FOLDER --detector NAME]
"""

import argparse
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import cv2

from benchmarks.clock import Clock
from benchmarks.photographs import write_photographs
from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.config.recipes import find_recipe
from mspn.detectors import make_detector
from mspn.detectors.precomputed import BoxesFile
from mspn.inference.devices import Precision
from mspn.inference.runner import Runner
from mspn.models import build_network
from mspn.outputs.tables import JsonWriter
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Size

_SIZE = Size(480, 640)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--num-images", type=int, default=50)
    parser.add_argument("--model", default="mspn-2")
    parser.add_argument("--precision", choices=get_args(Precision), default="auto")
    parser.add_argument("--images", type=Path, help="photographs, in place of drawn images")
    parser.add_argument("--detector", default="none", help="that finds people in them, as mspn predict takes it")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        clock = Clock(time.perf_counter)
        recipe = find_recipe(options.model)
        network = build_network(recipe.model).eval()
        images: Path = options.images
        if images:
            detector = make_detector(options.detector)
            detector.detect = clock.time(detector.detect)  # type: ignore[method-assign]
        else:
            annotations, images = write_photographs(folder, options.num_images, _SIZE)
            detector = BoxesFile(annotations)
        estimator = PoseEstimator(
            Checkpoint(CheckpointMetadata(recipe=recipe), network), detector, device="cpu", precision=options.precision
        )
        Runner.__call__ = clock.time(Runner.__call__)  # type: ignore[method-assign]
        start = time.perf_counter()
        num_images = people = 0
        with closing(JsonWriter(folder)) as writer:
            for result in estimator.stream(images, keep_pixels=False):
                writer.write(result)
                num_images += 1
                people += len(result.poses)
        total = time.perf_counter() - start
    print(
        f"{options.model}, {estimator.precision}: {people} people in {num_images} images in {total:.1f} s,"
        f" of which the networks have {clock.seconds:.1f} s, {clock.seconds / total:.0%}"
    )


if __name__ == "__main__":
    main()
