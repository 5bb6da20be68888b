"""What a benchmark found: a JSON file, a chart."""

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from mspn.bars import Bar, draw_bars
from mspn.bench.ceiling import Ceiling
from mspn.bench.journey import Journey
from mspn.bench.rates import REFERENCE, Rate
from mspn.devices import processor_name
from mspn.files import write_text
from mspn.page import render_stand_alone

JSON_FILE = "bench.json"
CHART_FILE = "bench.svg"


@dataclass(frozen=True)
class BenchReport:
    """Everything that was measured."""

    machine: str
    torch: str
    ceilings: list[Ceiling]
    rates: list[Rate]
    journeys: list[Journey]

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


def make_report(ceilings: list[Ceiling], rates: list[Rate], journeys: list[Journey]) -> BenchReport:
    """Put together what was measured on this machine."""
    return BenchReport(f"{processor_name()}, {platform.system()}", version("torch"), ceilings, rates, journeys)


def write_report(report: BenchReport, folder: Path) -> None:
    """Write `bench.json` and `bench.svg`."""
    write_text(folder / JSON_FILE, json.dumps(asdict(report), indent=2) + "\n")
    write_text(folder / CHART_FILE, draw_rates(report))


def draw_rates(report: BenchReport) -> str:
    """Crops a second of each way to run the networks, above those of the convolutions alone, as an SVG file."""
    bars: list[Bar] = []
    for case in dict.fromkeys(_case(rate) for rate in report.rates):
        model, batch, threads = case
        bars.append(Bar(f"{Path(model).stem}, batch {batch}", [0.0, 0.0], "" if threads == 1 else f"{threads} threads"))
        for rate in report.rates:
            if _case(rate) == case:
                speed = rate.crops_per_second
                bars.append(Bar(rate.engine, [speed, 0.0], _describe(speed, rate.precision)))
        for ceiling in report.ceilings:
            if _case(ceiling) == case:
                limit = ceiling.convolution_crops_per_second
                bars.append(Bar("convolutions alone", [0.0, limit], _describe(limit, ceiling.precision)))
    return render_stand_alone(draw_bars("Crops a second", bars, parts=("measured", "limit")))


def _describe(crops_per_second: float, precision: str) -> str:
    return f"{crops_per_second:.1f} {precision}"


def _case(measured: Ceiling | Rate) -> tuple[str, int, int]:
    return measured.model, measured.batch, measured.threads
