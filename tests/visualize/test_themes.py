import pytest

from mspn.structures.skeleton import COCO_17, Skeleton
from mspn.visualize.themes import THEMES, color_skeleton, find_theme, side_colors

_HAND = Skeleton(
    name="hand",
    keypoints=("wrist", "left_thumb", "right_thumb"),
    limbs=(("wrist", "left_thumb"), ("left_thumb", "right_thumb"), ("wrist", "right_thumb")),
)


@pytest.mark.parametrize("name", THEMES)
def test_every_theme_colors_every_keypoint_and_limb(name: str):
    for skeleton in (COCO_17, _HAND, Skeleton(name="dot", keypoints=("dot",))):
        keypoints, limbs = color_skeleton(find_theme(name), skeleton, person=20)

        assert (len(keypoints), len(limbs)) == (len(skeleton.keypoints), len(skeleton.limbs))


def test_a_limb_has_the_color_of_its_side_and_one_from_side_to_side_that_between():
    left, right, between = THEMES["sides"].colors

    keypoints, limbs = color_skeleton(THEMES["sides"], _HAND, person=0)

    assert keypoints == side_colors(_HAND) == [between, left, right]
    assert limbs == [left, between, right]


def test_by_limb_no_two_are_alike():
    keypoints, limbs = color_skeleton(THEMES["limbs"], COCO_17, person=0)

    assert len(set(keypoints)) == 17
    assert len(set(limbs)) == len(COCO_17.limbs)


def test_colors_of_people_begin_anew_after_the_last():
    colors = THEMES["people"].colors

    drawn_in = [color_skeleton(THEMES["people"], _HAND, person)[0][0] for person in range(len(colors) + 1)]

    assert drawn_in == [*colors, colors[0]]


def test_an_unknown_theme_is_answered_with_those_there_are():
    with pytest.raises(ValueError, match="no theme 'pink'; there are sides, limbs, people, color-blind, white-on-dark"):
        find_theme("pink")
