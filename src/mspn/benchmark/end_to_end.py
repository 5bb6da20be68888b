"""Time of each step from an image file to keypoints in a file."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mspn.io.images import read_image
from mspn.outputs.tables import JsonWriter
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import ImageResult
from mspn.structures.image import Image


@dataclass(frozen=True)
class EndToEndTiming:
    """Seconds per step, over all images one after another."""

    model: str
    engine: str
    precision: str
    threads: int
    images: int
    people: int
    seconds: dict[str, float]
    """By step: decode, detect, cut, network, read off, write."""

    @property
    def network_share(self) -> float:
        """Share of the time spent in detector and pose network."""
        return (self.seconds["detect"] + self.seconds["network"]) / sum(self.seconds.values())


def measure_end_to_end(name: str, estimator: PoseEstimator, paths: Sequence[Path], threads: int) -> EndToEndTiming:
    """Time each step for images, one after another; `mspn predict` overlaps some of them.

    Args:
        name: of the network.
        estimator: detects people and estimates their poses.
        paths: of images.
        threads: number of torch's threads, for the record.

    Raises:
        ImageError: for an image that cannot be read.
    """
    _time_steps(estimator, paths[:1])  # warm-up: one-time costs are not measured
    seconds, people = _time_steps(estimator, paths)
    return EndToEndTiming(name, estimator.engine, estimator.precision, threads, len(paths), people, seconds)


def _time_steps(estimator: PoseEstimator, paths: Sequence[Path]) -> tuple[dict[str, float], int]:
    seconds = dict.fromkeys(("decode", "detect", "cut", "network", "read off", "write"), 0.0)
    last = time.perf_counter()

    def record(step: str) -> None:
        nonlocal last
        end = time.perf_counter()
        seconds[step] += end - last
        last = end

    people = 0
    with TemporaryDirectory() as folder:
        with closing(JsonWriter(Path(folder))) as writer:
            for path in paths:
                image = Image(str(path), read_image(path))
                record("decode")
                detections = estimator.top_down.detect(image)
                record("detect")
                person_crops = [estimator.top_down.crop(image, detection) for detection in detections]
                record("cut")
                poses = []
                if person_crops:
                    heatmaps = estimator.top_down.predict_heatmaps(person_crops)
                    record("network")
                    poses = estimator.top_down.select(estimator.top_down.decode(person_crops, heatmaps))
                    record("read off")
                writer.write(ImageResult(image.source, image, poses, []))
                record("write")
                people += len(poses)
        record("write")
    return seconds, people
