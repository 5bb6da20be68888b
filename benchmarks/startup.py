"""How long `import mspn`, `mspn --help` and `mspn predict` for one image take, from the command to the written file.

Each in a Python of its own, taking turns with `import torch` alone, below which no prediction with weights can start;
the first round is not counted. Medians of seconds, of the wall clock and of the processor, which other programs disturb
less. With --prepared, also of a prediction by what `mspn models prepare` puts into that folder as its cache.
Run: OMP_NUM_THREADS=1 python -m benchmarks.startup [--runs 7] [--image FILE] [--prepared FOLDER]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mspn.checkpoints.hub import CACHE_VARIABLE
from mspn.checkpoints.index import ASSETS


class Seconds(NamedTuple):
    """What a program took."""

    wall: float
    processor: float
    """In user and system mode, of all threads."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--image", type=Path, default=ASSETS / "sample" / "astronaut.jpg")
    parser.add_argument("--prepared", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        out, empty = Path(folder) / "out", Path(folder) / "cache"
        predict = ["-m", "mspn", "predict", str(options.image), "--out", str(out), "--overwrite"]
        programs = {
            "import torch": (["-c", "import torch"], empty),
            "import mspn": (["-c", "import mspn"], empty),
            "mspn --help": (["-m", "mspn", "--help"], empty),
            "mspn predict IMAGE": (predict, empty),
        }
        if options.prepared:
            _run(["-m", "mspn", "models", "prepare"], options.prepared)
            programs["the same, prepared"] = (predict, options.prepared)
        rounds = [[_run(*program) for program in programs.values()] for _ in range(1 + options.runs)]
        assert (out / "predictions.json").exists()
    print(f"{'':22}{'wall':>8}{'processor':>12}")
    for name, taken in zip(programs, zip(*rounds[1:], strict=True), strict=True):
        wall, processor = (statistics.median(values) for values in zip(*taken, strict=True))
        print(f"{name:22}{wall:7.2f}s{processor:11.2f}s")


def _run(arguments: list[str], cache: Path) -> Seconds:
    environment = {**os.environ, CACHE_VARIABLE: str(cache)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package is compiled
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    wall, after = time.perf_counter() - start, os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return Seconds(wall, processor)


if __name__ == "__main__":
    main()
