"""MPII's original annotations: mpii_human_pose_v1_u12_1.mat."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mspn.data.label_files import AnnotationError
from mspn.data.labels import LabelledPerson, LabelledPicture, LabelledSet
from mspn.data.mat_files import as_list, number_or_none, read_mat
from mspn.data.mpii import mpii_box
from mspn.records import Box
from mspn.skeleton import MPII_16, Skeleton


def read_mpii_mat(path: Path, _skeleton: Skeleton | None = None) -> LabelledSet:
    """Read pictures and people of training and test set, numbered from 1 on.

    Positions are counted from 1 in the file and from 0 here. A keypoint without a word on its visibility (as the
    head's) is taken for visible. `extra` of a picture says whether it is of the training set (`img_train`), that of
    a person has `center` and `scale` as in HRNet's JSON, and the `head_box`.

    Raises:
        AnnotationError: if the file cannot be read or is of another form.
    """
    release = read_mat(path, "RELEASE")
    annolist, is_train = (as_list(getattr(release, field, [])) for field in ("annolist", "img_train"))
    if not annolist or len(annolist) != len(is_train):
        raise AnnotationError(f"{path}: RELEASE has {len(annolist)} annolist and {len(is_train)} img_train entries")
    pictures: list[LabelledPicture] = []
    people: list[LabelledPerson] = []
    for number, (entry, train) in enumerate(zip(annolist, is_train, strict=True), start=1):
        name = getattr(getattr(entry, "image", None), "name", None)
        if not isinstance(name, str):
            raise AnnotationError(f"{path}: annolist entry {number} has no image.name; is it MPII's release 1?")
        pictures.append(LabelledPicture(number, name, extra={"img_train": int(train)}))
        for rect in as_list(getattr(entry, "annorect", np.array([]))):
            person = _person(rect, len(people) + 1, number, f"{path}: {name}")
            if person is not None:
                people.append(person)
    return LabelledSet(MPII_16, pictures, people)


def _person(rect: Any, number: int, picture_id: int, where: str) -> LabelledPerson | None:
    """None for an entry that says nothing, as the release has in some pictures."""
    position = getattr(rect, "objpos", None)
    x, y, scale = (
        number_or_none(getattr(owner, field, None))
        for owner, field in ((position, "x"), (position, "y"), (rect, "scale"))
    )
    points = getattr(rect, "annopoints", None)
    extra: dict[str, Any] = {}
    box: Box | None = None
    if x is not None and y is not None and scale is not None:
        extra |= {"center": [x, y], "scale": scale}
        box = mpii_box((x, y), scale)
    corners = [number_or_none(getattr(rect, field, None)) for field in ("x1", "y1", "x2", "y2")]
    if None not in corners:
        extra["head_box"] = corners
    keypoints = _keypoints(points, where)
    if not extra and not keypoints.any():
        return None
    return LabelledPerson(number, picture_id, keypoints, box, extra=extra)


def _keypoints(annopoints: Any, where: str) -> Float[np.ndarray, "16 3"]:
    keypoints = np.zeros((len(MPII_16.keypoints), 3))
    for point in as_list(getattr(annopoints, "point", np.array([]))):
        index, x, y = (number_or_none(getattr(point, field, None)) for field in ("id", "x", "y"))
        if index is None or x is None or y is None or index not in range(len(keypoints)):
            raise AnnotationError(f"{where} has a point without x and y, or whose id is not from 0 to 15")
        visible = number_or_none(getattr(point, "is_visible", None))
        keypoints[int(index)] = x - 1, y - 1, 1 if visible == 0 else 2
    return keypoints
