"""Kill `mspn train` and `mspn predict` at random moments, resume, and compare with runs that nobody disturbed.

Run: python -m benchmarks.kill OUT [--kills 100] [--seed 0]

Each command runs in a forked process of one that has imported the package, gets SIGKILL after a random time, and is
started again with --resume until it ends by itself. Then its results must equal those of the undisturbed run: every
tensor of the weights and every row of the metrics but for its times, every byte of the predictions.
"""

import argparse
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file

from benchmarks.fuzz import coco_labels
from mspn.cli.app import app

_SAMPLE = Path("src/mspn/assets/sample")
_NUM_IMAGES = 24
_TIMES = ("seconds", "samples_per_second", "waiting_share", "memory_mib")


class Job(NamedTuple):
    """A command that can be resumed."""

    name: str
    command: Callable[[Path], list[str]]
    """The arguments, with the folder that it writes."""
    read: Callable[[Path], Any]
    """What must not differ."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(options.out, ignore_errors=True)
    data = _write_data(options.out / "data")
    rng = random.Random(options.seed)
    num_different = 0
    for job in (_train(data), _predict(data)):
        expected, seconds = _run_undisturbed(job, options.out / f"{job.name}-undisturbed")
        kills = runs = 0
        while kills < options.kills // 2:
            runs += 1
            folder = options.out / f"{job.name}-{runs}"
            kills += _run_with_kills(job, folder, seconds, rng, options.kills // 2 - kills)
            is_equal = job.read(folder) == expected
            num_different += not is_equal
            print(f"{job.name}: run {runs}, {kills} kills, {'equal' if is_equal else 'DIFFERENT'}", flush=True)
            if is_equal:
                shutil.rmtree(folder)
    raise SystemExit(1 if num_different else 0)


def _run_undisturbed(job: Job, folder: Path) -> tuple[Any, float]:
    start = time.monotonic()
    _wait(_start(job.command(folder)), seconds=600)
    return job.read(folder), time.monotonic() - start


def _run_with_kills(job: Job, folder: Path, seconds: float, rng: random.Random, max_kills: int) -> int:
    """Start, kill and resume until it ends; after the last kill it is left alone."""
    kills = 0
    while True:
        process = _start([*job.command(folder), "--resume"])
        if _wait(process, rng.uniform(0, seconds) if kills < max_kills else 600):
            return kills
        kills += 1


def _start(arguments: Sequence[str]) -> int:
    process = os.fork()
    if process:
        return process
    nothing = os.open(os.devnull, os.O_RDWR)
    log = os.open("/dev/stderr" if os.environ.get("SHOW") else os.devnull, os.O_WRONLY)
    for stream, target in ((0, nothing), (1, log), (2, log)):
        os.dup2(target, stream)
    code = 1
    try:
        app(arguments, prog_name="mspn")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        os._exit(code)


def _wait(process: int, seconds: float) -> bool:
    """Whether the process ends by itself; it is killed after the seconds.

    Raises:
        SystemExit: if it ends with an error.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            if status:
                raise SystemExit(f"a command ended with status {os.waitstatus_to_exitcode(status)}; SHOW=1 shows why")
            return True
        time.sleep(0.005)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return False


def _write_data(folder: Path) -> Path:
    photos = folder / "photos"
    photos.mkdir(parents=True)
    sources = sorted(_SAMPLE.glob("*.jpg"))
    for number in range(_NUM_IMAGES):
        shutil.copy(sources[number % len(sources)], photos / f"{number:02d}.jpg")
    labels = coco_labels()
    labels["images"][0]["file_name"] = "photos/00.jpg"
    (folder / "labels.json").write_text(json.dumps(labels))
    return folder.resolve()


def _train(data: Path) -> Job:
    sets = '[{"annotations": "labels.json", "images": ".", "weight": 8}]'
    settings = {
        **{"data.root": data, "data.train": sets, "data.validation": "null", "data.workers": 1},
        **{"train.iterations": 24, "train.batch_size": 2, "train.threads": 1, "train.warmup_iterations": 2},
        **{"train.checkpoint_every": 3, "train.metrics_every": 4, "train.ema_decay": 0.9},
    }
    changes = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]

    def command(folder: Path) -> list[str]:
        return ["train", "study-mspn-1", "--out", str(folder), *changes]

    def read(folder: Path) -> Any:
        weights = {name: tensor.tolist() for name, tensor in load_file(folder / "weights.safetensors").items()}
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return weights, [{name: value for name, value in row.items() if name not in _TIMES} for row in rows]

    return Job("train", command, read)


def _predict(data: Path) -> Job:
    saved = "json,jsonl,csv,coco,yolo,images"

    def command(folder: Path) -> list[str]:
        return ["predict", str(data / "photos"), "--out", str(folder), "--save", saved, "--model", "mspn-tiny"]

    def read(folder: Path) -> Any:
        files = sorted(path for path in folder.rglob("*") if path.is_file() and "progress" not in path.name)
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return Job("predict", command, read)


if __name__ == "__main__":
    main()
