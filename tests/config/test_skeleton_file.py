from pathlib import Path

import pytest

from mspn.config.data import named_skeleton, read_skeleton
from mspn.errors import SkeletonError
from mspn.structures.skeleton import COCO_17

HAND = """\
name: hand
keypoints: [wrist, thumb, index, little]
pairs: [[thumb, little]]
limbs: [[wrist, thumb], [wrist, index], [wrist, little]]
sigmas: [0.06, 0.03, 0.03, 0.03]
upper: [thumb, index]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "hand.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_has_all_that_a_skeleton_has(tmp_path: Path):
    skeleton = read_skeleton(write(tmp_path, HAND))

    assert skeleton.name == "hand"
    assert skeleton.keypoints == ("wrist", "thumb", "index", "little")
    assert skeleton.mirror_order == [0, 3, 2, 1]
    assert skeleton.limb_indices == [(0, 1), (0, 2), (0, 3)]
    assert skeleton.sigmas == (0.06, 0.03, 0.03, 0.03)
    assert skeleton.upper == ("thumb", "index")


def test_names_alone_are_enough_and_left_and_right_make_pairs(tmp_path: Path):
    skeleton = read_skeleton(write(tmp_path, "name: arms\nkeypoints: [left_hand, neck, right_hand, left_antler]"))

    assert skeleton.mirrored_pairs == (("left_hand", "right_hand"),)
    assert skeleton.sigmas == (0.079,) * 4
    assert (skeleton.limbs, skeleton.upper) == ((), ())


def test_a_name_without_a_suffix_is_one_of_ours():
    assert named_skeleton("coco-17") is COCO_17


def test_a_relative_path_starts_in_the_given_folder(tmp_path: Path):
    write(tmp_path, HAND)

    assert named_skeleton("hand.yaml", tmp_path).name == "hand"


def test_a_name_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(SkeletonError, match=r"no skeleton 'hand'; there are coco-17, .*, and files that end in \.yaml"):
        named_skeleton("hand")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[wrist, thumb], [wrist, index]", "[wrist, palm]"), "limbs names 'palm', which is not among the keypoints"),
        (("upper: [thumb", "upper: [arm"), "upper names 'arm', which is not among the keypoints of hand"),
        (("[[thumb, little]]", "[[thumb, pinky]]"), "pairs names 'pinky', which is not among the keypoints of hand"),
        (("[[thumb, little]]", "[[thumb, little], [index, thumb]]"), "pairs names 'thumb' twice"),
        (("index, little]\npairs", "thumb, index, little]\npairs"), "keypoints names 'thumb' twice"),
        (("[0.06, 0.03,", "[0.06,"), "sigmas: 3 numbers for 4 keypoints; give one for each, or none"),
        (("[0.06,", "[0,"), "sigmas.0: Input should be greater than 0"),
        (("upper", "uper"), "no setting 'uper' in Skeleton; did you mean 'upper'?"),
        (("name: hand\n", ""), "name: Field required"),
        (("[wrist, thumb, index, little]\n", "\n"), "keypoints: Input should be a valid tuple"),
        ((HAND, "just words"), "Input should be a valid dictionary"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(change: tuple[str, str], message: str, tmp_path: Path):
    path = write(tmp_path, HAND.replace(*change))
    if "twice" in message and "keypoints" in message:
        path.write_text(path.read_text().replace("sigmas: [0.06, 0.03, 0.03, 0.03]\n", ""))

    with pytest.raises(SkeletonError) as caught:
        read_skeleton(path)

    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"), [(None, r"no file at .*hand\.yaml"), ("name: [hand", r"hand\.yaml is not YAML")]
)
def test_a_file_that_cannot_be_read_is_refused(content: str | None, message: str, tmp_path: Path):
    if content is not None:
        write(tmp_path, content)

    with pytest.raises(SkeletonError, match=message):
        read_skeleton(tmp_path / "hand.yaml")
