"""Labels that tests write and read back."""

from typing import Any

import numpy as np

from mspn.data.labels import LabelledPerson, LabelledPicture, LabelledSet
from mspn.records import Box, Size
from mspn.skeleton import Skeleton


def two_people(skeleton: Skeleton, **person: Any) -> LabelledSet:
    """Two people in the first of two pictures of 200x100 pixels; the second one's first keypoints are unlabelled."""
    count = len(skeleton.keypoints)
    first = np.column_stack([np.arange(count) + 10.25, np.arange(count) + 20.5, np.full(count, 2)])
    second = first + np.array([50, 1, 0])
    second[:3] = 0
    boxes = (Box(5.5, 10, 40, 80), Box(55.5, 11, 41, 60.25))
    people = [
        LabelledPerson(number, 1, keypoints, box, **person)
        for number, (keypoints, box) in enumerate(zip((first, second), boxes, strict=True), start=1)
    ]
    pictures = [LabelledPicture(1, "one.jpg", Size(100, 200)), LabelledPicture(2, "more/two.jpg", Size(100, 200))]
    return LabelledSet(skeleton, pictures, people)


def assert_same(ours: LabelledSet, theirs: LabelledSet, atol: float = 0) -> None:
    """Pictures, people and everything said of them are equal, positions up to `atol` pixels."""
    assert ours.skeleton == theirs.skeleton
    assert list(ours.pictures) == list(theirs.pictures)
    assert dict(ours.extra) == dict(theirs.extra)
    assert_same_people(ours, theirs, atol)
    for one, other in zip(ours.people, theirs.people, strict=True):
        assert (one.area, one.is_crowd, dict(one.extra)) == (other.area, other.is_crowd, dict(other.extra))


def assert_same_people(ours: LabelledSet, theirs: LabelledSet, atol: float = 0) -> None:
    """The same people by id and picture, with equal boxes and keypoints up to `atol` pixels."""
    assert [(one.id, one.picture_id) for one in ours.people] == [(one.id, one.picture_id) for one in theirs.people]
    for one, other in zip(ours.people, theirs.people, strict=True):
        np.testing.assert_allclose(one.keypoints_image, other.keypoints_image, rtol=0, atol=atol)
        assert (one.box is None) == (other.box is None)
        if one.box is not None and other.box is not None:
            np.testing.assert_allclose(one.box, other.box, rtol=0, atol=atol)
