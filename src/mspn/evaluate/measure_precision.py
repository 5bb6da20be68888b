"""Average precision of a network, or of a results file, with the protocol it was measured under."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mspn.detect.boxes_file import BoxesFile
from mspn.evaluate.average_precision import average_precision, box_average_precision, read_results, read_truth
from mspn.evaluate.diagnosis import explain_low
from mspn.evaluate.engines import Engine, check_engine
from mspn.evaluate.evaluator import predict_people
from mspn.evaluate.explain import explain
from mspn.evaluate.report import RESULTS_FILE, Protocol, Report, describe_ensemble, write_results
from mspn.evaluate.splits import confirm_split
from mspn.files import sha256_of
from mspn.model.cost import count_cost
from mspn.predict.estimator import PoseEstimator
from mspn.processes import ALONE, Processes
from mspn.skeleton import COCO_17


def precision_of_results(
    results: Path, annotations: Path, *, engine: Engine, images: Path | None = None, out: Path | None
) -> Report:
    """Score a COCO results file of any system.

    Args:
        results: the file.
        annotations: COCO keypoint file with the truth.
        engine: what computes the numbers.
        images: folder of the pictures, to draw the worst people from.
        out: where the scored results are kept as results.json, and analysed; see `explain`.

    Raises:
        AnnotationError: if one of the files is of no use, or they are of different pictures.
        EngineError: as `compute_stats`.
    """
    truth = read_truth(annotations, COCO_17)
    rows = read_results(results, COCO_17)
    if out is not None:
        write_results(out / RESULTS_FILE, rows)
    stats = average_precision(truth, rows, COCO_17, engine)
    measured = Report(
        model=str(results),
        stats=stats,
        reasons=tuple(explain_low(truth, rows, COCO_17, stats)),
        protocol=Protocol(
            annotations=str(annotations),
            annotations_sha256=sha256_of(annotations),
            split=confirm_split(annotations, [image.id for image in truth.images]),
            boxes=f"results file {results}",
            num_boxes=len(rows),
            engine=engine,
        ),
    )
    return measured if out is None else explain(measured, truth, rows, COCO_17, images=images, out=out)


def precision_of_model(
    estimator: PoseEstimator,
    models: Sequence[str],
    annotations: Path,
    images: Path,
    boxes: BoxesFile | None,
    *,
    engine: Engine,
    out: Path | None,
    processes: Processes = ALONE,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report | None:
    """Predict everyone of a labelled set and score it; several processes share the pictures.

    Args:
        estimator: network and test settings.
        models: what the report calls its networks.
        annotations: COCO keypoint file with the truth.
        images: folder of the pictures.
        boxes: detected boxes; None takes the labelled ones, with score 1.
        engine: what computes the numbers.
        out: where the predictions are kept as results.json, and analysed; see `explain`.
        processes: who shares the pictures.
        report: as in `predict_people`.

    Returns:
        The same as of one process in the first; None in the others, which write nothing either.

    Raises:
        AnnotationError: as `read_truth` and `predict_people`.
        FileNotFoundError: if the folder of pictures is missing.
        EngineError: as `compute_stats`.
    """
    check_engine(engine)  # before the work of hours
    skeleton = estimator.recipe.keypoint_table
    truth = read_truth(annotations, skeleton)
    predictions = predict_people(estimator, truth, images, boxes, report, processes)
    if not processes.is_first:
        return None
    if out is not None:  # before scoring, which may fail
        write_results(out / RESULTS_FILE, predictions.rows)
    stats = average_precision(truth, predictions.rows, skeleton, engine)
    detected = predictions.boxes if boxes else None
    members = estimator.ensemble.members
    measured = Report(
        model=" + ".join(models),
        ensemble=describe_ensemble(estimator.ensemble, models),
        stats=stats,
        boxes_average_precision=box_average_precision(truth, detected, engine)["AP"] if detected else None,
        reasons=tuple(explain_low(truth, predictions.rows, skeleton, stats, detected)),
        gmacs=sum(count_cost(member.recipe.model).total.gmacs_inference for member in members),
        protocol=Protocol(
            annotations=str(annotations),
            annotations_sha256=sha256_of(annotations),
            skeleton=estimator.recipe.skeleton,
            split=confirm_split(annotations, [image.id for image in truth.images]),
            boxes=str(boxes.path) if boxes else "ground truth",
            boxes_sha256=sha256_of(boxes.path) if boxes else None,
            boxes_rule=boxes.rule if boxes else None,
            num_boxes=predictions.num_boxes,
            failed=predictions.failed,
            test=estimator.test,
            input_size=estimator.recipe.model.input_size,
            precision=estimator.precision,
            engine=engine,
        ),
    )
    return measured if out is None else explain(measured, truth, predictions.rows, skeleton, images=images, out=out)
