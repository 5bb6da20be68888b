"""Whether the loader's workers grow: python -m benchmarks.loader_memory [--epochs 20] [--people 10000] [--method fork]

Loads every epoch of a drawn set and reads from /proc (so, on Linux) what the workers hold: RSS, all of it; PSS, in
which what n processes share counts for an n-th; USS, what a worker has for itself.
"""

import argparse
import multiprocessing
import tempfile
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from mspn.config.data import PeopleSetConfig
from mspn.config.recipe import Recipe
from mspn.datasets.crop_dataset import CropDataset
from mspn.datasets.people import read_people_set
from mspn.datasets.samples import SeededBatches
from mspn.datasets.workers import prepare_worker
from mspn.structures.skeleton import COCO_17
from tests.coco_files import person, write_annotations

_PEOPLE_PER_IMAGE = 2
_MAX_GROWTH = 0.05


def main() -> None:
    """Print a line per epoch, and the growth since the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--method", choices=multiprocessing.get_all_start_methods(), default="fork")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        annotations, images = write_small_set(Path(folder), options.people)
        config = PeopleSetConfig(annotations=str(annotations), images=str(images))
        people = read_people_set(config, Path(), COCO_17)
        batches = SeededBatches([len(people)], [1.0], batch_size=50, seed=0, start=0)
        loader = DataLoader(
            CropDataset(people, Recipe(name="benchmark")),
            batch_sampler=batches,
            num_workers=options.workers,
            worker_init_fn=prepare_worker,
            multiprocessing_context=options.method,
        )
        loaded = iter(loader)
        print("epoch  RSS MB  PSS MB  USS MB  (mean of the workers)")
        first: dict[str, float] = {}
        last: dict[str, float] = {}
        for epoch in range(1, options.epochs + 1):
            for _ in islice(loaded, batches.batches_per_epoch):
                pass
            last = measure_workers()
            first = first or last
            print(f"{epoch:5}" + "".join(f"{value / 1e6:8.1f}" for value in last.values()))
    growth = {kind: last[kind] / first[kind] - 1 for kind in first}
    print("growth since the first epoch: " + ", ".join(f"{kind} {share:+.1%}" for kind, share in growth.items()))
    print(f"flat within {_MAX_GROWTH:.0%}: {'yes' if growth['RSS'] <= _MAX_GROWTH else 'no'}")


def write_small_set(folder: Path, num_people: int) -> tuple[Path, Path]:
    """Labels of many people in many images, which are all alike and small."""
    drawn = np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    encoded = cv2.imencode(".jpg", drawn)[1].tobytes()
    images = folder / "images"
    images.mkdir()
    labeled = {name: (10 + 2 * index, 20 + 3 * index, 2) for index, name in enumerate(COCO_17.keypoints)}
    annotations = [person(number, number // _PEOPLE_PER_IMAGE, labeled) for number in range(num_people)]
    names = {number: f"{number:012d}.jpg" for number in range(-(-num_people // _PEOPLE_PER_IMAGE))}
    for name in names.values():
        (images / name).write_bytes(encoded)
    return write_annotations(folder / "annotations.json", annotations, names), images


def measure_workers() -> dict[str, float]:
    """Mean bytes of this process's children."""
    children = [child.pid for child in multiprocessing.active_children()]
    lines = [line.split() for pid in children for line in _rollup(pid)]
    sums = {"RSS": ("Rss:",), "PSS": ("Pss:",), "USS": ("Private_Clean:", "Private_Dirty:")}
    return {
        kind: sum(1024 * int(line[1]) for line in lines if line[0] in names) / len(children)
        for kind, names in sums.items()
    }


def _rollup(pid: int | None) -> list[str]:
    return Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]


if __name__ == "__main__":
    main()
