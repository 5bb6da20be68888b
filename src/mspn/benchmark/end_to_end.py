"""Where the time goes from an image file to keypoints in a file."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mspn.io.images import read_image
from mspn.outputs.json import JsonWriter
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import ImageResult
from mspn.structures.image import Image


@dataclass(frozen=True)
class EndToEndTiming:
    """Seconds that the steps took for all images, one after another."""

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
        """Of the time, what the two networks have."""
        return (self.seconds["detect"] + self.seconds["network"]) / sum(self.seconds.values())


def measure_end_to_end(name: str, estimator: PoseEstimator, paths: Sequence[Path], threads: int) -> EndToEndTiming:
    """Time each step for images, one after another; `mspn predict` overlaps some of them.

    Args:
        name: of the network.
        estimator: that finds people and their poses.
        paths: of images.
        threads: of torch, for the record.

    Raises:
        ImageError: for an image that cannot be read.
    """
    _follow(estimator, paths[:1])  # what is only done once does not count
    seconds, people = _follow(estimator, paths)
    return EndToEndTiming(name, estimator.engine, estimator.precision, threads, len(paths), people, seconds)


def _follow(estimator: PoseEstimator, paths: Sequence[Path]) -> tuple[dict[str, float], int]:
    seconds = dict.fromkeys(("decode", "detect", "cut", "network", "read off", "write"), 0.0)
    last = time.perf_counter()

    def note(step: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[step] += now - last
        last = now

    people = 0
    with TemporaryDirectory() as folder:
        with closing(JsonWriter(Path(folder))) as writer:
            for path in paths:
                image = Image(str(path), read_image(path))
                note("decode")
                found = estimator.top_down.detect(image)
                note("detect")
                person_crops = [estimator.top_down.crop(image, detection) for detection in found]
                note("cut")
                poses = []
                if person_crops:
                    heatmaps = estimator.top_down.predict_heatmaps(person_crops)
                    note("network")
                    poses = estimator.top_down.select(estimator.top_down.decode(person_crops, heatmaps))
                    note("read off")
                writer.write(ImageResult(image.source, image, poses, []))
                note("write")
                people += len(poses)
        note("write")
    return seconds, people
