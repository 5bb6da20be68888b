from collections.abc import Sequence

import numpy as np
import pytest

from mspn.errors import AnnotationError
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet, split_by_image
from mspn.structures.skeleton import COCO_17


def a_set(names: Sequence[str]) -> LabeledSet:
    """An image for each name, and a person of the same number in it."""
    images = [LabeledImage(number, name) for number, name in enumerate(names)]
    people = [LabeledPerson(100 + number, number, np.ones((17, 3)), None) for number in range(len(names))]
    return LabeledSet(COCO_17, images, people)


def names_of(labels: LabeledSet) -> set[str]:
    return {image.file_name for image in labels.images}


def test_each_image_is_in_one_part_with_its_people():
    train, val = split_by_image(a_set([f"{number}.jpg" for number in range(20)]), 0.25, seed=1)

    assert (len(train.images), len(val.images)) == (15, 5)
    assert not names_of(train) & names_of(val)
    for part in (train, val):
        assert {person.image_id for person in part.people} == {image.id for image in part.images}


def test_the_seed_decides_whatever_the_order_of_the_images():
    names = [f"{number}.jpg" for number in range(20)]

    drawn = [names_of(split_by_image(a_set(order), 0.25, seed)[1]) for order, seed in ((names, 1), (names[::-1], 1))]

    assert drawn[0] == drawn[1]
    assert drawn[0] != names_of(split_by_image(a_set(names), 0.25, 2)[1])


def test_a_set_that_has_grown_is_split_much_as_before():
    def held_out(count: int) -> set[str]:
        return names_of(split_by_image(a_set([f"{number}.jpg" for number in range(count)]), 0.2, seed=0)[1])

    # Drawn anew, the 40 of 200 would have two of the ten in common.
    assert len(held_out(50) & held_out(200)) >= 8


def test_two_entries_of_one_file_stay_together_and_no_part_is_empty():
    for share in (0.001, 0.999):
        parts = split_by_image(a_set(["a.jpg", "b.jpg", "a.jpg"]), share, 0)

        assert sorted(len(part.images) for part in parts) == [1, 2]


def test_one_image_cannot_be_split_nor_people_of_no_image():
    with pytest.raises(AnnotationError, match="1 image cannot be split"):
        split_by_image(a_set(["a.jpg", "a.jpg"]), 0.5, 0)
    labels = a_set(["a.jpg", "b.jpg"])
    stray = LabeledSet(COCO_17, labels.images, [LabeledPerson(7, 9, np.ones((17, 3)), None)])
    with pytest.raises(AnnotationError, match="person 7 is in image 9, which is not in the labels"):
        split_by_image(stray, 0.5, 0)
