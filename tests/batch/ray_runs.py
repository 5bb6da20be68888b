"""Runs on Ray, in a process of their own: `python -m tests.batch.ray_runs FOLDER`."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np

from mspn.batch.predictor import ReadSettings
from mspn.batch.run import ActorSettings, Run, connected, predict_files
from mspn.batch.table import Destination
from mspn.io.images import write_jpeg
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image
from tests.untrained import untrained

ASSETS = Path(__file__).parents[2] / "src/mspn/assets/sample"
NUM_IMAGES = 40


class KillsOnce:
    """Kills its process in the middle of the second task, once, and takes images for people otherwise."""

    def __init__(self, folder: Path) -> None:
        self._done = folder / "killed"

    def detect(self, image: Image) -> list[Detection]:
        if image.source.endswith("30.jpg") and not self._done.exists():
            self._done.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return [Detection(Box(0, 0, image.size.width, image.size.height), 1.0)]


def estimator_of(folder: Path) -> PoseEstimator:
    """The same one in each process."""
    return PoseEstimator(untrained(folder), KillsOnce(folder), device="cpu", precision="float32", batch_size=3)


def _write_images(folder: Path, numbers: range) -> None:
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 255, (40, 30, 3), np.uint8)
        write_jpeg(folder / f"{number}.jpg", pixels)


def main(folder: Path) -> None:
    """Predict images while an actor is killed; then go on where a driver was killed, with more images."""
    images = folder / "images"
    images.mkdir()
    _write_images(images, range(NUM_IMAGES))
    (images / "cut.jpg").write_bytes((images / "0.jpg").read_bytes()[:-2])
    shutil.copy(ASSETS / "pan.mp4", images)
    os.chdir(folder)
    destination = Destination("out")
    shown = []

    def run(*, resume: bool) -> Run:
        actors = ActorSettings(num_actors=1)
        return Run(["images"], destination, estimator_of(folder), {}, ReadSettings(), actors, resume=resume)

    with connected(None, ActorSettings(num_actors=1)) as num_actors:
        first = predict_files(run(resume=False), num_actors, lambda *counts: shown.append(counts), shown.append)
        # As a driver leaves it that is killed after rows are written and before they count as done.
        done = sorted(Path(destination.done).iterdir())
        done[0].rename(done[0].with_suffix(".pending.parquet"))
        _write_images(images, range(NUM_IMAGES, NUM_IMAGES + 3))
        second = predict_files(run(resume=True), num_actors, lambda *_: None, print)
    last, total = shown[-1]
    (folder / "seen.json").write_text(
        json.dumps(
            {
                "summaries": [first.to_dict(), second.to_dict()],
                "images": last.num_images,
                "total": total,
                "problems": last.problems,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
