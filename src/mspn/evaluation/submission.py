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
from mspn.structures.skeleton import Skeleton
from mspn.structures.skeletons import COCO_17

_NAME = re.compile(r"person_keypoints_(val2017|test-dev2017|test-challenge2017)_[A-Za-z0-9.+-]+_results\.zip")
_PERSON = 1
_COORDINATE_DIGITS = 1
"""COCO asks for tenths of a pixel."""
_SCORE_DIGITS = 5


class _ImageFile(BaseModel):
    images: list[CocoImage] = Field(min_length=1)


def read_unlabeled(path: Path, skeleton: Skeleton) -> CocoPeople:
    """Read the images of a COCO file, and nobody in them: test splits come without annotations.

    Raises:
        AnnotationError: if the file names no images.
    """
    try:
        file = _ImageFile.model_validate(read_json(path))
    except ValidationError as error:
        raise AnnotationError(f"{path}: {first_problem(error, 'the file')}; it must name COCO images") from error
    num_keypoints = len(skeleton.keypoints)
    nobody = np.zeros((0, num_keypoints, 3))
    return CocoPeople(file.images, _PERSON, [], nobody, named=np.ones(num_keypoints, bool))


class SubmittedPose(BaseModel):
    """A row as the server wants it: these four keys and no other."""

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
        image_info: COCO file that names the images; annotations in it are not looked at.
        images: folder of the images.
        boxes: detected boxes.
        submission: the zip; it names the split, and images of another one are warned of.
        processes: who shares the images; the first one writes.
        report: as in `predict_people`.

    Raises:
        AnnotationError: as `read_unlabeled` and `predict_people`.
        ValueError: as `write_submission`, or if the network has other keypoints than COCO.
    """
    check_submission_name(submission)
    if estimator.recipe.keypoint_table != COCO_17:
        raise InvalidValueError(
            f"COCO's server takes the keypoints of {COCO_17.name}, and this network finds those of"
            f" {estimator.recipe.skeleton}"
        )
    nobody = read_unlabeled(image_info, estimator.recipe.keypoint_table)
    if processes.is_first:
        confirm_split(submission, [image.id for image in nobody.images])
    predictions = predict_people(estimator, nobody, images, boxes, report, processes)
    if processes.is_first:
        write_submission(submission, predictions.rows)
    return predictions


def check_submission_name(path: Path) -> None:
    """Refuse a name that the server does not take.

    Raises:
        ValueError: saying how it must be.
    """
    if not _NAME.fullmatch(path.name):
        raise InvalidValueError(
            f"--out {path.name}: COCO's server takes person_keypoints_SPLIT_NAME_results.zip with SPLIT"
            " val2017, test-dev2017 or test-challenge2017 and a NAME of letters, digits and . + -; for example"
            " person_keypoints_test-dev2017_mspn-4_results.zip"
        )


def write_submission(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write COCO results as a zip with one JSON file of the same name, and no folder, in it.

    Coordinates are rounded to tenths of a pixel. Everybody is written: that 20 people of an image count is the
    evaluation's rule, not the file's.

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
    claims: tuple[str, ...]
    """Parts of file names that mean this split."""
    some_ids: frozenset[int] = frozenset()
    """A sample of its images' numbers, which no other split has."""


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
"""The paper's trainval-minus-minival is train2017, its minival is val2017. A name is the first one's that it fits."""


def claimed_split(file_name: str) -> Split | None:
    """The split that a file's name speaks of."""
    return next((split for split in SPLITS if any(claim in file_name.lower() for claim in split.claims)), None)


def confirm_split(path: Path, image_ids: Collection[int]) -> str | None:
    """The name of the split that the images are, by their number and numbers; None, and a warning, for a false claim.

    Args:
        path: of the file that names the images; its name may claim a split, and so does their number.
        image_ids: of the images.
    """
    ids = set(image_ids)
    claimed = claimed_split(path.name) or next((split for split in SPLITS if split.num_images == len(ids)), None)
    if claimed is None:
        return None
    strangers = [split for split in SPLITS if split is not claimed and split.some_ids & ids]
    if len(ids) != claimed.num_images:
        problem = f"it has {len(ids)} images, not {claimed.num_images}"
    elif strangers:
        problem = f"image {min(strangers[0].some_ids & ids)} in it belongs to {strangers[0].name}"
    elif not claimed.some_ids <= ids:
        problem = f"image {min(claimed.some_ids - ids)} is missing"
    else:
        return claimed.name
    logger.warning("%s: not the images of COCO's %s (%s)", path, claimed.name, problem)
    return None
