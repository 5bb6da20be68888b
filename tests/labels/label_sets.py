"""Labels that tests write and read back."""

from typing import Any

import numpy as np

from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet
from mspn.structures.boxes import Box, Size
from mspn.structures.skeleton import Skeleton


def two_people(skeleton: Skeleton, **person: Any) -> LabeledSet:
    """Two people in the first of two images of 200x100 pixels; the second one's first keypoints are unlabeled."""
    count = len(skeleton.keypoints)
    first = np.column_stack([np.arange(count) + 10.25, np.arange(count) + 20.5, np.full(count, 2)])
    second = first + np.array([50, 1, 0])
    second[:3] = 0
    boxes = (Box(5.5, 10, 40, 80), Box(55.5, 11, 41, 60.25))
    people = [
        LabeledPerson(number, 1, keypoints, box, **person)
        for number, (keypoints, box) in enumerate(zip((first, second), boxes, strict=True), start=1)
    ]
    images = [LabeledImage(1, "one.jpg", Size(100, 200)), LabeledImage(2, "more/two.jpg", Size(100, 200))]
    return LabeledSet(skeleton, images, people)


def assert_same(ours: LabeledSet, theirs: LabeledSet, atol: float = 0) -> None:
    """Images, people and everything said of them are equal, positions up to `atol` pixels."""
    assert ours.skeleton == theirs.skeleton
    assert list(ours.images) == list(theirs.images)
    assert dict(ours.extra) == dict(theirs.extra)
    assert_same_people(ours, theirs, atol)
    for one, other in zip(ours.people, theirs.people, strict=True):
        assert (one.area, one.is_crowd, dict(one.extra)) == (other.area, other.is_crowd, dict(other.extra))


def assert_same_people(ours: LabeledSet, theirs: LabeledSet, atol: float = 0) -> None:
    """The same people by id and image, with equal boxes and keypoints up to `atol` pixels."""
    assert [(one.id, one.image_id) for one in ours.people] == [(one.id, one.image_id) for one in theirs.people]
    for one, other in zip(ours.people, theirs.people, strict=True):
        np.testing.assert_allclose(one.keypoints_image, other.keypoints_image, rtol=0, atol=atol)
        assert (one.box is None) == (other.box is None)
        if one.box is not None and other.box is not None:
            np.testing.assert_allclose(one.box, other.box, rtol=0, atol=atol)
