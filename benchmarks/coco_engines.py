"""COCO's ten numbers by either engine, and how long each takes: python -m benchmarks.coco_engines

Moves the keypoints of labeled people at random until there are 25,000 poses, and scores them in turns. Ends with an
error if one digit differs between the engines, or from what pycocotools makes of the same files by itself.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mspn.evaluation.average_precision import STATS, CocoBackend, average_precision, check_engine, read_ground_truth
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.skeleton import COCO_17


def perturbed_poses(truth: CocoPeople, count: int, seed: int) -> list[dict[str, Any]]:
    """People of the truth, drawn again and again, their keypoints moved by up to 0.15 of their size."""
    random = np.random.default_rng(seed)
    rows = []
    for place in random.integers(len(truth.annotations), size=count):
        person, keypoints = truth.annotations[place], truth.keypoints_image[place].copy()
        moved_by = random.uniform(0, 0.15) * np.sqrt(person.area or 0)
        keypoints[:, :2] += random.normal(0, moved_by, (len(keypoints), 2))
        score = round(float(random.uniform()), 3)
        values = keypoints.round(2).ravel().tolist()
        rows.append({"image_id": person.image_id, "category_id": 1, "keypoints": values, "score": score})
    return rows


def by_bare_pycocotools(annotations: Path, rows: list[dict[str, Any]]) -> dict[str, float]:
    """The ten numbers as pycocotools' own documentation computes them, from files."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        results = Path(folder) / "results.json"
        results.write_text(json.dumps(rows))
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(str(results)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return dict(zip(STATS, evaluation.stats.tolist(), strict=True))


def main() -> None:
    """Print the numbers, whether all agree, and the seconds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--annotations", type=Path, required=True, help="COCO keypoint file.")
    parser.add_argument("--poses", type=int, default=25_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    truth = read_ground_truth(options.annotations, COCO_17)
    rows = perturbed_poses(truth, options.poses, seed=0)
    check_engine("hotcoco")  # its time is no engine's
    seconds: dict[CocoBackend, list[float]] = {engine: [] for engine in get_args(CocoBackend)}
    expected = by_bare_pycocotools(options.annotations, rows)
    for _ in range(options.rounds):
        for engine, times in seconds.items():
            start = time.perf_counter()
            stats = average_precision(truth, rows, COCO_17, engine)
            times.append(time.perf_counter() - start)
            if stats != expected:
                raise SystemExit(f"{engine} gives {stats}, bare pycocotools {expected}")
    print(f"{len(truth.images)} images, {len(truth.annotations)} people, {len(rows)} poses")
    print(", ".join(f"{name} {value!r}" for name, value in expected.items()))
    print("all ten numbers are equal to the last digit: pycocotools by itself and through mspn, hotcoco")
    medians = {engine: statistics.median(times) for engine, times in seconds.items()}
    for engine, median in medians.items():
        print(f"{engine}: {median:.3f} s, median of {[round(value, 3) for value in seconds[engine]]}")
    print(f"hotcoco is {medians['pycocotools'] / medians['hotcoco']:.1f} times as fast")


if __name__ == "__main__":
    main()
