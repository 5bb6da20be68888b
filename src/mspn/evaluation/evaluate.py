"""Evaluation of results files and of networks: average precision (AP) and percentage of correct keypoints (PCK)."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mspn.detectors.precomputed import BoxesFile
from mspn.distributed import ALONE, Processes
from mspn.evaluation.average_precision import (
    CocoBackend,
    average_precision,
    box_average_precision,
    check_engine,
    read_ground_truth,
    read_results,
)
from mspn.evaluation.diagnosis import explain_low_ap
from mspn.evaluation.evaluation_set import (
    EvaluationSet,
    KeypointMetric,
    evaluate_pck,
    read_evaluation_set,
    read_person_keypoints,
)
from mspn.evaluation.html_report import explain
from mspn.evaluation.predicting import PersonKeypoints, predict_labeled, predict_people
from mspn.evaluation.report import (
    RESULTS_FILE,
    EvaluationProtocol,
    Report,
    describe_ensemble,
    write_results,
)
from mspn.evaluation.submission import confirm_split
from mspn.inference.exported import ExportedNetwork
from mspn.io.files import sha256_of
from mspn.labels.formats import read_labels
from mspn.labels.formats.coco import CocoPeople
from mspn.labels.formats.mpii import with_head_boxes
from mspn.labels.label_set import LabeledSet
from mspn.labels.reading import refuse_outside
from mspn.models.cost import count_cost
from mspn.predict.ensemble import Member
from mspn.predict.estimator import PoseEstimator
from mspn.structures.skeleton import COCO_17, Skeleton


def evaluate_ap_of_results(
    results: Path,
    annotations: Path,
    *,
    engine: CocoBackend,
    images: Path | None = None,
    category: str | None = None,
    allow_outside: bool = False,
    out: Path | None,
) -> Report:
    """Score a COCO results file of any system.

    Args:
        results: the file.
        annotations: COCO keypoint file with the ground truth.
        engine: backend that computes the numbers.
        images: folder of the images, to draw the worst people from.
        category: of the labels, as in `read_coco`.
        allow_outside: whether the labels may name images outside their folder.
        out: folder for the scored results (results.json) and their analysis; see `explain`.

    Raises:
        AnnotationError: if one of the files is unusable, or they are of different images.
        EngineError: as `compute_stats`.
    """
    ground_truth = _read_ground_truth(annotations, COCO_17, category, allow_outside or images is None)
    rows = read_results(results, COCO_17)
    if out is not None:
        write_results(out / RESULTS_FILE, rows)
    stats = average_precision(ground_truth, rows, COCO_17, engine)
    evaluated = Report(
        model=str(results),
        stats=stats,
        reasons=tuple(explain_low_ap(ground_truth, rows, COCO_17, stats)),
        protocol=EvaluationProtocol(
            annotations=str(annotations),
            annotations_sha256=sha256_of(annotations),
            split=confirm_split(annotations, [image.id for image in ground_truth.images]),
            boxes=f"results file {results}",
            num_boxes=len(rows),
            keypoints=ground_truth.keypoint_names(COCO_17),
            engine=engine,
        ),
    )
    return evaluated if out is None else explain(evaluated, ground_truth, rows, COCO_17, images=images, out=out)


def evaluate_ap_of_model(
    estimator: PoseEstimator,
    models: Sequence[str],
    annotations: Path,
    images: Path,
    boxes: BoxesFile | None,
    *,
    engine: CocoBackend,
    category: str | None = None,
    allow_outside: bool = False,
    out: Path | None,
    processes: Processes = ALONE,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report | None:
    """Predict the people of a labeled set and compute AP; several processes share the images.

    Args:
        estimator: network and test settings.
        models: names of the networks in the report.
        annotations: COCO keypoint file with the ground truth.
        images: folder of the images.
        boxes: detected boxes; None takes the labeled ones, with score 1.
        engine: backend that computes the numbers.
        category: of the labels, as in `read_coco`.
        allow_outside: whether the labels may name images outside their folder.
        out: folder for the predictions (results.json) and their analysis; see `explain`.
        processes: processes that share the images.
        report: as in `predict_people`.

    Returns:
        The report in the first process, the same for any number of processes; None in the others, which write nothing.

    Raises:
        AnnotationError: as `read_ground_truth` and `predict_people`.
        FileNotFoundError: if the folder of images is missing.
        EngineError: as `compute_stats`.
    """
    check_engine(engine)  # before hours of inference
    skeleton = estimator.recipe.keypoint_table
    ground_truth = _read_ground_truth(annotations, skeleton, category, allow_outside)
    predictions = predict_people(estimator, ground_truth, images, boxes, report, processes)
    if not processes.is_first:
        return None
    if out is not None:  # before scoring, which may fail
        write_results(out / RESULTS_FILE, predictions.rows)
    stats = average_precision(ground_truth, predictions.rows, skeleton, engine)
    detections = predictions.boxes if boxes else None
    members = estimator.top_down.ensemble.members
    evaluated = Report(
        model=" + ".join(models),
        ensemble=describe_ensemble(estimator.top_down.ensemble, models),
        stats=stats,
        boxes_average_precision=box_average_precision(ground_truth, detections, engine)["AP"] if detections else None,
        reasons=tuple(explain_low_ap(ground_truth, predictions.rows, skeleton, stats, detections)),
        gmacs=_count_gmacs(members),
        protocol=EvaluationProtocol(
            annotations=str(annotations),
            annotations_sha256=sha256_of(annotations),
            skeleton=estimator.recipe.skeleton,
            split=confirm_split(annotations, [image.id for image in ground_truth.images]),
            boxes=str(boxes.path) if boxes else "ground truth",
            boxes_sha256=sha256_of(boxes.path) if boxes else None,
            box_selection=boxes.rule if boxes else None,
            num_boxes=predictions.num_boxes,
            failed=predictions.failed,
            test=estimator.test,
            input_size=estimator.recipe.model.input_size,
            precision=estimator.precision,
            keypoints=ground_truth.keypoint_names(skeleton),
            engine=engine,
        ),
    )
    return (
        evaluated
        if out is None
        else explain(evaluated, ground_truth, predictions.rows, skeleton, images=images, out=out)
    )


def evaluate_pck_of_results(
    results: Path, annotations: Path, *, metric: KeypointMetric, head_boxes: Path | None
) -> Report:
    """Compute PCK of a results file of any system.

    Args:
        results: in a format that `read_person_keypoints` reads.
        annotations: labels of any format.
        metric: PCKh or PCK.
        head_boxes: MPII's head boxes, if the labels have none.

    Raises:
        AnnotationError: if one of the files is unusable, or they are of different people.
    """
    labels = _read(annotations, head_boxes)
    evaluation_set = read_evaluation_set(labels, annotations, metric)
    predictions = read_person_keypoints(results, labels)
    protocol = EvaluationProtocol(
        annotations=str(annotations), boxes=f"results file {results}", num_boxes=len(predictions.keypoints_image)
    )
    return _report_pck(evaluation_set, predictions, str(results), protocol)


def evaluate_pck_of_model(
    estimator: PoseEstimator,
    models: Sequence[str],
    annotations: Path,
    images: Path,
    *,
    metric: KeypointMetric,
    head_boxes: Path | None,
    allow_outside: bool = False,
    out: Path | None,
    processes: Processes = ALONE,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Report | None:
    """Predict the people of a labeled set and compute PCK; several processes share the images.

    Args:
        estimator: network and test settings.
        models: names of the networks in the report.
        annotations: labels of any format; their boxes are used.
        images: folder of the images.
        metric: PCKh or PCK.
        head_boxes: MPII's head boxes, if the labels have none.
        allow_outside: whether the labels may name images outside their folder.
        out: folder for the predictions (results.json).
        processes: processes that share the images.
        report: as in `predict_labeled`.

    Returns:
        The report in the first process, the same for any number of processes; None in the others, which write nothing.

    Raises:
        AnnotationError: if the labels are unusable, or not one image could be used.
        FileNotFoundError: if the folder of images is missing.
    """
    labels = _read(annotations, head_boxes)
    if not allow_outside:
        refuse_outside(annotations, (image.file_name for image in labels.images))
    evaluation_set = read_evaluation_set(labels, annotations, metric)
    predictions, rows = predict_labeled(estimator, evaluation_set.labels, images, report, processes)
    if not processes.is_first:
        return None
    if out is not None:
        write_results(out / RESULTS_FILE, rows)
    protocol = EvaluationProtocol(
        annotations=str(annotations),
        boxes="ground truth",
        num_boxes=len(rows),
        failed=predictions.failed,
        test=estimator.test,
        input_size=estimator.recipe.model.input_size,
        precision=estimator.precision,
    )
    evaluated = _report_pck(evaluation_set, predictions, " + ".join(models), protocol)
    return evaluated.model_copy(update={"ensemble": describe_ensemble(estimator.top_down.ensemble, models)})


def _count_gmacs(members: Sequence[Member]) -> float | None:
    """Of all networks; None where one is another package's, of which only the outputs are known."""
    runners = [member.runner for member in members]
    if any(isinstance(runner, ExportedNetwork) and not runner.is_of_this_package for runner in runners):
        return None
    return sum(count_cost(member.recipe.model).total.gmacs_inference for member in members)


def _read_ground_truth(annotations: Path, skeleton: Skeleton, category: str | None, allow_outside: bool) -> CocoPeople:
    ground_truth = read_ground_truth(annotations, skeleton, category)
    if not allow_outside:
        refuse_outside(annotations, (image.file_name for image in ground_truth.images))
    return ground_truth


def _read(annotations: Path, head_boxes: Path | None) -> LabeledSet:
    labels = read_labels(annotations)
    return labels if head_boxes is None else with_head_boxes(labels, head_boxes)


def _report_pck(
    evaluation_set: EvaluationSet, predictions: PersonKeypoints, model: str, protocol: EvaluationProtocol
) -> Report:
    evaluation = evaluate_pck(evaluation_set, predictions)
    changes = {
        "metric": f"{evaluation_set.definition.name} by the {evaluation_set.definition.reference}",
        "keypoints": evaluation.keypoints,
        "num_people": evaluation.num_people,
        "engine": None,
    }
    return Report(
        model=model,
        stats=dict(evaluation.pck.stats),
        table=dict(evaluation.pck.table),
        by_keypoint=dict(evaluation.pck.by_keypoint),
        protocol=protocol.model_copy(update=changes),
    )
