from pathlib import Path

import pytest

from mspn.benchmark import report as report_module
from mspn.benchmark.report import LIMIT_COLOR, RATE_COLOR, Bar, Group, draw_bar_chart, make_report, write_report
from mspn.benchmark.throughput import Rate
from tests.full_disk import full_disk

pytest.importorskip("matplotlib")
_RATE = Rate("net", "torch", "bfloat16", 1, 16, 20.0, 0.01, 0.5, None)


def test_bars_are_as_long_as_their_values_on_one_scale_from_top_to_bottom():
    groups = [
        Group("one", [Bar("half", 10.0, "10"), Bar("limit", 20.0, "20 (2x)", LIMIT_COLOR)]),
        Group("two", [Bar("quarter", 5.0, "5"), Bar("nothing", 0.0, "0")]),
    ]

    first, second = draw_bar_chart("title", groups).axes

    assert [bar.get_width() for bar in [*first.patches, *second.patches]] == [10, 20, 5, 0]
    assert first.get_xlim() == second.get_xlim() == (0, pytest.approx(1.15 * 20))
    assert first.yaxis_inverted()
    assert [label.get_text() for label in first.get_yticklabels()] == ["half", "limit"]
    assert [text.get_text() for text in first.texts] == ["10", "20 (2x)"]
    assert first.get_title(loc="left") == "one"


def test_rates_and_limits_have_their_colors():
    (axes,) = draw_bar_chart("title", [Group("", [Bar("a", 1.0, ""), Bar("b", 1.0, "", LIMIT_COLOR)])]).axes

    # 0x2a, 0x78, 0xd6 and 0xd9, 0x59, 0x26 as shares of 255.
    assert (RATE_COLOR, LIMIT_COLOR) == ("#2a78d6", "#d95926")
    expected = [(42 / 255, 120 / 255, 214 / 255, 1), (217 / 255, 89 / 255, 38 / 255, 1)]
    assert [bar.get_facecolor() for bar in axes.patches] == [pytest.approx(color) for color in expected]


def test_without_a_bar_there_is_a_title():
    figure = draw_bar_chart("title", [])

    assert figure.get_suptitle() == "title"
    assert not figure.axes


def test_without_matplotlib_the_numbers_are_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(report_module, "find_spec", lambda _name: None)

    written = write_report(make_report([], [_RATE], []), tmp_path)

    assert written == [tmp_path / "bench.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["bench.json"]
    assert "pip install 'mspn[plots]'" in caplog.text


def test_a_full_disk_is_explained(tmp_path: Path):
    with (
        full_disk(2000),
        pytest.raises(OSError, match=r"could not write .*bench.png \(.*\); is there room on the disk"),
    ):
        write_report(make_report([], [_RATE], []), tmp_path)
