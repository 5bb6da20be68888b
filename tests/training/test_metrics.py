import json
import time
from pathlib import Path

import pytest
import torch

from mspn.errors import InvalidValueError
from mspn.training.metrics import Meter, MetricsLog, TrainingMetrics, peak_memory_mib, read_metrics


def epoch(number: int, validation: dict[str, float] | None = None) -> TrainingMetrics:
    return TrainingMetrics(
        epoch=number,
        iteration=100 * number,
        loss=10.0,
        losses=[[1.0, 2.0], [3.0, 4.0]],
        learning_rate=1e-3,
        samples_per_second=12.5,
        waiting_share=0.125,
        memory_mib=512.0,
        seconds=60.0 * number,
        validation=validation,
    )


def test_a_line_is_appended_for_people_and_for_programs(tmp_path: Path):
    log = MetricsLog(tmp_path, iteration=0)

    log.append(epoch(1))
    log.append(epoch(2, {"AP": 0.5, "AP50": 0.75}))

    assert read_metrics(tmp_path) == [epoch(1), epoch(2, {"AP": 0.5, "AP50": 0.75})]
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "epoch,iteration,loss,learning_rate,samples_per_second,waiting_share,memory_mib,seconds,"
        "loss_stage1_level1,loss_stage1_level2,loss_stage2_level1,loss_stage2_level2,validation_ap",
        "1,100,10.0,0.001,12.5,0.125,512.0,60.0,1.0,2.0,3.0,4.0,",
        "2,200,10.0,0.001,12.5,0.125,512.0,120.0,1.0,2.0,3.0,4.0,0.5",
    ]


def test_resuming_drops_the_lines_that_training_redoes(tmp_path: Path):
    log = MetricsLog(tmp_path, iteration=0)
    for number in (1, 2, 3):
        log.append(epoch(number))

    resumed = MetricsLog(tmp_path, iteration=200)
    resumed.append(epoch(3))

    assert read_metrics(tmp_path) == [epoch(1), epoch(2), epoch(3)]
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 4


def test_starting_anew_empties_the_log(tmp_path: Path):
    MetricsLog(tmp_path, iteration=0).append(epoch(1))

    MetricsLog(tmp_path, iteration=0)

    assert read_metrics(tmp_path) == []


def test_a_folder_without_a_log_has_no_lines(tmp_path: Path):
    assert read_metrics(tmp_path) == []


def test_a_line_that_a_crash_cut_short_does_not_count(tmp_path: Path):
    MetricsLog(tmp_path, iteration=0).append(epoch(1))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "iter')

    MetricsLog(tmp_path, iteration=200)

    assert read_metrics(tmp_path) == [epoch(1)]


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (b"\xff", "Invalid JSON"),
        (b"[1, 2]", "Field required"),
        (b'{"epoch": 2}', "iteration: Field required"),
        (json.dumps(epoch(2)._replace(losses=[[1.0]])._asdict()).encode(), "losses of other stages than the first"),
        (json.dumps(epoch(2)._replace(seconds=1e999)._asdict()).encode(), "seconds: Input should be a finite number"),
    ],
)
def test_a_damaged_line_is_named(damage: bytes, problem: str, tmp_path: Path):
    MetricsLog(tmp_path, iteration=0).append(epoch(1))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(damage + b"\n")

    with pytest.raises(InvalidValueError, match=rf"metrics\.jsonl:2 .*{problem}"):
        read_metrics(tmp_path)


def test_a_restored_meter_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    meter = Meter(batch_size=16)
    now[0] = 3.0
    meter.data_arrived()
    now[0] = 4.0
    meter.step_done(torch.tensor([[1.0, 2.0]]))
    state = meter.state()

    now[0] = 1000.0
    resumed = Meter(batch_size=16)
    resumed.restore(state)
    now[0] = 1002.0
    resumed.data_arrived()
    now[0] = 1004.0
    resumed.step_done(torch.tensor([[3.0, 4.0]]))

    # Two steps in 4 s before and 4 s after; waited 3 s before and 2 s after.
    assert resumed.losses == [[2.0, 3.0]]
    assert resumed.samples_per_second == 2 * 16 / 8
    assert resumed.waiting_share == 5 / 8


def test_a_meter_averages_losses_and_measures_speed_and_waiting(monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 3.0, 4.0, 7.0, 8.0, 8.0, 8.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    meter = Meter(batch_size=16)  # at 0

    for loss in (1.0, 3.0):  # data at 3 and 7, steps done at 4 and 8
        meter.data_arrived()
        meter.step_done(torch.tensor([[loss, 10.0]]))

    assert meter.losses == [[2.0, 10.0]]
    assert meter.loss == 12.0
    assert meter.samples_per_second == 2 * 16 / 8
    assert meter.waiting_share == 6 / 8


def test_iterations_faster_than_the_ticks_of_a_coarse_clock_are_measured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)  # on Windows it ticks 64 times a second
    meter = Meter(batch_size=16)

    meter.data_arrived()
    meter.step_done(torch.tensor([[1.0]]))

    assert meter.samples_per_second > 0
    assert 0 <= meter.waiting_share <= 1


def test_peak_memory_is_what_this_process_has_held():
    before = peak_memory_mib(torch.device("cpu"))
    held = torch.ones(40 * 2**18)  # 40 MiB

    assert held.sum() == 40 * 2**18
    assert 50 < before <= peak_memory_mib(torch.device("cpu")) < 100_000
