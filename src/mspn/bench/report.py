"""What a benchmark found: a JSON file, a chart."""

import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from mspn.bench.bar_chart import LIMIT_BAR, Bar, Group, draw_bar_chart, write_png
from mspn.bench.ceiling import Ceiling
from mspn.bench.journey import Journey
from mspn.bench.rates import REFERENCE, Rate
from mspn.devices import processor_name
from mspn.files import write_text

JSON_FILE = "bench.json"
CHART_FILE = "bench.png"


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


def _case(measured: Ceiling | Rate) -> tuple[str, int, int]:
    return measured.model, measured.batch, measured.threads
