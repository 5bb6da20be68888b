"""PCKh or PCK of a network, or of a results file, with the protocol it was measured under."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mspn.data.formats import read_labels
from mspn.data.head_boxes import with_head_boxes
from mspn.data.labels import LabelledSet
from mspn.evaluate.measured_people import KeypointMetric, PeopleToMeasure, measure_people, people_to_measure
from mspn.evaluate.person_keypoints import PersonKeypoints, predict_labelled, read_person_keypoints
from mspn.evaluate.report import Protocol, Report, describe_ensemble, write_results
from mspn.predict.estimator import PoseEstimator
from mspn.processes import ALONE, Processes


def percentage_of_results(
    results: Path, annotations: Path, *, metric: KeypointMetric, head_boxes: Path | None
) -> Report:
    """Measure a results file of any system.

    Args:
        results: as `read_person_keypoints` wants it.
        annotations: labels of any format.
        metric: what is measured.
        head_boxes: MPII's, where the labels have none.

    Raises:
        AnnotationError: if one of the files is of no use, or they are of different people.
    """
    labels = _read(annotations, head_boxes)
    whom = people_to_measure(labels, annotations, metric)
    found = read_person_keypoints(results, labels)
    protocol = Protocol(
        annotations=str(annotations), boxes=f"results file {results}", num_boxes=len(found.keypoints_image)
    )
    return _report(whom, found, str(results), protocol)


def percentage_of_model(
    estimator: PoseEstimator,
    models: Sequence[str],
    annotations: Path,
    images: Path,
    *,
    metric: KeypointMetric,
    head_boxes: Path | None,
    out: Path | None,
    processes: Processes = ALONE,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report | None:
    """Predict everyone of a labelled set and measure it; several processes share the pictures.

    Args:
        estimator: network and test settings.
        models: what the report calls its networks.
        annotations: labels of any format; their boxes are used.
        images: folder of the pictures.
        metric: what is measured.
        head_boxes: MPII's, where the labels have none.
        out: where the predictions are kept as results.json.
        processes: who shares the pictures.
        report: as in `predict_labelled`.

    Returns:
        The same as of one process in the first; None in the others, which write nothing either.

    Raises:
        AnnotationError: if the labels are of no use, or not one picture could be used.
        FileNotFoundError: if the folder of pictures is missing.
    """
    whom = people_to_measure(_read(annotations, head_boxes), annotations, metric)
    found, rows = predict_labelled(estimator, whom.labels, images, report, processes)
    if not processes.is_first:
        return None
    if out is not None:
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
    measured = _report(whom, found, " + ".join(models), protocol)
    return measured.model_copy(update={"ensemble": describe_ensemble(estimator.ensemble, models)})


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
