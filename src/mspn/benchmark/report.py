"""The result of a benchmark: JSON and a bar chart."""

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8

from mspn.benchmark.end_to_end import EndToEndTiming
from mspn.benchmark.throughput import REFERENCE, Rate
from mspn.benchmark.upper_bound import UpperBound
from mspn.inference.devices import processor_name
from mspn.io.files import explain_failures, replacing, write_text
from mspn.visualize.themes import Color

PLAIN_BAR: Color = (42, 120, 214)
LIMIT_BAR: Color = (217, 89, 38)
_PAPER: Color = (255, 255, 255)
_INK: Color = (28, 30, 33)
_FAINT_INK: Color = (90, 96, 105)
_MAX_BAR_PX = 520
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
    color: Color = PLAIN_BAR


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
    width = _MARGIN_PX + max(left + _MAX_BAR_PX + beyond, _MARGIN_PX + headings)
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
            right = left + round(_MAX_BAR_PX * bar.value / longest)
            _write(canvas, bar.name, left - _GAP_PX - _measure(bar.name), middle, _INK)
            canvas[middle - _BAR_PX // 2 : middle + _BAR_PX // 2, left:right] = bar.color
            _write(canvas, bar.text, right + _GAP_PX, middle, _INK)
    return canvas


def write_png(path: Path, pixels: UInt8[np.ndarray, "H W 3"]) -> None:
    """Write an RGB image, whole or not at all.

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
    canvas: UInt8[np.ndarray, "H W 3"], text: str, left: int, middle: int, color: Color, scale: float = _TEXT_SCALE
) -> None:
    cv2.putText(canvas, _ascii(text), (left, middle + _BASELINE_PX), _FONT, scale, color, 1, cv2.LINE_AA)


def _ascii(text: str) -> str:
    """The font has no other letters."""
    return text.encode("ascii", "replace").decode()


JSON_FILE = "bench.json"
CHART_FILE = "bench.png"


@dataclass(frozen=True)
class BenchReport:
    """Everything that was measured."""

    machine: str
    torch: str
    ceilings: list[UpperBound]
    rates: list[Rate]
    journeys: list[EndToEndTiming]

    def gain_of(self, rate: Rate) -> float | None:
        """How many times as fast as the reference, if that was measured."""
        for one in self.rates:
            if one.engine == REFERENCE and _case(one) == _case(rate):
                return rate.crops_per_second / one.crops_per_second
        return None

    def share_of(self, rate: Rate) -> float | None:
        """Of what the network's convolutions alone would take in this precision, if that was measured."""
        for one in self.ceilings:
            if one.precision == rate.precision and _case(one) == _case(rate):
                return rate.crops_per_second / one.convolution_crops_per_second
        return None


def make_report(ceilings: list[UpperBound], rates: list[Rate], journeys: list[EndToEndTiming]) -> BenchReport:
    """Put together what was measured on this machine."""
    return BenchReport(f"{processor_name()}, {platform.system()}", version("torch"), ceilings, rates, journeys)


def write_report(report: BenchReport, folder: Path) -> None:
    """Write `bench.json` and `bench.png`."""
    write_text(folder / JSON_FILE, json.dumps(asdict(report), indent=2) + "\n")
    write_png(folder / CHART_FILE, draw_bar_chart(f"Crops a second on {report.machine}", group_rates(report)))


def group_rates(report: BenchReport) -> list[Group]:
    """Crops a second of each way to run a network, above those of its convolutions alone, for each batch."""
    groups = []
    for case in dict.fromkeys(_case(rate) for rate in report.rates):
        model, batch, threads = case
        bars = []
        for rate in report.rates:
            if _case(rate) == case:
                gain = report.gain_of(rate)
                text = f"{rate.crops_per_second:.1f}" + ("" if gain is None else f" ({gain:.1f}x)")
                bars.append(Bar(f"{rate.engine} {rate.precision}", rate.crops_per_second, text))
        for ceiling in report.ceilings:
            if _case(ceiling) == case:
                limit = ceiling.convolution_crops_per_second
                bars.append(Bar(f"convolutions alone {ceiling.precision}", limit, f"{limit:.1f}", LIMIT_BAR))
        groups.append(Group(f"{Path(model).stem}, batch {batch}, {threads} thread{'s' * (threads > 1)}", bars))
    return groups


def _case(measured: UpperBound | Rate) -> tuple[str, int, int]:
    return measured.model, measured.batch, measured.threads
