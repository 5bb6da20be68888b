import logging
import time
from pathlib import Path

import pytest
import torch

from mspn.config.train import TrainConfig
from mspn.training.metrics import MetricsLog, read_metrics
from mspn.training.progress import IterationReport, TrainingLogger

CPU = torch.device("cpu")
CONFIG = TrainConfig(iterations=100, batch_size=10)


def test_every_iteration_is_reported_with_its_own_losses():
    reports: list[IterationReport] = []
    narrator = TrainingLogger(CONFIG, CPU, [], reports.append)

    for iteration, loss in enumerate((1.0, 3.0), start=1):
        narrator.data_arrived()
        narrator.step_done(iteration, torch.tensor([[loss, 2.0]]), 1e-3)

    assert [report.iteration for report in reports] == [1, 2]
    assert [report.losses for report in reports] == [[[1.0, 2.0]], [[3.0, 2.0]]]
    assert reports[1].learning_rate == 1e-3
    assert reports[1].samples_per_second > 0
    assert reports[1].average_precision is None


def test_an_epoch_is_told_kept_and_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    reports: list[IterationReport] = []
    narrator = TrainingLogger(CONFIG, CPU, [MetricsLog(tmp_path, 0)], reports.append)

    with caplog.at_level(logging.INFO):
        narrator.step_done(1, torch.tensor([[1.0]]), 1e-3)
        narrator.step_done(2, torch.tensor([[3.0]]), 1e-3)
        line = narrator.epoch_done(1, 2, 1e-3, seconds=5.0)
        narrator.write(line._replace(validation={"AP": 0.5}))
        narrator.step_done(3, torch.tensor([[7.0]]), 1e-3)
        narrator.write(narrator.epoch_done(2, 3, 1e-3, seconds=6.0))

    assert [(line.epoch, line.loss, line.seconds) for line in read_metrics(tmp_path)] == [(1, 2.0, 5.0), (2, 7.0, 6.0)]
    assert "epoch 1: loss 2.0, " in caplog.text
    assert "epoch 1: AP 0.500 on the validation set" in caplog.text
    assert reports[-1].average_precision == 0.5


def test_a_long_epoch_is_told_of_once_a_minute(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    narrator = TrainingLogger(CONFIG, CPU, [], lambda report: None)

    with caplog.at_level(logging.INFO):
        for iteration in range(1, 6):
            now[0] = 25.0 * iteration  # ten people in 25 seconds
            narrator.step_done(iteration, torch.tensor([[1.0]]), 1e-3)

    # At 75 s the first time; 97 iterations are left then, at 0.4 people a second.
    assert [record.getMessage() for record in caplog.records] == [
        "iteration 3: loss 1.0, 0 samples/s, 0 % waiting for data, about 40 min left"
    ]
