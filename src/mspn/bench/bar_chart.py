"""Horizontal bars as a picture, drawn by OpenCV."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.files import explain_failures, replacing
from mspn.themes import Colour

PLAIN_BAR: Colour = (42, 120, 214)
LIMIT_BAR: Colour = (217, 89, 38)
_PAPER: Colour = (255, 255, 255)
_INK: Colour = (28, 30, 33)
_FAINT_INK: Colour = (90, 96, 105)
_LONGEST_BAR_PX = 520
_ROW_PX, _BAR_PX = 36, 22
_MARGIN_PX, _GAP_PX = 24, 12
_BASELINE_PX = 7
"""Below the middle of a row."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_TEXT_SCALE, _TITLE_SCALE = 0.6, 0.75
_SMALLEST = 9
"""Of the levels of PNG's compression."""


class Bar(NamedTuple):
    """A row."""

    name: str
    value: float
    """From 0."""
    text: str
    """What stands behind the bar."""
    colour: Colour = PLAIN_BAR


class Group(NamedTuple):
    """Rows below a heading."""

    heading: str
    bars: Sequence[Bar]


def draw_bar_chart(title: str, groups: Sequence[Group]) -> UInt8[np.ndarray, "H W 3"]:
    """Draw groups of bars below each other, all on one scale, in RGB."""
    bars = [bar for group in groups for bar in group.bars]
    longest = max((bar.value for bar in bars), default=0.0) or 1.0
    left = _MARGIN_PX + max((_measure(bar.name) for bar in bars), default=0) + _GAP_PX
    beyond = _GAP_PX + max((_measure(bar.text) for bar in bars), default=0)
    headings = max(_measure(text, _TITLE_SCALE) for text in (title, *(group.heading for group in groups)))
    width = _MARGIN_PX + max(left + _LONGEST_BAR_PX + beyond, _MARGIN_PX + headings)
    # A heading has a row and a half, so that it stands nearer to its own bars.
    height = 2 * _MARGIN_PX + _ROW_PX + sum(_ROW_PX * len(group.bars) + 3 * _ROW_PX // 2 for group in groups)
    canvas = np.full((height, width, 3), _PAPER, np.uint8)
    middle = _MARGIN_PX + _ROW_PX // 2
    _write(canvas, title, _MARGIN_PX, middle, _INK, _TITLE_SCALE)
    for group in groups:
        middle += 3 * _ROW_PX // 2
        _write(canvas, group.heading, _MARGIN_PX, middle, _FAINT_INK, _TITLE_SCALE)
        for bar in group.bars:
            middle += _ROW_PX
            right = left + round(_LONGEST_BAR_PX * bar.value / longest)
            _write(canvas, bar.name, left - _GAP_PX - _measure(bar.name), middle, _INK)
            canvas[middle - _BAR_PX // 2 : middle + _BAR_PX // 2, left:right] = bar.colour
            _write(canvas, bar.text, right + _GAP_PX, middle, _INK)
    return canvas


def write_png(path: Path, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write an RGB picture, whole or not at all.

    Raises:
        OSError: if there is no room for it.
    """
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, _SMALLEST])
    assert done, pixels.shape
    with explain_failures(path), replacing(path) as temporary:
        temporary.write_bytes(encoded.tobytes())


def _measure(text: str, scale: float = _TEXT_SCALE) -> int:
    """Width in pixels."""
    (width, _height), _baseline = cv2.getTextSize(_ascii(text), _FONT, scale, 1)
    return width


def _write(
    canvas: UInt8[np.ndarray, "H W 3"], text: str, left: int, middle: int, colour: Colour, scale: float = _TEXT_SCALE
) -> None:
    cv2.putText(canvas, _ascii(text), (left, middle + _BASELINE_PX), _FONT, scale, colour, 1, cv2.LINE_AA)


def _ascii(text: str) -> str:
    """The font has no other letters."""
    return text.encode("ascii", "replace").decode()
