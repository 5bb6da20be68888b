import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.training.metrics import TensorBoardLog, TrainingMetrics

event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def _line(epoch: int, **changes: object) -> TrainingMetrics:
    line = TrainingMetrics(
        epoch=epoch,
        iteration=100 * epoch,
        loss=64.0,
        losses=[[32.0, 16.0], [8.0, 8.0]],
        learning_rate=0.5,
        samples_per_second=12.5,
        waiting_share=0.25,
        memory_mib=512.0,
        seconds=60.0,
    )
    return line._replace(**changes)


def _read(run: Path):
    events = event_accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return events


def _curve(run: Path, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in _read(run).Scalars(name)]


def test_each_line_is_a_point_of_every_curve(tmp_path: Path):
    log = TensorBoardLog(tmp_path, iteration=0)
    log.append(_line(1))
    log.append(_line(2, loss=32.0, validation={"AP": 0.75}))
    log.close()

    assert _curve(tmp_path, "loss/total") == [(100, 64.0), (200, 32.0)]
    assert _curve(tmp_path, "loss_stage_1/level_2") == [(100, 16.0), (200, 16.0)]
    assert _curve(tmp_path, "validation/AP") == [(200, 0.75)]
    assert sorted(_read(tmp_path).Tags()["scalars"]) == [
        "learning_rate",
        "loss/total",
        "loss_stage_1/level_1",
        "loss_stage_1/level_2",
        "loss_stage_2/level_1",
        "loss_stage_2/level_2",
        "memory_mib",
        "speed/samples_per_second",
        "speed/waiting_share",
        "validation/AP",
    ]


def test_resuming_drops_the_points_that_training_redoes(tmp_path: Path):
    log = TensorBoardLog(tmp_path, iteration=0)
    for epoch in (1, 2, 3):
        log.append(_line(epoch))
    log.close()

    resumed = TensorBoardLog(tmp_path, iteration=200)
    resumed.append(_line(3, loss=16.0))
    resumed.close()

    assert _curve(tmp_path, "loss/total") == [(100, 64.0), (200, 64.0), (300, 16.0)]


def test_the_sheet_of_crops_is_written_once(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "crops.jpg"), np.zeros((20, 30, 3), np.uint8))

    for iteration in (0, 0, 100):  # begun, begun anew, resumed
        TensorBoardLog(tmp_path, iteration).close()

    (image,) = _read(tmp_path).Images("crops")
    assert (image.height, image.width) == (20, 30)


def test_a_missing_tensorboard_is_named_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)

    with pytest.raises(
        ValueError, match=r"TensorBoard is not installed; pip install 'mspn\[log\]', or leave train.tensorboard off"
    ):
        TensorBoardLog(tmp_path, iteration=0)
