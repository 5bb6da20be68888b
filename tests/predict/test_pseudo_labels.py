from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from mspn.errors import InvalidValueError
from mspn.labels.label_set import IGNORED
from mspn.predict.pseudo_labels import AgreementRule, common_skeleton, compare_views, label_people, select_boxes
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image
from mspn.structures.skeleton import COCO_17, MPII_16

IMAGE = Image("photo.jpg", np.zeros((300, 400, 3), np.uint8))
BOX = Box(100, 50, 100, 200)
NOSE, LEFT_WRIST, RIGHT_WRIST = 0, 9, 10
# Everybody's right keypoints are at x = 110, the left ones at 190, as facing the camera; y counts the keypoints.
POINTS = np.array(
    [[150 + 40 * (("left" in name) - ("right" in name)), 60 + 10 * k] for k, name in enumerate(COCO_17.keypoints)],
    float,
)


@dataclass
class FixedTeacher:
    """Knows where everybody's keypoints are, in the image or its mirror image; some of them elsewhere."""

    skeleton = COCO_17
    off: dict[int, tuple[float, float]] = field(default_factory=dict)
    """By how much, in the image alone."""
    scores: np.ndarray = field(default_factory=lambda: np.full(17, 0.8))
    asked: list[list[Box]] = field(default_factory=list)

    def estimate(self, image: Image, boxes: Sequence[Box]) -> np.ndarray:
        self.asked.append(list(boxes))
        points = POINTS.copy()
        if len(self.asked) % 2:  # the mirror image comes first
            points = points[COCO_17.mirror_order]
            points[:, 0] = 399 - points[:, 0]
        else:
            for keypoint, shift in self.off.items():
                points[keypoint] += shift
        return np.tile(np.column_stack([points, self.scores]), (len(boxes), 1, 1))


def label(*teachers: FixedTeacher, **rule: float):
    return label_people(IMAGE, [Detection(BOX, 0.9)], teachers, AgreementRule(**rule))


def test_views_are_the_image_and_its_mirror_image():
    teacher = FixedTeacher()

    agreement = compare_views(IMAGE, [BOX], [teacher])

    # The box from 100 to 200 reaches from 199 to 299 of 400 columns in the mirror, since column 0 becomes 399.
    assert teacher.asked == [[Box(199, 50, 100, 200)], [BOX]]
    np.testing.assert_allclose(agreement.points_image, [POINTS])
    np.testing.assert_allclose(agreement.similarity, 1)
    np.testing.assert_allclose(agreement.scores, 0.8)


def test_agreement_is_the_similarity_of_the_furthest_view_with_the_mean():
    # Three views at a place and one 40 pixels off: the mean is 10 away from the three and 30 from the one.
    agreement = compare_views(IMAGE, [BOX], [FixedTeacher(off={LEFT_WRIST: (0, 40)}), FixedTeacher()])

    # COCO's sigma of a wrist is 0.062, the area 0.53 of 100 x 200.
    expected = np.exp(-(30**2) / (2 * 0.53 * 100 * 200 * (2 * 0.062) ** 2))
    assert agreement.similarity[0, LEFT_WRIST] == pytest.approx(expected)
    np.testing.assert_allclose(agreement.points_image[0, LEFT_WRIST], POINTS[LEFT_WRIST] + (0, 10))
    np.testing.assert_allclose(np.delete(agreement.similarity[0], LEFT_WRIST), 1)


def test_what_teachers_agree_on_is_labeled_and_the_rest_is_ignored():
    (person,) = label(FixedTeacher(off={LEFT_WRIST: (0, 90)}), agreement=0.5)

    assert person.keypoints_image[RIGHT_WRIST].tolist() == [*POINTS[RIGHT_WRIST], 2]
    assert person.keypoints_image[LEFT_WRIST].tolist() == [0, 0, 0]
    assert person.extra[IGNORED] == ["left_wrist"]
    assert person.box == BOX


def test_keypoints_with_low_scores_or_outside_the_image_do_not_count():
    scores = np.full(17, 0.8)
    scores[NOSE] = 0.25
    (person,) = label(FixedTeacher(scores=scores), FixedTeacher(off={}), min_score=0.6)
    outside = Box(100, 50, 100, 200)

    assert person.extra[IGNORED] == ["nose"]  # (0.25 + 0.8) / 2 is below 0.6
    small = Image("small.jpg", np.zeros((215, 400, 3), np.uint8))  # ankles are at 210 and 220
    (cut,) = label_people(small, [Detection(outside, 0.9)], [FixedTeacher()], AgreementRule())
    assert cut.extra[IGNORED] == ["right_ankle"]


def test_a_person_with_too_few_keypoints_is_left_out():
    off = dict.fromkeys(range(11), (0.0, 90.0))

    assert len(label(FixedTeacher(off=off), min_keypoints=6)) == 1
    assert label(FixedTeacher(off=off), min_keypoints=7) == []


def test_boxes_that_are_small_doubtful_or_double_are_left_out():
    detections = [
        Detection(Box(0, 0, 100, 200), 0.9),
        Detection(Box(5, 0, 100, 200), 0.8),  # covered by the first to nine tenths
        Detection(Box(200, 0, 100, 200), 0.4),
        Detection(Box(300, 0, 15, 200), 0.9),
        Detection(Box(300, 0, 40, 55), 0.9),
        Detection(Box(60, 0, 100, 200), 0.6),
    ]

    assert select_boxes(detections, 0.5) == [detections[0], detections[5]]


def test_teachers_of_other_keypoints_are_refused():
    other = FixedTeacher()
    other.skeleton = MPII_16

    with pytest.raises(InvalidValueError, match="teachers of different keypoints cannot agree: coco-17, mpii-16"):
        common_skeleton([FixedTeacher(), other])
