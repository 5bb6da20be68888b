import builtins
import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mspn.errors import EngineError
from mspn.evaluation import average_precision as engines
from mspn.evaluation.average_precision import (
    STATS,
    CocoBackend,
    average_precision,
    check_engine,
    compute_stats,
    read_ground_truth,
)
from mspn.structures.skeleton import COCO_17
from tests.coco_files import person, write_annotations


@pytest.fixture(autouse=True)
def _unchecked() -> Iterator[None]:
    """Each test sees the check run anew, and leaves nothing of it."""
    check_engine.cache_clear()
    yield
    check_engine.cache_clear()


@pytest.fixture(params=["pycocotools", "hotcoco"])
def engine(request: pytest.FixtureRequest) -> CocoBackend:
    engine: CocoBackend = request.param
    pytest.importorskip(engine)
    return engine


def _square(side: float, left: float = 100, top: float = 100) -> dict[str, list[float]]:
    """Labeled keypoints: shoulders and hips in the corners of a square."""
    names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    corners = ((0, 0), (side, 0), (0, side), (side, side))
    return {name: [left + x, top + y, 2] for name, (x, y) in zip(names, corners, strict=True)}


def _set_with_a_crowd(folder: Path) -> Path:
    """Image 1: somebody large, and a crowd beside; image 2: somebody medium, and somebody without keypoints."""
    people = [
        person(1, 1, _square(100), bbox=[90, 90, 120, 120], area=14400.0),
        person(2, 1, {}, bbox=[300, 90, 200, 120], area=24000.0, iscrowd=1),
        person(3, 2, _square(50), bbox=[90, 90, 70, 70], area=4900.0),
        person(4, 2, {}, bbox=[300, 90, 70, 70], area=4900.0),
    ]
    return write_annotations(folder / "crowd.json", people, {1: "1.jpg", 2: "2.jpg"})


def _result(image_id: int, score: float, labeled: dict[str, list[float]]) -> dict[str, Any]:
    keypoints = person(0, image_id, labeled)["keypoints"]
    return {"image_id": image_id, "category_id": 1, "keypoints": keypoints, "score": score}


def test_crowds_and_people_without_keypoints_cost_nothing_with_either_engine(tmp_path: Path, engine: CocoBackend):
    ground_truth = read_ground_truth(_set_with_a_crowd(tmp_path), COCO_17)
    inside_crowd = {name: [350.0, 150.0, 2.0] for name in COCO_17.keypoints}
    rows = [
        _result(1, 0.5, _square(100)),
        # Two in the crowd and one on the person without keypoints, all with the best score: nobody counts them.
        *(_result(1, 0.9, inside_crowd) for _ in range(2)),
        _result(2, 0.9, {name: [330.0, 120.0, 2.0] for name in COCO_17.keypoints}),
    ]

    stats = average_precision(ground_truth, rows, COCO_17, engine)

    # One of two people is found, in the first place: precision 1 up to a recall of a half, 51 of 101 recall points.
    assert stats["AP"] == pytest.approx(51 / 101)
    assert (stats["AR"], stats["ARM"], stats["ARL"]) == (0.5, 0.0, 1.0)


def test_only_the_20_best_of_an_image_count_with_either_engine(tmp_path: Path, engine: CocoBackend):
    ground_truth = read_ground_truth(_set_with_a_crowd(tmp_path), COCO_17)
    elsewhere = {name: [5000.0, 5000.0, 2.0] for name in COCO_17.keypoints}
    better = [_result(1, 0.9, elsewhere) for _ in range(19)]
    right = _result(1, 0.5, _square(100))

    assert average_precision(ground_truth, [*better, right], COCO_17, engine)["AR"] == 0.5
    assert average_precision(ground_truth, [*better, better[0], right], COCO_17, engine)["AR"] == 0.0


def test_both_engines_and_bare_pycocotools_give_the_same_ten_numbers(tmp_path: Path, engine: CocoBackend):
    annotations = _set_with_a_crowd(tmp_path)
    random = np.random.default_rng(3)
    rows = []
    for _ in range(60):
        image_id = int(random.integers(1, 3))
        points = np.array(list(_square(100 if image_id == 1 else 50).values()), np.float64)
        points[:, :2] += random.normal(0, 8, (4, 2))
        labeled = dict(zip(_square(1), points.tolist(), strict=True))
        rows.append(_result(image_id, round(float(random.uniform()), 1), labeled))
    with contextlib.redirect_stdout(io.StringIO()):
        bare = COCO(str(annotations))
        evaluation = COCOeval(bare, bare.loadRes(json.loads(json.dumps(rows))), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()

    stats = average_precision(read_ground_truth(annotations, COCO_17), rows, COCO_17, engine)

    assert stats == dict(zip(STATS, evaluation.stats, strict=True))
    assert 0 < stats["AP"] < 1


def test_nothing_found_scores_zero_with_either_engine(tmp_path: Path, engine: CocoBackend):
    stats = average_precision(read_ground_truth(_set_with_a_crowd(tmp_path), COCO_17), [], COCO_17, engine)

    assert stats == dict.fromkeys(STATS, 0.0)


def test_hotcoco_that_differs_on_the_small_case_is_not_believed(monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("hotcoco")
    real = engines._by_hotcoco

    def off_by_a_little(*arguments: Any) -> list[float]:
        return [value + 1e-12 for value in real(*arguments)]

    monkeypatch.setattr(engines, "_by_hotcoco", off_by_a_little)

    with pytest.raises(EngineError, match=r"hotcoco .* differs from pycocotools .* use --engine pycocotools"):
        compute_stats("hotcoco", {}, [], "keypoints")


def test_without_hotcoco_its_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    real_import = builtins.__import__

    def no_hotcoco(name: str, *arguments: Any, **options: Any) -> ModuleType:
        if name == "hotcoco":
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    monkeypatch.setattr("builtins.__import__", no_hotcoco)

    with pytest.raises(EngineError, match=r"pip install 'mspn\[fast-eval\]', or use --engine pycocotools"):
        compute_stats("hotcoco", {}, [], "keypoints")
