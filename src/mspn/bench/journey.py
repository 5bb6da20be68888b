"""Where the time goes from a picture file to keypoints in a file."""

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mspn.images import read_picture
from mspn.picture import Picture
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import PictureResult
from mspn.predict.writers.json_files import JsonWriter


@dataclass(frozen=True)
class Journey:
    """Seconds that the steps took for all pictures, one after another."""

    model: str
    engine: str
    precision: str
    threads: int
    pictures: int
    people: int
    seconds: dict[str, float]
    """By step: decode, detect, cut, network, read off, write."""

    @property
    def network_share(self) -> float:
        """Of the time, what the two networks have."""
        return (self.seconds["detect"] + self.seconds["network"]) / sum(self.seconds.values())


def measure_journey(name: str, estimator: PoseEstimator, paths: Sequence[Path], threads: int) -> Journey:
    """Time each step for pictures, one after another; `mspn predict` overlaps some of them.

    Args:
        name: of the network.
        estimator: that finds people and their poses.
        paths: of pictures.
        threads: of torch, for the record.

    Raises:
        PictureError: for a picture that cannot be read.
    """
    _follow(estimator, paths[:1])  # what is only done once does not count
    seconds, people = _follow(estimator, paths)
    return Journey(name, estimator.engine, estimator.precision, threads, len(paths), people, seconds)


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
                picture = Picture(str(path), read_picture(path))
                note("decode")
                found = estimator.find(picture)
                note("detect")
                subjects = [estimator.cut(picture, detection) for detection in found]
                note("cut")
                poses = []
                if subjects:
                    heatmaps = estimator.ask(subjects)
                    note("network")
                    poses = estimator.choose(estimator.read(subjects, heatmaps))
                    note("read off")
                writer.write(PictureResult(picture.source, picture, poses, []))
                note("write")
                people += len(poses)
        note("write")
    return seconds, people
