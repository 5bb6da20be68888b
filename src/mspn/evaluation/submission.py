"""COCO's splits, and the zip file for its evaluation server."""

import json
import logging
import re
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from mspn.detectors.precomputed import BoxesFile
from mspn.distributed import ALONE, Processes
from mspn.errors import AnnotationError, InvalidValueError
from mspn.evaluation.predicting import Predictions, predict_people
from mspn.io.files import replacing
from mspn.labels.formats.coco import CocoImage, CocoPeople
from mspn.labels.reading import read_json
from mspn.predict.estimator import PoseEstimator
from mspn.structures.settings import first_problem
from mspn.structures.skeleton import COCO_17, Skeleton

_NAME = re.compile(r"person_keypoints_(val2017|test-dev2017|test-challenge2017)_[A-Za-z0-9.+-]+_results\.zip")
_PERSON = 1
_COORDINATE_DIGITS = 1
"""COCO recommends rounding to tenths of a pixel."""
_SCORE_DIGITS = 5


class _ImageFile(BaseModel):
    images: list[CocoImage] = Field(min_length=1)


def read_unlabeled(path: Path, skeleton: Skeleton) -> CocoPeople:
    """Read the images of a COCO file, without people: test splits have no annotations.

    Raises:
        AnnotationError: if the file names no images.
    """
    try:
        file = _ImageFile.model_validate(read_json(path))
    except ValidationError as error:
        raise AnnotationError(f"{path}: {first_problem(error, 'the file')}; it must name COCO images") from error
    num_keypoints = len(skeleton.keypoints)
    no_keypoints = np.zeros((0, num_keypoints, 3))
    return CocoPeople(file.images, _PERSON, [], no_keypoints, named=np.ones(num_keypoints, bool))


class SubmittedPose(BaseModel):
    """A row in the server's format: these four keys and no other."""

    model_config = ConfigDict(extra="forbid")

    image_id: int = Field(ge=0)
    category_id: Literal[1]
    keypoints: list[FiniteFloat] = Field(min_length=51, max_length=51)
    """17 times x, y in image pixels, and a third number, which the server does not use."""
    score: FiniteFloat


def submit_people(
    estimator: PoseEstimator,
    image_info: Path,
    images: Path,
    boxes: BoxesFile,
    submission: Path,
    processes: Processes = ALONE,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Predictions:
    """Predict everyone in the images of a split and write the zip for COCO's server.

    Args:
        estimator: network and test settings.
        image_info: COCO file that names the images; its annotations are ignored.
        images: folder of the images.
        boxes: detected boxes.
        submission: path of the zip, whose name gives the split; images of another split cause a warning.
        processes: processes that share the images; the first one writes the zip.
        report: as in `predict_people`.

    Raises:
        AnnotationError: as `read_unlabeled` and `predict_people`.
        ValueError: as `write_submission`, or if the network has other keypoints than COCO.
    """
    check_submission_name(submission)
    if estimator.recipe.keypoint_table != COCO_17:
        raise InvalidValueError(
            f"COCO's server takes the keypoints of {COCO_17.name}, but this network predicts those of"
            f" {estimator.recipe.skeleton}"
        )
    unlabeled = read_unlabeled(image_info, estimator.recipe.keypoint_table)
    if processes.is_first:
        confirm_split(submission, [image.id for image in unlabeled.images])
    predictions = predict_people(estimator, unlabeled, images, boxes, report, processes)
    if processes.is_first:
        write_submission(submission, predictions.rows)
    return predictions


def check_submission_name(path: Path) -> None:
    """Check that the server accepts a file name.

    Raises:
        ValueError: if it does not; the message gives the form.
    """
    if not _NAME.fullmatch(path.name):
        raise InvalidValueError(
            f"--out {path.name}: COCO's server takes person_keypoints_SPLIT_NAME_results.zip with SPLIT"
            " val2017, test-dev2017 or test-challenge2017 and a NAME of letters, digits and . + -; for example"
            " person_keypoints_test-dev2017_mspn-4_results.zip"
        )


def write_submission(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write COCO results as a zip with one JSON file of the same name, and no folder, in it.

    Coordinates are rounded to tenths of a pixel. All people are written; the evaluation's limit of 20 per image is not
    applied here.

    Raises:
        ValueError: as `check_submission_name`, or naming the first row that the server would not take.
    """
    check_submission_name(path)
    try:
        poses = TypeAdapter(list[SubmittedPose]).validate_python([_rounded(row) for row in rows])
    except ValidationError as error:
        raise InvalidValueError(
            f"COCO's server would not take these results: {first_problem(error, 'the list')}"
        ) from error
    content = json.dumps([pose.model_dump() for pose in poses])
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{path.stem}.json", content)


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    keypoints = [round(value, _COORDINATE_DIGITS) for value in row["keypoints"]]
    return {**row, "keypoints": keypoints, "score": round(row["score"], _SCORE_DIGITS)}


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """A split of COCO 2017."""

    name: str
    num_images: int
    name_parts: tuple[str, ...]
    """A file whose name contains one of these claims to be of this split."""
    sample_ids: frozenset[int] = frozenset()
    """Ids of some of its images, which no other split has."""


SPLITS = (
    Split(
        "train2017",
        118_287,
        ("train2017", "minus_minival", "minusminival", "trainval35k"),
        frozenset((36, 49, 77, 86, 110, 113, 136, 151, 165, 192, 241, 257, 260, 294, 538113, 544238, 551757)),
    ),
    Split(
        "val2017",
        5000,
        ("val2017", "minival"),
        frozenset((40036, 137294, 205289, 288042, 290248, 321790, 332901, 349594, 364126, 411817, 432085, 449432))
        | frozenset((459437, 465180, 559160, 581062)),
    ),
    Split("test-dev2017", 20_288, ("test-dev",)),
    Split("test2017", 40_670, ("test2017", "test-challenge")),
)
"""The paper's trainval-minus-minival is train2017, its minival val2017. The first split whose parts fit a name wins."""


def claimed_split(file_name: str) -> Split | None:
    """The split that a file's name claims; None if it claims none."""
    return next((split for split in SPLITS if any(part in file_name.lower() for part in split.name_parts)), None)


def confirm_split(path: Path, image_ids: Collection[int]) -> str | None:
    """Name of the split that the images are, checked by their count and ids; None if they are of none.

    Images that are not those of the claimed split cause a warning.

    Args:
        path: of the file that lists the images; its name may claim a split, else their count does.
        image_ids: of the images.
    """
    ids = set(image_ids)
    claimed = claimed_split(path.name) or next((split for split in SPLITS if split.num_images == len(ids)), None)
    if claimed is None:
        return None
    other_splits = [split for split in SPLITS if split is not claimed and split.sample_ids & ids]
    if len(ids) != claimed.num_images:
        problem = f"it has {len(ids)} images, not {claimed.num_images}"
    elif other_splits:
        problem = f"image {min(other_splits[0].sample_ids & ids)} in it belongs to {other_splits[0].name}"
    elif not claimed.sample_ids <= ids:
        problem = f"image {min(claimed.sample_ids - ids)} is missing"
    else:
        return claimed.name
    logger.warning("%s: not the images of COCO's %s (%s)", path, claimed.name, problem)
    return None
