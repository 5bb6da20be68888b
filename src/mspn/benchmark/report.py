"""The result of a benchmark: JSON, and a bar chart where matplotlib is installed (the extra `plots`)."""

import json
import logging
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from mspn.benchmark.throughput import REFERENCE, EndToEndTiming, Rate, UpperBound
from mspn.errors import InvalidValueError, import_extra
from mspn.inference.devices import processor_name
from mspn.io.files import explain_failures, replacing, write_text

logger = logging.getLogger(__name__)

JSON_FILE = "bench.json"
CHART_FILE = "bench.png"
RATE_COLOR = "#2a78d6"
LIMIT_COLOR = "#d95926"
_WIDTH_INCHES = 9.0
_ROW_INCHES = 0.32


class Bar(NamedTuple):
    """One row of the chart."""

    name: str
    value: float
    """At least 0."""
    text: str
    """Label to the right of the bar."""
    color: str = RATE_COLOR


class Group(NamedTuple):
    """Bars below a heading."""

    heading: str
    bars: Sequence[Bar]


@dataclass(frozen=True)
class BenchReport:
    """All measurements of a benchmark."""

    machine: str
    torch: str
    upper_bounds: list[UpperBound]
    rates: list[Rate]
    end_to_end: list[EndToEndTiming]

    def gain_of(self, rate: Rate) -> float | None:
        """Speed relative to the reference; None if that was not measured."""
        for reference in self.rates:
            if reference.engine == REFERENCE and _case(reference) == _case(rate):
                return rate.crops_per_second / reference.crops_per_second
        return None

    def share_of(self, rate: Rate) -> float | None:
        """Share of the upper bound by the network's convolutions in this precision; None if that was not measured."""
        for bound in self.upper_bounds:
            if bound.precision == rate.precision and _case(bound) == _case(rate):
                return rate.crops_per_second / bound.convolution_crops_per_second
        return None


def make_report(upper_bounds: list[UpperBound], rates: list[Rate], end_to_end: list[EndToEndTiming]) -> BenchReport:
    """The measurements with the machine and torch version they belong to."""
    return BenchReport(f"{processor_name()}, {platform.system()}", version("torch"), upper_bounds, rates, end_to_end)


def write_report(report: BenchReport, folder: Path) -> list[Path]:
    """Write `bench.json`, and `bench.png` if matplotlib is installed; the files that were written.

    Raises:
        OSError: if they cannot be written.
    """
    written = [folder / JSON_FILE]
    write_text(written[0], json.dumps(asdict(report), indent=2) + "\n")
    if find_spec("matplotlib") is None:
        logger.warning("no %s without matplotlib; pip install 'mspn[plots]' to draw it", CHART_FILE)
        return written
    figure = draw_bar_chart(f"Crops per second on {report.machine}", group_rates(report))
    written.append(folder / CHART_FILE)
    with explain_failures(written[1]), replacing(written[1]) as temporary:
        figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
    return written


def draw_bar_chart(title: str, groups: Sequence[Group]) -> Any:
    """A matplotlib figure with horizontal bars, a subplot for each group, all on one scale.

    Raises:
        InvalidValueError: if matplotlib is not installed.
    """
    missing = InvalidValueError("bar charts need matplotlib; pip install 'mspn[plots]'")
    figure_class = import_extra("matplotlib.figure", missing).Figure
    num_rows = sum(len(group.bars) + 2 for group in groups)
    figure = figure_class(figsize=(_WIDTH_INCHES, _ROW_INCHES * (num_rows + 3)), layout="constrained")
    figure.suptitle(title)
    max_value = max((bar.value for group in groups for bar in group.bars), default=0.0) or 1.0
    if not groups:
        return figure
    all_axes = figure.subplots(
        len(groups), squeeze=False, gridspec_kw={"height_ratios": [max(len(group.bars), 1) for group in groups]}
    )[:, 0]
    for axes, group in zip(all_axes, groups, strict=True):
        rows = range(len(group.bars))
        drawn = axes.barh(rows, [bar.value for bar in group.bars], color=[bar.color for bar in group.bars])
        axes.bar_label(drawn, [bar.text for bar in group.bars], padding=4)
        axes.set_yticks(rows, [bar.name for bar in group.bars])
        axes.set_title(group.heading, loc="left", fontsize="medium")
        axes.set_xlim(0, 1.15 * max_value)  # room for the text behind the longest bar
        axes.invert_yaxis()
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.xaxis.set_visible(False)
    return figure


def group_rates(report: BenchReport) -> list[Group]:
    """For each network and batch size: crops per second of each engine, then of the convolutions alone."""
    groups = []
    for case in dict.fromkeys(_case(rate) for rate in report.rates):
        model, batch, threads = case
        bars = []
        for rate in report.rates:
            if _case(rate) == case:
                gain = report.gain_of(rate)
                text = f"{rate.crops_per_second:.1f}" + ("" if gain is None else f" ({gain:.1f}x)")
                bars.append(Bar(f"{rate.engine} {rate.precision}", rate.crops_per_second, text))
        for bound in report.upper_bounds:
            if _case(bound) == case:
                limit = bound.convolution_crops_per_second
                bars.append(Bar(f"convolutions alone {bound.precision}", limit, f"{limit:.1f}", LIMIT_COLOR))
        groups.append(Group(f"{Path(model).stem}, batch {batch}, {threads} thread{'s' * (threads > 1)}", bars))
    return groups


def _case(measurement: UpperBound | Rate) -> tuple[str, int, int]:
    return measurement.model, measurement.batch, measurement.threads
