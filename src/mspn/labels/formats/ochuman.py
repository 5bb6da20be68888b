"""OCHuman's original JSON; what its authors converted for COCO's evaluation is read as COCO."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, FiniteFloat

from mspn.errors import AnnotationError
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet
from mspn.labels.reading import FileName, Text, check_form, image_size, read_json, skeleton_of
from mspn.structures.boxes import Box
from mspn.structures.skeleton import Skeleton

_VISIBILITY = {0: 0, 1: 2, 2: 2, 3: 1}
"""OCHuman's (missing, visible, hidden by oneself, hidden by others) to COCO's, as their own conversion does it."""


class _Person(BaseModel):
    model_config = ConfigDict(extra="allow")

    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    keypoints: list[FiniteFloat] | None = None


class _Image(BaseModel):
    model_config = ConfigDict(extra="allow")

    file_name: FileName
    width: int
    height: int
    annotations: list[_Person]


class _File(BaseModel):
    keypoint_names: list[Text]
    images: list[_Image]


def read_ochuman(path: Path, skeleton: Skeleton | None = None) -> LabeledSet:
    """Read the original file; images and people are numbered from 1 on.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong.
    """
    file = check_form(path, read_json(path), _File, "OCHuman's original JSON")
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
                    keypoints_image=_keypoints(person, len(names), f"{path}: {image.file_name}"),
                    box=Box(left, top, right - left, bottom - top),
                    extra=person.model_extra or {},
                )
            )
    return LabeledSet(skeleton_of(path, names, known=skeleton), images, people)


def _keypoints(person: _Person, count: int, where: str) -> Float[np.ndarray, "K 3"]:
    if person.keypoints is None:
        return np.zeros((count, 3))
    if len(person.keypoints) != 3 * count:
        raise AnnotationError(f"{where} has {len(person.keypoints)} keypoint numbers, not 3 x {count}")
    keypoints = np.array(person.keypoints).reshape(count, 3)
    if not np.isin(keypoints[:, 2], list(_VISIBILITY)).all():
        raise AnnotationError(f"{where} has a visibility that is none of 0, 1, 2, 3; is it OCHuman's original JSON?")
    keypoints[:, 2] = [_VISIBILITY[int(value)] for value in keypoints[:, 2]]
    return keypoints
