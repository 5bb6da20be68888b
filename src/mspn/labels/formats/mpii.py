"""MPII's annotations: the authors' MATLAB file with the head boxes that PCKh needs, and the JSON that HRNet uses."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, FiniteFloat

from mspn.errors import AnnotationError
from mspn.io.files import write_text
from mspn.io.matlab import as_list, number_or_none, read_mat, read_variables, take_variable
from mspn.labels.label_set import (
    LabeledImage,
    LabeledPerson,
    LabeledSet,
    box_around,
    to_skeleton,
    warn_dropped,
    warn_dropped_fields,
    warn_occluded,
    without_crowds,
)
from mspn.labels.reading import FileName, check_form, field_of, plain_number, read_json
from mspn.structures.boxes import Box
from mspn.structures.shapes import Float
from mspn.structures.skeleton import MPII_16, Skeleton

REFERENCE_PX = 200
"""Height in pixels of a person of scale 1."""
_LOWER_BY = 15
"""The released code and HRNet move the center, which lies on the chest, down by this times the scale."""
_NO_CENTER = -1


class _Person(BaseModel):
    model_config = ConfigDict(extra="allow")

    image: FileName
    center: tuple[FiniteFloat, FiniteFloat]
    scale: FiniteFloat
    joints: list[tuple[FiniteFloat, FiniteFloat]] | None = None
    joints_vis: list[FiniteFloat] | None = None


def read_mpii(path: Path, _skeleton: Skeleton | None = None) -> LabeledSet:
    """Read an annotation file; images, in the order of their first person, and people are numbered from 1 on.

    Positions are counted from 1 in the file and from 0 here. Who has no keypoints (the test set) has none labeled.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong.
    """
    rows = check_form(path, read_json(path), list[_Person], "MPII in HRNet's JSON")
    numbers: dict[str, int] = {}
    people = []
    for number, row in enumerate(rows, start=1):
        people.append(
            LabeledPerson(
                id=number,
                image_id=numbers.setdefault(row.image, len(numbers) + 1),
                keypoints_image=_keypoints(row, f"{path}: entry {number - 1}"),
                box=mpii_box(row.center, row.scale),
                extra={"center": list(row.center), "scale": row.scale, **(row.model_extra or {})},
            )
        )
    return LabeledSet(MPII_16, [LabeledImage(number, name) for name, number in numbers.items()], people)


def mpii_box(center: Sequence[float], scale: float) -> Box | None:
    """The square that the released code cuts out before it adds a margin, in pixels counted from 0.

    Args:
        center: (x, y) as the file says it, counted from 1; an x of -1 stands for none.
        scale: height of the person over 200 pixels.
    """
    if center[0] == _NO_CENTER or scale <= 0:
        return None
    side = REFERENCE_PX * scale
    return Box(center[0] - 1 - side / 2, center[1] + _LOWER_BY * scale - 1 - side / 2, side, side)


def write_mpii(labels: LabeledSet, path: Path) -> None:
    """Write an annotation file; center and scale of other formats' people are those of their box's longer side."""
    labels = without_crowds(to_skeleton(labels, MPII_16, path), path)
    warn_dropped_fields(labels, path, people=[key for person in labels.people for key in person.extra])
    warn_occluded(labels, path)
    boxes = [person.box for person in labels.people if person.box is not None and not _center(person)]
    warn_dropped(path, sum(box.width != box.height for box in boxes), "boxes become squares of their longer side")
    in_use = {person.image_id for person in labels.people}
    names = {image.id: image.file_name for image in labels.images}
    warn_dropped(path, len(names.keys() - in_use), "images without people are left out, the format lists people")
    write_text(path, json.dumps([_row(person, names[person.image_id]) for person in labels.people]) + "\n")


def _row(person: LabeledPerson, image: str) -> dict[str, Any]:
    is_labeled = person.keypoints_image[:, 2] > 0
    joints = np.where(is_labeled[:, None], person.keypoints_image[:, :2] + 1, -1)
    return {
        **_center_and_scale(person),
        **person.extra,
        "image": image,
        "joints": [[plain_number(x), plain_number(y)] for x, y in joints.tolist()],
        "joints_vis": is_labeled.astype(int).tolist(),
    }


def _center_and_scale(person: LabeledPerson) -> dict[str, Any]:
    box = person.box or box_around(person.keypoints_image)
    if box is None:
        return {"center": [_NO_CENTER, _NO_CENTER], "scale": 0}
    scale = max(box.width, box.height) / REFERENCE_PX
    return {"center": [box.center[0] + 1, box.center[1] + 1 - _LOWER_BY * scale], "scale": scale}


def _keypoints(row: _Person, where: str) -> Float[np.ndarray, "16 3"]:
    count = len(MPII_16.keypoints)
    if row.joints is None or row.joints_vis is None:
        return np.zeros((count, 3))
    if not len(row.joints) == len(row.joints_vis) == count:
        raise AnnotationError(f"{where} has {len(row.joints)} joints and {len(row.joints_vis)} joints_vis, not {count}")
    is_labeled = np.array(row.joints_vis) > 0
    points = np.where(is_labeled[:, None], np.array(row.joints) - 1, 0)
    return np.column_stack([points, 2.0 * is_labeled])


def read_mpii_mat(path: Path, _skeleton: Skeleton | None = None) -> LabeledSet:
    """Read images and people of training and test set, numbered from 1 on.

    Positions are counted from 1 in the file and from 0 here. A keypoint without a word on its visibility (as the
    head's) is taken for visible. `extra` of an image says whether it is of the training set (`img_train`), that of
    a person has `center` and `scale` as in HRNet's JSON, and the `head_box`.

    Raises:
        AnnotationError: if the file cannot be read or is of another form.
    """
    return _parse_release(read_mat(path, "RELEASE"), path)


def _parse_release(release: Any, path: Path) -> LabeledSet:
    annolist, is_train = (as_list(getattr(release, field, [])) for field in ("annolist", "img_train"))
    if not annolist or len(annolist) != len(is_train):
        raise AnnotationError(f"{path}: RELEASE has {len(annolist)} annolist and {len(is_train)} img_train entries")
    images: list[LabeledImage] = []
    people: list[LabeledPerson] = []
    for number, (entry, train) in enumerate(zip(annolist, is_train, strict=True), start=1):
        name = getattr(getattr(entry, "image", None), "name", None)
        if not isinstance(name, str):
            raise AnnotationError(f"{path}: annolist entry {number} has no image.name; is it MPII's release 1?")
        images.append(LabeledImage(number, name, extra={"img_train": int(train)}))
        for rect in as_list(getattr(entry, "annorect", np.array([]))):
            person = _person(rect, len(people) + 1, number, f"{path}: {name}")
            if person is not None:
                people.append(person)
    return LabeledSet(MPII_16, images, people)


def _person(rect: Any, number: int, image_id: int, where: str) -> LabeledPerson | None:
    """None for an entry that says nothing, as the release has in some images."""
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
    keypoints = _read_joints(points, where)
    if not extra and not keypoints.any():
        return None
    return LabeledPerson(number, image_id, keypoints, box, extra=extra)


def _read_joints(annopoints: Any, where: str) -> Float[np.ndarray, "16 3"]:
    keypoints = np.zeros((len(MPII_16.keypoints), 3))
    for point in as_list(getattr(annopoints, "point", np.array([]))):
        index, x, y = (number_or_none(getattr(point, field, None)) for field in ("id", "x", "y"))
        if index is None or x is None or y is None or index not in range(len(keypoints)):
            raise AnnotationError(f"{where} has a point without x and y, or whose id is not from 0 to 15")
        visible = number_or_none(getattr(point, "is_visible", None))
        keypoints[int(index)] = x - 1, y - 1, 1 if visible == 0 else 2
    return keypoints


HEAD_BOX = "head_box"
"""Key in a person's `extra`: left, top, right, bottom in pixels, counted from 1 as MPII does."""

_MAX_PX = 2.0
_MAX_OTHERS = 0.01
"""A file of the same people may have been corrected here and there; in another order nearly everyone differs."""


def with_head_boxes(labels: LabeledSet, path: Path) -> LabeledSet:
    """MPII's labels with the head boxes of another file, where it has them.

    Args:
        labels: of HRNet's JSON.
        path: the ground truth beside that JSON, `gt_valid.mat` of HRNet or `mpii_gt_val.mat` of MMPose, which lists
            the same people in the same order; or MPII's own .mat, whose people are found by image and center.

    Raises:
        AnnotationError: if the file is neither, or lists other people.
    """
    variables = read_variables(path, "headboxes_src", "pos_gt_src", "RELEASE")
    if "headboxes_src" in variables:
        boxes = _boxes_in_order(labels, variables, path)
    elif "RELEASE" in variables:
        boxes = _boxes_by_center(labels, _parse_release(variables["RELEASE"], path))
    else:
        raise AnnotationError(
            f"{path} has no head boxes (headboxes_src or RELEASE); give HRNet's gt_valid.mat or MPII's own .mat"
        )
    people = [
        person if box is None else replace(person, extra={**person.extra, HEAD_BOX: box})
        for person, box in zip(labels.people, boxes, strict=True)
    ]
    return replace(labels, people=people)


def _boxes_in_order(labels: LabeledSet, variables: Mapping[str, Any], path: Path) -> list[list[float] | None]:
    corners = np.asarray(variables["headboxes_src"], np.float64)  # 2 corners x 2 coordinates x N
    ground_truth = np.asarray(take_variable(variables, "pos_gt_src", path), np.float64)  # K x 2 x N
    count, num_keypoints = len(labels.people), len(labels.skeleton.keypoints)
    if corners.size != 4 * count or ground_truth.size != 2 * num_keypoints * count:
        raise AnnotationError(f"{path} has {corners.size // 4} head boxes, not {count}; is it of the same split?")
    labeled = np.stack([person.keypoints_image for person in labels.people])
    offset = ground_truth.reshape(num_keypoints, 2, count).transpose(2, 0, 1) - 1 - labeled[..., :2]
    is_other = ((np.linalg.norm(offset, axis=2) > _MAX_PX) & (labeled[..., 2] > 0)).any(1)
    if is_other.mean() > _MAX_OTHERS:
        raise AnnotationError(
            f"{path} has other keypoints for person {labels.people[int(is_other.argmax())].id};"
            " it must list the people of the labels in the same order"
        )
    return list(corners.reshape(4, count).T.tolist())


def _boxes_by_center(labels: LabeledSet, release: LabeledSet) -> list[list[float] | None]:
    boxes = dict(zip(_person_keys(release), (person.extra.get(HEAD_BOX) for person in release.people), strict=True))
    return [boxes.get(key) for key in _person_keys(labels)]


def _person_keys(labels: LabeledSet) -> list[tuple[object, ...]]:
    """Image and center of everyone, by which two files of MPII name the same person."""
    names = {image.id: image.file_name for image in labels.images}
    return [(names[person.image_id], *_center(person)) for person in labels.people]


def _center(person: LabeledPerson) -> tuple[float, ...]:
    return field_of(person.extra, "center", tuple[float, float]) or ()


def head_box_of(person: LabeledPerson) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom of the head in pixels, counted from 1 as MPII does, where it is labeled."""
    return field_of(person.extra, HEAD_BOX, tuple[float, float, float, float])
