"""MPII's head boxes, which HRNet's JSON leaves out and PCKh needs."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from mspn.data.label_files import AnnotationError
from mspn.data.labels import LabelledSet
from mspn.data.mat_files import mat_variables, read_mat
from mspn.data.mpii_mat import read_mpii_mat

HEAD_BOX = "head_box"
"""Key in a person's `extra`: left, top, right, bottom in pixels, counted from 1 as MPII does."""

_FURTHEST_PX = 2.0
_MOST_OTHERS = 0.01
"""A file of the same people may have been corrected here and there; in another order nearly everyone differs."""


def with_head_boxes(labels: LabelledSet, path: Path) -> LabelledSet:
    """MPII's labels with the head boxes of another file, where it has them.

    Args:
        labels: of HRNet's JSON.
        path: the truth that comes with that JSON, `gt_valid.mat` of HRNet or `mpii_gt_val.mat` of MMPose, which lists
            the same people in the same order; or MPII's own .mat, whose people are found by picture and centre.

    Raises:
        AnnotationError: if the file is neither, or lists other people.
    """
    variables = mat_variables(path)
    if "headboxes_src" in variables:
        boxes = _boxes_in_order(labels, path)
    elif "RELEASE" in variables:
        boxes = _boxes_by_center(labels, path)
    else:
        raise AnnotationError(
            f"{path} has no head boxes (headboxes_src or RELEASE); give HRNet's gt_valid.mat or MPII's own .mat"
        )
    people = [
        person if box is None else replace(person, extra={**person.extra, HEAD_BOX: box})
        for person, box in zip(labels.people, boxes, strict=True)
    ]
    return replace(labels, people=people)


def _boxes_in_order(labels: LabelledSet, path: Path) -> list[list[float] | None]:
    corners = np.asarray(read_mat(path, "headboxes_src"), np.float64)  # 2 corners x 2 coordinates x N
    truth = np.asarray(read_mat(path, "pos_gt_src"), np.float64)  # K x 2 x N
    count, num_keypoints = len(labels.people), len(labels.skeleton.keypoints)
    if corners.size != 4 * count or truth.size != 2 * num_keypoints * count:
        raise AnnotationError(f"{path} has {corners.size // 4} head boxes, not {count}; is it of the same split?")
    labelled = np.stack([person.keypoints_image for person in labels.people])
    offset = truth.reshape(num_keypoints, 2, count).transpose(2, 0, 1) - 1 - labelled[..., :2]
    is_other = ((np.linalg.norm(offset, axis=2) > _FURTHEST_PX) & (labelled[..., 2] > 0)).any(1)
    if is_other.mean() > _MOST_OTHERS:
        raise AnnotationError(
            f"{path} has other keypoints for person {labels.people[int(is_other.argmax())].id};"
            " it must list the people of the labels in the same order"
        )
    return list(corners.reshape(4, count).T.tolist())


def _boxes_by_center(labels: LabelledSet, path: Path) -> list[list[float] | None]:
    release = read_mpii_mat(path)
    boxes = dict(zip(_places(release), (person.extra.get(HEAD_BOX) for person in release.people), strict=True))
    return [boxes.get(place) for place in _places(labels)]


def _places(labels: LabelledSet) -> list[tuple[object, ...]]:
    """Picture and centre of everyone, by which two files of MPII name the same person."""
    names = {picture.id: picture.file_name for picture in labels.pictures}
    return [(names[person.picture_id], *person.extra.get("center", ())) for person in labels.people]
