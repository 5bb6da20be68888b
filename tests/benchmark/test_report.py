import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from mspn.benchmark.report import LIMIT_COLOR, Bar, BenchReport, Group, group_rates, make_report, write_report
from mspn.benchmark.throughput import Rate, UpperBound

_CEILING = UpperBound("net", "bfloat16", 16, 1, 10.0, 200.0, 20.0, 25.0)
_REFERENCE = Rate("net", "reference", "float32", 1, 16, 4.0, 0.0, 0.5, 100.0)
_FAST = Rate("net", "torch", "bfloat16", 1, 16, 20.0, 0.01, 0.5, None)


def _report() -> BenchReport:
    return make_report([_CEILING], [_REFERENCE, _FAST], [])


def test_gain_is_over_the_reference_and_share_is_of_the_convolutions_alone():
    assert _report().gain_of(_FAST) == pytest.approx(20 / 4)
    assert _report().share_of(_FAST) == pytest.approx(20 / 25)


def test_without_a_reference_or_limit_there_is_no_gain_or_share():
    report = make_report([], [_FAST], [])

    assert report.gain_of(_FAST) is None
    assert report.share_of(_FAST) is None


def test_the_report_is_written_as_json_and_png(tmp_path: Path):
    write_report(_report(), tmp_path)

    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["rates"][1]["crops_per_second"] == 20.0
    assert written["upper_bounds"][0]["convolution_crops_per_second"] == 25.0
    assert cv2.imread(str(tmp_path / "bench.png")) is not None


def test_the_chart_has_every_engine_and_limit_of_a_batch_below_each_other():
    small = replace(_FAST, model="runs/net.safetensors", batch=1, threads=2, crops_per_second=2.0)

    groups = group_rates(make_report([_CEILING], [_REFERENCE, _FAST, small], []))

    assert groups == [
        Group(
            "net, batch 16, 1 thread",
            [
                Bar("reference float32", 4.0, "4.0 (1.0x)"),
                Bar("torch bfloat16", 20.0, "20.0 (5.0x)"),
                Bar("convolutions alone bfloat16", 25.0, "25.0", LIMIT_COLOR),
            ],
        ),
        Group("net, batch 1, 2 threads", [Bar("torch bfloat16", 2.0, "2.0")]),
    ]
