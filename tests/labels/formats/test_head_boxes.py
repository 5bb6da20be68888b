from pathlib import Path

import pytest
from scipy.io import savemat

from mspn.errors import AnnotationError
from mspn.labels.formats.mpii import HEAD_BOX, read_mpii, with_head_boxes
from tests.labels.formats.mpii_files import HEAD_BOXES, write_json, write_release, write_truth

pytestmark = pytest.mark.usefixtures("mat_files_read_here")


def test_head_boxes_come_in_the_order_of_hrnets_truth(tmp_path: Path):
    labels = with_head_boxes(read_mpii(write_json(tmp_path / "valid.json")), write_truth(tmp_path / "gt.mat"))

    assert [person.extra[HEAD_BOX] for person in labels.people] == list(HEAD_BOXES)
    assert labels.people[0].extra["scale"] == 1.5


def test_head_boxes_are_found_in_the_release_by_image_and_center(tmp_path: Path):
    # The first of one image and the only one of the other have the same center.
    labels = with_head_boxes(read_mpii(write_json(tmp_path / "valid.json")), write_release(tmp_path / "mpii.mat"))

    assert [person.extra[HEAD_BOX] for person in labels.people] == list(HEAD_BOXES)


def test_whoever_is_not_in_the_release_gets_no_head_box(tmp_path: Path):
    elsewhere = read_mpii(write_json(tmp_path / "valid.json", center=[7, 7]))

    labels = with_head_boxes(elsewhere, write_release(tmp_path / "mpii.mat"))

    assert not any(HEAD_BOX in person.extra for person in labels.people)


def test_the_truth_of_other_people_is_refused(tmp_path: Path):
    labels = read_mpii(write_json(tmp_path / "valid.json"))

    with pytest.raises(AnnotationError, match=r"gt\.mat has 2 head boxes, not 3; is it of the same split\?"):
        with_head_boxes(labels, write_truth(tmp_path / "gt.mat", slice(2)))
    # In reverse, the first and the third lie two pixels apart: just allowed. One pixel more is not.
    assert with_head_boxes(labels, write_truth(tmp_path / "gt.mat", slice(None, None, -1)))
    labels.people[0].keypoints_image[3, 1] -= 1
    with pytest.raises(AnnotationError, match=r"gt\.mat has other keypoints for person 1; it must list the people"):
        with_head_boxes(labels, write_truth(tmp_path / "gt.mat", slice(None, None, -1)))


def test_a_file_without_head_boxes_is_refused(tmp_path: Path):
    savemat(tmp_path / "other.mat", {"joints": [1]})

    with pytest.raises(AnnotationError, match=r"other\.mat has no head boxes .*; give HRNet's gt_valid\.mat or MPII's"):
        with_head_boxes(read_mpii(write_json(tmp_path / "valid.json")), tmp_path / "other.mat")
