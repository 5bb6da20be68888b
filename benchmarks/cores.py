"""How much faster `mspn predict` is with more cores: python -m benchmarks.cores [--rounds 3] SOURCE [-- OPTIONS]

The same command on one core, on two, and so on up to all that this process may use, in turns, by the clock on the wall:
other programs must rest meanwhile. The time until the first image, which one core has no use for sharing, is that of a
run of one image and is taken off. OPTIONS go to `mspn predict`. The busy share says how many cores were at work.
Linux only, since cores are given by affinity.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mspn.checkpoints.index import ASSETS


class Seconds(NamedTuple):
    """What a command took."""

    wall: float
    processor: float


def main() -> None:
    """Print seconds, gain and busy cores for each number of cores."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of photos, or a video")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("options", nargs="*")
    chosen = parser.parse_args()
    available = sorted(os.sched_getaffinity(0))
    counts = [count for count in (1, 2, 4, 8, 16, 32, 64) if count < len(available)] + [len(available)]
    one_image = ASSETS / "sample" / "astronaut.jpg"
    rounds = [
        [_work(chosen.source, one_image, available[:count], chosen.options) for count in counts]
        for _ in range(chosen.rounds)
    ]
    medians = [Seconds(*map(statistics.median, zip(*taken, strict=True))) for taken in zip(*rounds, strict=True)]
    for count, seconds in zip(counts, medians, strict=True):
        gain, busy = medians[0].wall / seconds.wall, seconds.processor / seconds.wall
        print(f"{count} cores: {seconds.wall:.2f} s, {gain:.2f} times as fast as one; {busy:.2f} cores busy")


def _work(source: Path, one_image: Path, cores: Sequence[int], options: Sequence[str]) -> Seconds:
    """Of a source, beyond what one image takes."""
    whole, start = (_predict(given, cores, options) for given in (source, one_image))
    return Seconds(whole.wall - start.wall, whole.processor - start.processor)


def _predict(source: Path, cores: Sequence[int], options: Sequence[str]) -> Seconds:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with TemporaryDirectory() as out:
        command = [sys.executable, "-m", "mspn", "predict", str(source), "--out", str(Path(out) / "out"), *options]
        before, start = os.times(), time.perf_counter()
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            env=environment,
            preexec_fn=partial(os.sched_setaffinity, 0, cores),
        )
        wall, after = time.perf_counter() - start, os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Seconds(wall, processor)


if __name__ == "__main__":
    main()
