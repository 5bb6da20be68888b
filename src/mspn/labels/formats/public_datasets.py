"""Formats of single public datasets: LSP's, OCHuman's and AI Challenger's.

Leeds Sports Pose and its extended training set are a `joints.mat`, one person an image, 14 keypoints. OCHuman's is
its original JSON; what its authors converted for COCO's evaluation is read as COCO. AI Challenger's keypoint JSON is
a list of images, boxes by their corners, 14 keypoints.
"""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from mspn.errors import AnnotationError
from mspn.io.files import write_text
from mspn.io.matlab import read_mat
from mspn.labels.label_set import (
    LabeledImage,
    LabeledPerson,
    LabeledSet,
    to_skeleton,
    warn_dropped,
    warn_dropped_fields,
    without_crowds,
)
from mspn.labels.reading import FileName, Text, check_form, field_of, image_size, plain_number, read_json, skeleton_of
from mspn.structures.boxes import Box
from mspn.structures.shapes import Float
from mspn.structures.skeleton import AI_CHALLENGER_14, LSP_14, Skeleton


def read_lsp(path: Path, _skeleton: Skeleton | None = None) -> LabeledSet:
    """Read joints.mat of LSP (3 x 14 x N) or of LSPET (14 x 3 x N); positions are taken as they are.

    LSP's third row says that a keypoint is occluded. LSPET's third column says that one is visible; where it does
    not, there is no position, and the keypoint is unlabeled. Images are im0001.jpg, ... and im00001.jpg, ...

    Raises:
        AnnotationError: if the file cannot be read or is of another form.
    """
    joints = np.asarray(read_mat(path, "joints"))
    joints = joints.reshape(*joints.shape, 1) if joints.ndim == 2 else joints  # one person comes without the axis
    shape = joints.shape[:2]
    if shape not in ((3, 14), (14, 3)) or joints.ndim != 3 or not np.issubdtype(joints.dtype, np.number):
        raise AnnotationError(f"{path}: joints are {joints.shape}, not 3 x 14 x N (LSP) or 14 x 3 x N (LSPET)")
    if not np.isfinite(joints).all():
        raise AnnotationError(f"{path} has positions that are not finite numbers")
    if shape == (3, 14):
        keypoints = joints.transpose(2, 1, 0).astype(np.float64)
        keypoints[..., 2] = np.where(keypoints[..., 2] > 0, 1, 2)
        digits = 4
    else:
        keypoints = joints.transpose(2, 0, 1).astype(np.float64)
        keypoints[..., 2] = np.where(keypoints[..., 2] > 0, 2, 0)
        keypoints[keypoints[..., 2] == 0] = 0
        digits = 5
    numbers = range(1, len(keypoints) + 1)
    return LabeledSet(
        LSP_14,
        [LabeledImage(number, f"im{number:0{digits}}.jpg") for number in numbers],
        [LabeledPerson(number, number, rows, box=None) for number, rows in zip(numbers, keypoints, strict=True)],
    )


_OCHUMAN_VISIBILITY = {0: 0, 1: 2, 2: 2, 3: 1}
"""OCHuman's (missing, visible, hidden by oneself, hidden by others) to COCO's, as their own conversion does it."""


class _OCHumanPerson(BaseModel):
    model_config = ConfigDict(extra="allow")

    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    keypoints: list[FiniteFloat] | None = None


class _OCHumanImage(BaseModel):
    model_config = ConfigDict(extra="allow")

    file_name: FileName
    width: int
    height: int
    annotations: list[_OCHumanPerson]


class _OCHumanFile(BaseModel):
    keypoint_names: list[Text]
    images: list[_OCHumanImage]


def read_ochuman(path: Path, skeleton: Skeleton | None = None) -> LabeledSet:
    """Read the original file; images and people are numbered from 1 on.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong.
    """
    file = check_form(path, read_json(path), _OCHumanFile, "OCHuman's original JSON")
    names = file.keypoint_names
    images: list[LabeledImage] = []
    people: list[LabeledPerson] = []
    for number, image in enumerate(file.images, start=1):
        size = image_size(image.width, image.height, f"{path}: image {image.file_name}")
        images.append(LabeledImage(number, image.file_name, size, image.model_extra or {}))
        for person in image.annotations:
            left, top, right, bottom = person.bbox
            people.append(
                LabeledPerson(
                    id=len(people) + 1,
                    image_id=number,
                    keypoints_image=_ochuman_keypoints(person, len(names), f"{path}: {image.file_name}"),
                    box=Box(left, top, right - left, bottom - top),
                    extra=person.model_extra or {},
                )
            )
    return LabeledSet(skeleton_of(path, names, known=skeleton), images, people)


