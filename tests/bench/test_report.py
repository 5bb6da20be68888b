import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mspn.bench.ceiling import Ceiling
from mspn.bench.rates import Rate
from mspn.bench.report import BenchReport, draw_rates, make_report, write_report

_CEILING = Ceiling("net", "bfloat16", 16, 1, 10.0, 200.0, 20.0, 25.0)
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


def test_the_report_is_written_as_json_and_svg(tmp_path: Path):
    write_report(_report(), tmp_path)

    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["rates"][1]["crops_per_second"] == 20.0
    assert written["ceilings"][0]["convolution_crops_per_second"] == 25.0
    assert ElementTree.parse(tmp_path / "bench.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_chart_names_every_engine_and_limit():
    texts = [element.text for element in ElementTree.fromstring(draw_rates(_report())).iter() if element.text]

    assert {"net, batch 16", "reference", "4.0 float32", "torch", "20.0 bfloat16", "convolutions alone"} <= set(texts)
