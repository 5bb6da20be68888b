from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.benchmark.report import LIMIT_BAR, PLAIN_BAR, Bar, Group, draw_bar_chart, write_png
from mspn.visualize.themes import Color
from tests.full_disk import full_disk


def _lengths(canvas: np.ndarray, color: Color) -> list[int]:
    """Of the bars of a color, from top to bottom."""
    lengths = (canvas == color).all(2).sum(1)
    return [int(length) for above, length in zip([0, *lengths], lengths, strict=False) if length and not above]


def _edges(is_drawn: np.ndarray) -> tuple[int, int]:
    """First and last column with anything."""
    columns = np.flatnonzero(is_drawn.any(0))
    return int(columns[0]), int(columns[-1])


def test_bars_are_as_long_as_their_values_on_one_scale():
    groups = [
        Group("one", [Bar("half", 10.0, "10"), Bar("limit", 20.0, "20", LIMIT_BAR)]),
        Group("two", [Bar("quarter", 5.0, "5"), Bar("nothing", 0.0, "0")]),
    ]

    canvas = draw_bar_chart("title", groups)

    # The longest, of 20, has 520 pixels.
    assert _lengths(canvas, LIMIT_BAR) == [520]
    assert _lengths(canvas, PLAIN_BAR) == [260, 130]


def test_bars_begin_in_one_column_behind_the_longest_name():
    short = draw_bar_chart("title", [Group("one", [Bar("a", 1.0, "1"), Bar("b", 2.0, "2")])])
    long = draw_bar_chart("title", [Group("one", [Bar("a", 1.0, "1"), Bar("b" * 40, 2.0, "2")])])

    for canvas in (short, long):
        rows = np.flatnonzero((canvas == PLAIN_BAR).all(2).any(1))
        starts = {int(np.flatnonzero((canvas[row] == PLAIN_BAR).all(1))[0]) for row in rows}
        assert len(starts) == 1
    # Paper is white; names, headings and the title begin at the same margin of 24 pixels, whatever their length.
    assert 24 <= _edges((long < 128).any(2))[0] <= 30
    assert long.shape[1] > short.shape[1]


@pytest.mark.parametrize("place", ["title", "heading", "name", "text"])
def test_no_text_is_cut_off(place: str):
    texts = dict.fromkeys(("title", "heading", "name", "text"), "x") | {place: "W" * 120}

    bar = Bar(texts["name"], 1.0, texts["text"])
    canvas = draw_bar_chart(texts["title"], [Group(texts["heading"], [bar])])

    first, last = _edges((canvas < 128).any(2))
    assert first >= 12
    assert last < canvas.shape[1] - 12


def test_without_a_bar_there_is_a_title():
    canvas = draw_bar_chart("title", [])

    assert (canvas < 128).any()


def test_letters_that_the_font_has_not_are_question_marks():
    drawn, expected = (draw_bar_chart("title", [Group(name, [])]) for name in ("größer", "gr??er"))

    np.testing.assert_array_equal(drawn, expected)


def test_a_png_has_the_pixels_in_rgb(tmp_path: Path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 1] = (250, 120, 10)

    write_png(tmp_path / "a.png", pixels)

    written = cv2.imread(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(written[..., ::-1], pixels)


def test_a_full_disk_is_explained(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)

    with full_disk(1000), pytest.raises(OSError, match=r"could not write .*a.png \(.*\); is there room on the disk"):
        write_png(tmp_path / "a.png", pixels)
