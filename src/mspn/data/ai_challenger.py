"""AI Challenger's keypoint JSON: a list of pictures, boxes by their corners, 14 keypoints."""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, FiniteFloat

from mspn.data.label_files import AnnotationError, check_form, plain_number, read_json
from mspn.data.labels import LabelledPerson, LabelledPicture, LabelledSet
from mspn.data.lost import report_fields, report_lost, to_skeleton, without_crowds
from mspn.files import write_text
from mspn.records import Box
from mspn.skeleton import AI_CHALLENGER_14, Skeleton

_MIRROR = 3
"""Their visibility (1 visible, 2 occluded, 3 not labelled) and COCO's add up to this."""


class _Image(BaseModel):
    model_config = ConfigDict(extra="allow")

    image_id: str
    human_annotations: dict[str, tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]]
    keypoint_annotations: dict[str, list[FiniteFloat]]


def read_ai_challenger(path: Path, _skeleton: Skeleton | None = None) -> LabelledSet:
    """Read an annotation file; pictures and people are numbered from 1 on.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong.
    """
    images = check_form(path, read_json(path), list[_Image], "AI Challenger's list of pictures")
    pictures: list[LabelledPicture] = []
    people: list[LabelledPerson] = []
    for picture_id, image in enumerate(images, start=1):
        pictures.append(LabelledPicture(picture_id, f"{image.image_id}.jpg", extra=image.model_extra or {}))
        humans = image.human_annotations.keys() | image.keypoint_annotations.keys()
        for human in sorted(humans, key=lambda name: (len(name), name)):  # human2 before human10
            people.append(
                LabelledPerson(
                    id=len(people) + 1,
                    picture_id=picture_id,
                    keypoints_image=_keypoints(image, human, path),
                    box=_box(image.human_annotations.get(human)),
                    extra={"human": human},
                )
            )
    return LabelledSet(AI_CHALLENGER_14, pictures, people)


def write_ai_challenger(labels: LabelledSet, path: Path) -> None:
    """Write an annotation file; people are human1, human2, ... where their labels do not say otherwise."""
    labels = without_crowds(to_skeleton(labels, AI_CHALLENGER_14, path), path)
    report_fields(labels, path, people=("human",), pictures=("url",))
    others = sum(not picture.file_name.endswith(".jpg") for picture in labels.pictures)
    report_lost(path, others, "pictures are not .jpg, as the format takes for granted")
    images: dict[int, dict[str, Any]] = {}
    for picture in labels.pictures:
        name = str(PurePosixPath(picture.file_name).with_suffix(""))
        fields = {key: value for key, value in picture.extra.items() if key == "url"}
        images[picture.id] = {**fields, "image_id": name, "human_annotations": {}, "keypoint_annotations": {}}
    for person in labels.people:
        image = images[person.picture_id]
        human = person.extra.get("human") or f"human{len(image['keypoint_annotations']) + 1}"
        keypoints = person.keypoints_image.copy()
        keypoints[:, 2] = _MIRROR - keypoints[:, 2]
        image["keypoint_annotations"][human] = [plain_number(value) for value in keypoints.ravel().tolist()]
        if person.box is not None:
            left, top, width, height = person.box
            corners = (left, top, left + width, top + height)
            image["human_annotations"][human] = [plain_number(value) for value in corners]
    write_text(path, json.dumps(list(images.values())) + "\n")


def _keypoints(image: _Image, human: str, path: Path) -> Float[np.ndarray, "14 3"]:
    numbers = image.keypoint_annotations.get(human)
    count = len(AI_CHALLENGER_14.keypoints)
    if numbers is None:
        return np.zeros((count, 3))
    where = f"{path}: {human} of {image.image_id}"
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
