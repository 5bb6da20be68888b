import math
import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from mspn.reporting import Chart, Series, draw_chart, format_number

# The plot spans x from 60 to 540 and y from 210 (bottom) to 10 (top).


def _draw(values: Sequence[float | None], x: Sequence[float] = (100, 200), **changes: Any) -> str:
    chart = Chart("loss", x, "iteration", [f"epoch {number}" for number in x], [Series("total", values)])
    return draw_chart(chart._replace(**changes))


def _polylines(svg: str) -> list[str]:
    return re.findall(r'<polyline class="line line-\d" points="([^"]*)"/>', svg)


def _ticks(svg: str) -> list[str]:
    return re.findall(r'text-anchor="end">([^<]*)</text>', svg)[:-1]  # the last one names the x axis


def test_a_linear_axis_goes_from_zero_to_the_round_number_above_the_highest_value():
    svg = _draw([0.0, 43.0])

    assert _ticks(svg) == ["0", "10", "20", "30", "40", "50"]
    # x: half-way and all the way; y: 210 - 200 * 43 / 50 = 38.
    assert _polylines(svg) == ["300.0,210.0 540.0,38.0"]


def test_a_linear_axis_begins_at_the_round_number_below_its_lower_limit():
    svg = _draw([0.68, 0.76], limits=(0.68, 0.76))

    assert _ticks(svg) == ["0.68", "0.7", "0.72", "0.74", "0.76"]
    assert _polylines(svg) == ["300.0,210.0 540.0,10.0"]


def test_a_logarithmic_axis_gives_each_decade_the_same_room():
    svg = _draw([10.0, 100.0, 1000.0], x=(100, 200, 400), scale="log")

    assert _ticks(svg) == ["10", "20", "50", "100", "200", "500", "1000"]
    assert _polylines(svg) == ["180.0,210.0 300.0,110.0 540.0,10.0"]


def test_many_decades_are_marked_by_powers_of_ten_alone():
    assert _ticks(_draw([0.5, 20_000.0], scale="log")) == ["0.1", "1", "10", "100", "1000", "10k", "100k"]


def test_what_cannot_be_drawn_is_left_out():
    svg = _draw([None, math.nan, 0.0, -1.0, 20.0, 40.0], x=range(100, 700, 100), scale="log")

    # 20 to 50, of which 40 is at log(2) / log(2.5) = 0.756.
    assert _polylines(svg) == ["460.0,210.0 540.0,58.7"]


def test_without_any_value_there_are_axes_and_an_empty_line():
    for scale in ("linear", "log"):
        svg = _draw([None, None], scale=scale)

        assert _ticks(svg) == ["0", "1"]
        assert _polylines(svg) == [""]


def test_limits_make_room_for_more_than_the_values():
    svg = _draw([0.0, 5.0], limits=(0.0, 100.0))

    assert _ticks(svg)[-1] == "100"
    assert _polylines(svg) == ["300.0,210.0 540.0,200.0"]


def test_hovering_over_a_column_shows_all_its_values():
    svg = _draw([0.0, 43.0], series=[Series("AP", [None, 0.25]), Series("AP50", [0.5, 0.75])])

    assert re.findall(r"<title>([^<]*)</title>", svg) == ["epoch 100\nAP50: 0.5", "epoch 200\nAP: 0.25\nAP50: 0.75"]
    # The columns meet half-way between the points: at (300 + 540) / 2.
    assert re.findall(r'class="band" x="([\d.]+)" y="10" width="([\d.]+)"', svg) == [
        ("60.0", "360.0"),
        ("420.0", "120.0"),
    ]


def test_points_are_marked_while_they_are_few():
    few, many = (list(range(1, number + 1)) for number in (40, 41))

    assert _draw(few, x=few).count("<circle") == 40
    assert _draw(many, x=many).count("<circle") == 1


def test_names_cannot_break_out_of_the_drawing():
    hostile = '"><script>&'
    svg = _draw([1.0, 2.0], title=hostile, x_label=hostile, point_names=[hostile] * 2, series=[Series(hostile, [1, 2])])

    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == hostile
    assert not [element for element in root.iter() if "script" in element.tag]


def test_numbers_are_short():
    numbers = [0, 0.0005, 0.000125, 0.71268, 12.5, 1234.6, 14_000, 96_000, 2_500_000]

    assert list(map(format_number, numbers)) == ["0", "5e-4", "1.25e-4", "0.7127", "12.5", "1235", "14k", "96k", "2.5M"]


def test_a_line_goes_on_over_missing_values_or_ends_before_them():
    chart = Chart("angle", [0, 1, 2, 3], "seconds", ["0", "1", "2", "3"], [Series("left", [1.0, 2.0, None, 3.0])])

    assert draw_chart(chart).count("<polyline") == 1
    assert draw_chart(chart._replace(gaps="open")).count("<polyline") == 2
    assert draw_chart(chart._replace(series=[Series("left", [None] * 4)], gaps="open")).count("<polyline") == 0
