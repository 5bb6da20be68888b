import logging
import time
from pathlib import Path

import pytest
import torch

from mspn.config.train import TrainConfig
from mspn.training.metrics import IterationReport, MetricsLog, TrainingLogger, read_metrics

CPU = torch.device("cpu")
CONFIG = TrainConfig(iterations=100, batch_size=10)


def test_every_iteration_is_reported_with_its_own_losses():
    reports: list[IterationReport] = []
    training_logger = TrainingLogger(CONFIG, CPU, [], reports.append)

    for iteration, loss in enumerate((1.0, 3.0), start=1):
        training_logger.data_arrived()
        training_logger.step_done(iteration, torch.tensor([[loss, 2.0]]), 1e-3)

    assert [report.iteration for report in reports] == [1, 2]
    assert [report.losses for report in reports] == [[[1.0, 2.0]], [[3.0, 2.0]]]
    assert reports[1].learning_rate == 1e-3
    assert reports[1].samples_per_second > 0
    assert reports[1].average_precision is None


def test_a_row_has_the_means_since_the_row_before(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    reports: list[IterationReport] = []
    training_logger = TrainingLogger(CONFIG, CPU, [MetricsLog(tmp_path, 0)], reports.append)

    with caplog.at_level(logging.INFO):
        training_logger.step_done(1, torch.tensor([[1.0]]), 1e-3)
        training_logger.step_done(2, torch.tensor([[3.0]]), 1e-3)
        row = training_logger.row(1, 2, 1e-3, seconds=5.0)
        training_logger.write(row._replace(validation={"AP": 0.5}))
        training_logger.step_done(3, torch.tensor([[7.0]]), 1e-3)
        training_logger.write(training_logger.row(2, 3, 1e-3, seconds=6.0))

    assert [(row.epoch, row.loss, row.seconds) for row in read_metrics(tmp_path)] == [(1, 2.0, 5.0), (2, 7.0, 6.0)]
    assert caplog.messages == ["iteration 2: AP 0.500 on the validation set"]
    assert reports[-1].average_precision == 0.5


def test_reported_speed_is_of_the_last_ten_seconds(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    reports: list[IterationReport] = []
    training_logger = TrainingLogger(CONFIG, CPU, [], reports.append)

    for iteration, seconds in enumerate((4.0, 12.0, 13.0), start=1):  # ten people a batch
        now[0] = seconds
        training_logger.step_done(iteration, torch.tensor([[1.0]]), 1e-3)

    assert [report.samples_per_second for report in reports] == [10 / 4, 20 / 12, 10 / 1]
