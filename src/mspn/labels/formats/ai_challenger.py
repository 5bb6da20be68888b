"""AI Challenger's keypoint JSON: a list of images, boxes by their corners, 14 keypoints."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, FiniteFloat

from mspn.errors import AnnotationError
from mspn.io.files import write_text
from mspn.labels.conversion_report import to_skeleton, warn_dropped, warn_dropped_fields, without_crowds
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet
from mspn.labels.reading import FileName, check_form, field_of, plain_number, read_json
from mspn.structures.boxes import Box
from mspn.structures.skeleton import AI_CHALLENGER_14, Skeleton

_MIRROR = 3
"""Their visibility (1 visible, 2 occluded, 3 not labeled) and COCO's add up to this."""


class _Image(BaseModel):
    model_config = ConfigDict(extra="allow")

    image_id: FileName
    human_annotations: dict[str, tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]]
    keypoint_annotations: dict[str, list[FiniteFloat]]


def read_ai_challenger(path: Path, _skeleton: Skeleton | None = None) -> LabeledSet:
    """Read an annotation file; images and people are numbered from 1 on.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong.
    """
    rows = check_form(path, read_json(path), list[_Image], "AI Challenger's list of images")
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
                    keypoints_image=_keypoints(row, human, path),
                    box=_box(row.human_annotations.get(human)),
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


def _keypoints(row: _Image, human: str, path: Path) -> Float[np.ndarray, "14 3"]:
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


def _box(corners: tuple[float, float, float, float] | None) -> Box | None:
    if corners is None:
        return None
    left, top, right, bottom = corners
    return Box(left, top, right - left, bottom - top)