def _ochuman_keypoints(person: _OCHumanPerson, count: int, where: str) -> Float[np.ndarray, "K 3"]:
    if person.keypoints is None:
        return np.zeros((count, 3))
    if len(person.keypoints) != 3 * count:
        raise AnnotationError(f"{where} has {len(person.keypoints)} keypoint numbers, not 3 x {count}")
    keypoints = np.array(person.keypoints).reshape(count, 3)
    if not np.isin(keypoints[:, 2], list(_OCHUMAN_VISIBILITY)).all():
        raise AnnotationError(f"{where} has a visibility that is none of 0, 1, 2, 3; is it OCHuman's original JSON?")
    keypoints[:, 2] = [_OCHUMAN_VISIBILITY[int(value)] for value in keypoints[:, 2]]
    return keypoints


_MIRROR = 3
"""Their visibility (1 visible, 2 occluded, 3 not labeled) and COCO's add up to this."""


class _AIChallengerImage(BaseModel):
    model_config = ConfigDict(extra="allow")

    image_id: FileName
    human_annotations: dict[str, tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]]
    keypoint_annotations: dict[str, list[FiniteFloat]]


def read_ai_challenger(path: Path, _skeleton: Skeleton | None = None) -> LabeledSet:
    """Read an annotation file; images and people are numbered from 1 on.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong.
    """
    rows = check_form(path, read_json(path), list[_AIChallengerImage], "AI Challenger's list of images")
    images: list[LabeledImage] = []
    people: list[LabeledPerson] = []
    for image_id, row in enumerate(rows, start=1):
        images.append(LabeledImage(image_id, f"{row.image_id}.jpg", extra=row.model_extra or {}))
        humans = row.human_annotations.keys() | row.keypoint_annotations.keys()
        for human in sorted(humans, key=lambda name: (len(name), name)):  # human2 before human10
            people.append(
                LabeledPerson(
                    id=len(people) + 1,
                    image_id=image_id,
                    keypoints_image=_ai_challenger_keypoints(row, human, path),
                    box=_box_of_corners(row.human_annotations.get(human)),
                    extra={"human": human},
                )
            )
    return LabeledSet(AI_CHALLENGER_14, images, people)


def write_ai_challenger(labels: LabeledSet, path: Path) -> None:
    """Write an annotation file; people are human1, human2, ... where their labels do not say otherwise."""
    labels = without_crowds(to_skeleton(labels, AI_CHALLENGER_14, path), path)
    warn_dropped_fields(labels, path, people=("human",), images=("url",))
    others = sum(not image.file_name.endswith(".jpg") for image in labels.images)
    warn_dropped(path, others, "images are not .jpg, as the format takes for granted")
    rows: dict[int, dict[str, Any]] = {}
    for image in labels.images:
        name = str(PurePosixPath(image.file_name).with_suffix(""))
        fields = {key: value for key, value in image.extra.items() if key == "url"}
        rows[image.id] = {**fields, "image_id": name, "human_annotations": {}, "keypoint_annotations": {}}
    for person in labels.people:
        row = rows[person.image_id]
        human = field_of(person.extra, "human", str) or f"human{len(row['keypoint_annotations']) + 1}"
        keypoints = person.keypoints_image.copy()
        keypoints[:, 2] = _MIRROR - keypoints[:, 2]
        row["keypoint_annotations"][human] = [plain_number(value) for value in keypoints.ravel().tolist()]
        if person.box is not None:
            left, top, width, height = person.box
            corners = (left, top, left + width, top + height)
            row["human_annotations"][human] = [plain_number(value) for value in corners]
    write_text(path, json.dumps(list(rows.values())) + "\n")


def _ai_challenger_keypoints(row: _AIChallengerImage, human: str, path: Path) -> Float[np.ndarray, "14 3"]:
    numbers = row.keypoint_annotations.get(human)
    count = len(AI_CHALLENGER_14.keypoints)
    if numbers is None:
        return np.zeros((count, 3))
    where = f"{path}: {human} of {row.image_id}"
    if len(numbers) != 3 * count:
        raise AnnotationError(f"{where} has {len(numbers)} keypoint numbers, not 3 x {count}")
    keypoints = np.array(numbers).reshape(count, 3)
    if not np.isin(keypoints[:, 2], (1, 2, 3)).all():
        raise AnnotationError(f"{where} has a visibility that is none of 1, 2, 3; is it AI Challenger's file?")
    keypoints[:, 2] = _MIRROR - keypoints[:, 2]
    return keypoints


def _box_of_corners(corners: tuple[float, float, float, float] | None) -> Box | None:
    if corners is None:
        return None
    left, top, right, bottom = corners
    return Box(left, top, right - left, bottom - top)
