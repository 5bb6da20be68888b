"""mspn models calibrate and rescore: what keypoint scores mean, and what ranks poses, learned on labeled people."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mspn.checkpoints.format import Checkpoint, load_checkpoint, save_weights
from mspn.cli.data import AllowOutsideOption, CategoryOption, FormatOption, SkeletonOption, read_set
from mspn.cli.options import DeviceOption, PrecisionName, PrecisionOption, find_with_bar
from mspn.cli.printing import SOME_FAILED, echo, fail, one_line_errors
from mspn.cli.progress import show_count
from mspn.config.protocol import ScoreCalibration
from mspn.config.recipe import override
from mspn.evaluation.calibration import JudgedKeypoints, fit_calibration, judge_people
from mspn.evaluation.oks_prediction import fit_oks_predictor
from mspn.evaluation.predicting import predict_labeled
from mspn.inference.devices import Precision, keep_freed_memory
from mspn.labels.label_set import LabeledSet
from mspn.labels.reading import check_keypoint_names
from mspn.predict.estimator import PoseEstimator
from mspn.structures.skeleton import Skeleton

MAX_PEOPLE = 1000
MAX_RESCORED_PEOPLE = 3000


def calibrate_command(
    model: Annotated[str, typer.Argument(help="Name of a model, or a weights file.")],
    destination: Annotated[Path, typer.Argument(help="File to write: the same weights with calibrated scores.")],
    annotations: Annotated[
        Path,
        typer.Option(
            help=f"Label file of people whom the network has not seen in training; up to {MAX_PEOPLE:,} are used."
        ),
    ],
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    shift: Annotated[
        float,
        typer.Option(
            min=-5,
            max=5,
            help="Added to the log-odds of every score: below 0 for people of the training sets, whom the network knows"
            " too well (docs/models.md has ours).",
        ),
    ] = 0.0,
    device: DeviceOption = "auto",
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Calibrate keypoint scores on labeled people: 0.8 then means right eight times in ten.

    Right is a keypoint within the distance at which COCO's similarity is 0.85. Positions stay the same. Poses rank by
    these scores then (test.rescoring=weighted_mean), or still by predicted OKS where the weights have that.
    """
    keep_freed_memory()
    with one_line_errors():
        labels = read_set(annotations, from_format, skeleton, category, allow_outside=allow_outside)
        checkpoint = load_checkpoint(find_with_bar(model))
        estimator = _peaks_as_scores(checkpoint, device, "float32")
        drawn = _draw(annotations, labels, estimator.recipe.keypoint_table, MAX_PEOPLE)
        judged, num_failed = _judge(estimator, drawn, images)
        calibration = fit_calibration(judged, estimator.recipe.keypoint_table, shift=shift)
        before = checkpoint.metadata.score_calibration
        predictor = None if before is None else before.oks_predictor
        _save(checkpoint, calibration.model_copy(update={"oks_predictor": predictor}), destination)
    echo(
        f"{destination}: scores calibrated on {int(judged.is_labeled.sum()):,} keypoints of {calibration.people:,}"
        f" people; the peaks of heat maps had an expected calibration error of {judged.compare().expected_error:.3f}"
    )
    _exit_if_failed(num_failed)


def rescore_command(
    model: Annotated[str, typer.Argument(help="Name of a model, or a weights file; its scores are calibrated.")],
    destination: Annotated[Path, typer.Argument(help="File to write: the same weights with an OKS predictor.")],
    annotations: Annotated[
        list[Path],
        typer.Option(
            help=f"Label file; up to {MAX_RESCORED_PEOPLE:,} people are used. Give it once for each set, each with its"
            " --images."
        ),
    ],
    images: Annotated[list[Path], typer.Option(help="Folder of the images of a label file.")],
    device: DeviceOption = "auto",
    precision: PrecisionOption = PrecisionName.AUTO,
    from_format: FormatOption = None,
    skeleton: SkeletonOption = None,
    category: CategoryOption = None,
    allow_outside: AllowOutsideOption = False,
) -> None:
    """Learn to predict the OKS of poses on labeled people, also those of training: poses rank by it then.

    Average precision depends on the order of poses. A small network in the metadata predicts OKS from the keypoints and
    the peaks of their heat maps (test.rescoring=predicted_oks). Positions and scores stay the same.
    """
    keep_freed_memory()
    with one_line_errors():
        if len(annotations) != len(images):
            fail(f"{len(annotations)} --annotations and {len(images)} --images; give one folder for each label file")
        sets = [read_set(path, from_format, skeleton, category, allow_outside=allow_outside) for path in annotations]
        checkpoint = load_checkpoint(find_with_bar(model))
        calibration = checkpoint.metadata.score_calibration
        if calibration is None:
            fail(f"the scores of {model} are not calibrated; run `mspn models calibrate` first")
        estimator = _peaks_as_scores(checkpoint, device, precision.value)
        keypoints = estimator.recipe.keypoint_table
        drawn = [
            _draw(path, labels, keypoints, MAX_RESCORED_PEOPLE) for path, labels in zip(annotations, sets, strict=True)
        ]
        num_failed, judged = 0, []
        for labels, folder in zip(drawn, images, strict=True):
            of_set, failed = _judge(estimator, labels, folder)
            judged.append(of_set)
            num_failed += failed
        predictor = fit_oks_predictor(judged, keypoints)
        _save(checkpoint, calibration.model_copy(update={"oks_predictor": predictor}), destination)
    echo(f"{destination}: poses rank by predicted OKS, fitted to {predictor.people:,} people")
    _exit_if_failed(num_failed)


def _save(checkpoint: Checkpoint, calibration: ScoreCalibration, destination: Path) -> None:
    """The same weights, whose poses rank by what their scores offer."""
    rescoring = "weighted_mean" if calibration.oks_predictor is None else "predicted_oks"
    recipe = override(checkpoint.metadata.recipe, [f"test.rescoring={rescoring}"])
    metadata = checkpoint.metadata.model_copy(update={"recipe": recipe, "score_calibration": calibration})
    save_weights(destination, checkpoint.model, metadata)


def _peaks_as_scores(checkpoint: Checkpoint, device: str, precision: Precision) -> PoseEstimator:
    """An estimator whose keypoint scores are the peaks of heat maps."""
    metadata = checkpoint.metadata.model_copy(update={"score_calibration": None})
    return PoseEstimator(Checkpoint(metadata, checkpoint.model), "none", device=device, precision=precision)


def _draw(annotations: Path, labels: LabeledSet, keypoints: Skeleton, max_people: int) -> LabeledSet:
    """People with labeled keypoints of a skeleton, at most so many, drawn at random."""
    check_keypoint_names(annotations, labels.skeleton, keypoints)
    people = [person for person in labels.people if not person.is_crowd and (person.keypoints_image[:, 2] > 0).any()]
    if not people:
        fail(f"{annotations}: nobody of {len(labels.people)} people has a labeled keypoint")
    return replace(labels, people=random.Random(0).sample(people, min(len(people), max_people)))  # no secret


def _judge(estimator: PoseEstimator, labels: LabeledSet, images: Path) -> tuple[JudgedKeypoints, int]:
    """The keypoints that are predicted of labeled people, and how many failed."""
    with show_count() as show:
        predictions, results = predict_labeled(estimator, labels, images, show)
    return judge_people(labels, results, estimator.recipe.keypoint_table), predictions.failed


def _exit_if_failed(num_failed: int) -> None:
    if num_failed:
        echo(f"{num_failed} images or boxes could not be used, see above", err=True)
        raise typer.Exit(SOME_FAILED)
