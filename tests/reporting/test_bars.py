import re
from xml.etree import ElementTree

from mspn.reporting import Bar, draw_bars

# Bars begin at x = 120 and are 340 long at most.


def _rectangles(svg: str) -> list[tuple[str, str, str]]:
    return re.findall(r'<rect class="mark (line-\d)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg)


def test_the_longest_bar_takes_the_whole_width():
    svg = draw_bars("gains", [Bar("jitter", [0.1], "+0.100"), Bar("miss", [0.4], "+0.400")])

    assert _rectangles(svg) == [("line-0", "120.0", "85.0"), ("line-0", "120.0", "340.0")]


def test_parts_stand_one_after_another_on_a_scale_that_can_be_given():
    svg = draw_bars("errors", [Bar("nose", [0.25, 0.0, 0.5], "75 %")], full=1.0, parts=("jitter", "swap", "miss"))

    assert _rectangles(svg) == [("line-0", "120.0", "85.0"), ("line-2", "205.0", "170.0")]
    assert "<title>nose, miss: 0.500</title>" in svg


def test_negative_values_and_nothing_at_all_have_no_length():
    assert _rectangles(draw_bars("gains", [Bar("order", [-0.1], "-0.100"), Bar("swap", [0.0], "0")])) == []
    assert _rectangles(draw_bars("gains", [])) == []


def test_names_cannot_break_the_drawing():
    svg = draw_bars('a "title" <&>', [Bar("<script>&", [1.0], "<b>")])

    ElementTree.fromstring(svg)
    assert "<script>" not in svg
