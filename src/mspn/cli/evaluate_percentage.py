"""The part of mspn evaluate that measures single keypoints: PCKh and PCK."""

from collections.abc import Callable
from pathlib import Path

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Column, Table

from mspn.data.formats import read_labels
from mspn.data.head_boxes import with_head_boxes
from mspn.data.labels import LabelledSet
from mspn.evaluate.measured_people import KeypointMetric, PeopleToMeasure, measure_people, people_to_measure
from mspn.evaluate.percentage_correct import NOTHING_TO_FIND
from mspn.evaluate.person_keypoints import PersonKeypoints, predict_labelled, read_person_keypoints
from mspn.evaluate.report import Protocol, Report, write_results
from mspn.predict.estimator import PoseEstimator


def percentage_of_results(metric: KeypointMetric, results: Path, annotations: Path, head_boxes: Path | None) -> Report:
    """Measure a results file of any system."""
    labels = _read(annotations, head_boxes)
    whom = people_to_measure(labels, annotations, metric)
    found = read_person_keypoints(results, labels)
    protocol = Protocol(
        annotations=str(annotations), boxes=f"results file {results}", num_boxes=len(found.keypoints_image)
    )
    return _report(whom, found, str(results), protocol)


def percentage_of_model(
    metric: KeypointMetric,
    estimator: PoseEstimator,
    model: str,
    annotations: Path,
    images: Path,
    head_boxes: Path | None,
    out: Path | None,
    report: Callable[[int, int], None],
) -> Report:
    """Measure a network on the labelled boxes; its results go to `out`."""
    whom = people_to_measure(_read(annotations, head_boxes), annotations, metric)
    found, rows = predict_labelled(estimator, whom.labels, images, report)
    if out is not None:  # before scoring, which may fail
        write_results(out / "results.json", rows)
    protocol = Protocol(
        annotations=str(annotations),
        boxes="ground truth",
        num_boxes=len(rows),
        failed=found.failed,
        test=estimator.test,
        input_size=estimator.recipe.model.input_size,
        precision=estimator.precision,
    )
    return _report(whom, found, model, protocol)


def show_percentage(report: Report, table: dict[str, float]) -> None:
    """Print the table of parts in percent, as papers do, and whom and what it is of."""
    columns = table | report.stats
    drawn = Table(*(Column(name, justify="right") for name in columns), box=SIMPLE, padding=0, collapse_padding=True)
    drawn.add_row(*("-" if value == NOTHING_TO_FIND else f"{100 * value:.1f}" for value in columns.values()))
    Console().print(drawn)
    protocol = report.protocol
    typer.echo(f"{protocol.metric}, percent; {protocol.num_people} people, {len(protocol.keypoints or ())} keypoints")


def _read(annotations: Path, head_boxes: Path | None) -> LabelledSet:
    labels = read_labels(annotations)
    return labels if head_boxes is None else with_head_boxes(labels, head_boxes)


def _report(whom: PeopleToMeasure, found: PersonKeypoints, model: str, protocol: Protocol) -> Report:
    measured = measure_people(whom, found)
    changes = {
        "metric": f"{whom.measure.name} by the {whom.measure.reference}",
        "keypoints": measured.keypoints,
        "num_people": measured.num_people,
        "engine": None,
    }
    return Report(
        model=model,
        stats=dict(measured.correct.stats),
        table=dict(measured.correct.table),
        by_keypoint=dict(measured.correct.by_keypoint),
        protocol=protocol.model_copy(update=changes),
    )
