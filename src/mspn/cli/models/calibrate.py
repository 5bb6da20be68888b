"""mspn models calibrate: keypoint scores that say how often such a keypoint is right."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mspn.checkpoints.format import Checkpoint, load_checkpoint, save_weights
from mspn.cli.data.options import AllowOutsideOption, CategoryOption, FormatOption, SkeletonOption, read_set
from mspn.cli.options import DeviceOption, find_with_bar
from mspn.cli.printing import SOME_FAILED, echo, one_line_errors
from mspn.cli.progress import show_count
from mspn.evaluation.calibration import fit_calibration, judge_people
from mspn.evaluation.predicting import predict_labeled
from mspn.inference.devices import keep_freed_memory
from mspn.labels.label_set import LabeledSet
from mspn.labels.reading import check_keypoint_names
from mspn.predict.estimator import PoseEstimator

MAX_PEOPLE = 1000


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

    Right is a keypoint within the distance at which COCO's similarity is 0.85. Positions, average precision and the
    ranking of poses stay the same.
    """
    keep_freed_memory()
    with one_line_errors():
        labels = _draw_people(read_set(annotations, from_format, skeleton, category, allow_outside=allow_outside))
        checkpoint = load_checkpoint(find_with_bar(model))
        peaks_as_scores = checkpoint.metadata.model_copy(update={"score_calibration": None})
        estimator = PoseEstimator(
            Checkpoint(peaks_as_scores, checkpoint.model), "none", device=device, precision="float32"
        )
        network_skeleton = estimator.recipe.keypoint_table
        check_keypoint_names(annotations, labels.skeleton, network_skeleton)
        with show_count() as show:
            predictions, results = predict_labeled(estimator, labels, images, show)
        judged = judge_people(labels, results, network_skeleton)
        calibration = fit_calibration(judged, network_skeleton, shift=shift)
        metadata = checkpoint.metadata.model_copy(update={"score_calibration": calibration})
        save_weights(destination, checkpoint.model, metadata)
    echo(
        f"{destination}: scores calibrated on {int(judged.is_labeled.sum()):,} keypoints of {calibration.people:,}"
        f" people; the peaks of heat maps had an expected calibration error of {judged.compare().expected_error:.3f}"
    )
    if predictions.failed:
        echo(f"{predictions.failed} images or boxes could not be used, see above", err=True)
        raise typer.Exit(SOME_FAILED)


def _draw_people(labels: LabeledSet) -> LabeledSet:
    """At most MAX_PEOPLE of those with a labeled keypoint, drawn at random; no crowds."""
    people = [person for person in labels.people if not person.is_crowd and (person.keypoints_image[:, 2] > 0).any()]
    return replace(labels, people=random.Random(0).sample(people, min(len(people), MAX_PEOPLE)))  # no secret
