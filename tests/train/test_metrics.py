from pathlib import Path

from mspn.train.metrics import EpochMetrics, MetricsLog, read_metrics


def epoch(number: int) -> EpochMetrics:
    return EpochMetrics(
        epoch=number,
        iteration=100 * number,
        loss=900.5,
        losses=[[600.0, 200.25], [80.25, 20.0]],
        learning_rate=1e-3,
        people_per_second=12.5,
        waiting_share=0.125,
        memory_mib=512.0,
        seconds=60.0 * number,
    )


def test_a_line_is_appended_for_people_and_for_programs(tmp_path: Path):
    log = MetricsLog(tmp_path, iteration=0)

    log.append(epoch(1))
    log.append(epoch(2))

    assert read_metrics(tmp_path) == [epoch(1), epoch(2)]
    header = "epoch,iteration,loss,losses,learning_rate,people_per_second,waiting_share,memory_mib,seconds,validation"
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        header,
        '1,100,900.5,"[[600.0, 200.25], [80.25, 20.0]]",0.001,12.5,0.125,512.0,60.0,',
        '2,200,900.5,"[[600.0, 200.25], [80.25, 20.0]]",0.001,12.5,0.125,512.0,120.0,',
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
