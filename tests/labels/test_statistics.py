from dataclasses import replace

import numpy as np

from mspn.labels.label_set import LabeledImage
from mspn.labels.label_table import KeypointCount, count_labels
from mspn.structures.boxes import Box, Size
from tests.labeled_sets import sound_set, with_keypoints, with_person


def test_people_and_images_are_counted():
    labels = with_person(sound_set(), 12, is_crowd=True)
    labels = replace(labels, images=[*labels.images, LabeledImage(7, "7.png")])

    statistics = count_labels(labels, {7: Size(height=900, width=100)})

    assert (statistics.images, statistics.images_without_people) == (7, 1)
    assert (statistics.people, statistics.crowds) == (11, 1)
    # 0, 1, 2, 2, 2, 2, 2 in an image.
    assert statistics.people_per_image == [0, 0, 2, 2, 2, 2, 2]
    assert statistics.image_widths_px == [100, 100, 300, 300, 300, 300, 300]
    assert statistics.image_heights_px == [200, 200, 200, 200, 200, 900, 900]


def test_keypoints_are_counted_by_visibility_and_by_person():
    labels = with_keypoints(sound_set(), 1, {"nose": (60, 39, 1), "left_eye": (0, 0, 0)})

    statistics = count_labels(labels, {})

    assert statistics.keypoints["nose"] == KeypointCount(visible=11, occluded=1, unlabeled=0)
    assert statistics.keypoints["left_eye"] == KeypointCount(visible=11, occluded=0, unlabeled=1)
    assert statistics.people_with_keypoints == [0] * 16 + [1, 11]
    assert statistics.keypoints_per_person == [16, 17, 17, 17, 17, 17, 17]


def test_box_heights_leave_out_who_has_no_box():
    labels = with_person(with_person(sound_set(), 1, box=None), 2, box=Box(0, 0, 10, 30))

    least, *_, median, _, _, most = count_labels(labels, {}).box_heights_px

    assert (least, median, most) == (30, 150, 150)


def test_a_set_of_nobody_has_empty_distributions():
    statistics = count_labels(replace(sound_set(), people=[], images=[]), {})

    assert (statistics.people, statistics.box_heights_px, statistics.people_per_image) == (0, [], [])
    assert statistics.people_with_keypoints == list(np.zeros(18, int))
