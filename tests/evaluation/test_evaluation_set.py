import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from mspn.errors import AnnotationError
from mspn.evaluation.evaluation_set import (
    default_metric,
    evaluate_pck,
    pck_definition,
    read_evaluation_set,
    read_person_keypoints,
)
from mspn.evaluation.pck import PCK_BOX, PCK_TORSO, PCKH
from mspn.evaluation.predicting import PersonKeypoints
from mspn.labels.formats.mpii import read_mpii, with_head_boxes
from mspn.labels.label_set import LabeledSet
from mspn.structures.skeleton import COCO_17, LSP_14, MPII_16, Skeleton
from tests.coco_files import write_annotations
from tests.labels.formats.mpii_files import joints, write_json, write_release, write_truth
from tests.labels.label_sets import two_people

pytestmark = pytest.mark.usefixtures("mat_files_read_here")

PATH = Path("labels.json")
HEAD_TOP, LEFT_ANKLE, PELVIS = 9, 5, 6


def _mpii(tmp_path: Path) -> LabeledSet:
    """Three people of 16, 16 and 14 labeled keypoints, with heads of 30, 60 and 6 pixels."""
    return with_head_boxes(read_mpii(write_json(tmp_path / "valid.json")), write_truth(tmp_path / "gt.mat"))


def _results(path: Path, moved: dict[tuple[int, int], tuple[float, float]]) -> Path:
    """HRNet's pred.mat: the ground truth, but for keypoints (person, keypoint) that are moved by (x, y) pixels."""
    preds = joints()
    for place, offset in moved.items():
        preds[place] += offset
    savemat(path, {"preds": preds})
    return path


def test_pckh_of_hrnets_files_worked_by_hand(tmp_path: Path):
    # Half a head is 15, 30 and 3 pixels; with the whole diagonal it would be 25, 50 and 5.
    moved = {
        (0, HEAD_TOP): (15.0, 0.0),  # just found; not, if results and labels counted from different numbers
        (1, HEAD_TOP): (0.0, 30.5),  # missed; found with the whole diagonal
        (2, HEAD_TOP): (0.0, -3.0),  # just found
        (0, LEFT_ANKLE): (12.0, 12.0),  # 17 pixels: missed
        (2, LEFT_ANKLE): (99.0, 0.0),  # not labeled
        (0, PELVIS): (99.0, 0.0),  # not in the mean
    }
    labels = _mpii(tmp_path)

    found = read_person_keypoints(_results(tmp_path / "pred.mat", moved), labels)
    evaluated = evaluate_pck(read_evaluation_set(labels, PATH, "pckh"), found)

    # In the mean are 14 keypoints of three people, less two ankles; one head top and one ankle are missed.
    assert evaluated.num_people == 3
    assert evaluated.pck.stats["PCKh@0.5"] == pytest.approx((14 * 3 - 2 - 2) / (14 * 3 - 2))
    # Within a tenth of a head, 3, 6 and 0.6 pixels, are all but the four that were moved.
    assert evaluated.pck.stats["PCKh@0.1"] == pytest.approx((40 - 4) / 40)
    assert evaluated.pck.table["Head"] == pytest.approx(2 / 3)
    assert evaluated.pck.table["Ankle"] == pytest.approx((1 / 2 + 2 / 2) / 2)
    assert evaluated.pck.by_keypoint["pelvis"] == pytest.approx(2 / 3)


def test_who_was_not_found_has_missed_everything(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    labels = two_people(LSP_14)
    found = PersonKeypoints(LSP_14, {1: labels.people[0].keypoints_image[:, :2]})
    labels.people[1].keypoints_image[2] = (60, 80, 2)  # the right hip, so that there is a torso

    evaluated = evaluate_pck(read_evaluation_set(labels, PATH, "pck"), found)

    # 14 keypoints of the first; of the second's, two ankle and knee are not labeled.
    assert evaluated.pck.stats["PCK@0.2"] == pytest.approx(14 / (14 + 12))
    assert "1 of 2 people have no result; all their keypoints count as missed" in caplog.text


def test_people_of_unknown_size_are_left_out(caplog: pytest.LogCaptureFixture):
    labels = two_people(LSP_14)  # the second one's right hip is not labeled
    found = PersonKeypoints(LSP_14, {1: labels.people[0].keypoints_image[:, :2]})

    evaluated = evaluate_pck(read_evaluation_set(labels, PATH, "pck"), found)

    assert evaluated.num_people == 1
    assert evaluated.pck.stats["PCK@0.2"] == 1
    assert "1 people are left out: their torso is not labeled" in caplog.text


def test_keypoints_are_matched_by_name_and_missing_ones_are_said(caplog: pytest.LogCaptureFixture):
    labels = two_people(LSP_14)
    positions = np.zeros((17, 2))
    for index, name in enumerate(COCO_17.keypoints):
        if name in LSP_14.keypoints:
            positions[index] = labels.people[0].keypoints_image[LSP_14.keypoints.index(name), :2]

    found = PersonKeypoints(COCO_17, {1: positions})
    evaluated = evaluate_pck(read_evaluation_set(labels, PATH, "pck"), found)

    assert evaluated.keypoints == LSP_14.keypoints[:12]
    assert evaluated.pck.stats["PCK@0.2"] == 1
    assert evaluated.pck.table["Head"] == -1
    assert "so not comparable with published numbers: the results have no neck, head_top" in caplog.text


def test_sets_that_cannot_be_measured_are_refused():
    labels = two_people(LSP_14)
    hand = Skeleton(name="hand", keypoints=("thumb",))

    with pytest.raises(AnnotationError, match="the labels have no keypoint of hand; their names must be the same"):
        evaluate_pck(read_evaluation_set(labels, PATH, "pck"), PersonKeypoints(hand, {}))
    with pytest.raises(AnnotationError, match="2 of 2 people have no head box"):
        read_evaluation_set(labels, PATH, "pckh")
    for person in labels.people:
        person.keypoints_image[2] = 0
    with pytest.raises(
        AnnotationError, match=r"labels\.json has no person with a known torso; choose another --metric"
    ):
        read_evaluation_set(labels, PATH, "pck")


def test_the_labels_decide_the_metric_and_its_unit(tmp_path: Path):
    savemat(tmp_path / "lsp.mat", {"joints": np.zeros((3, 14, 2))})

    assert default_metric(write_json(tmp_path / "mpii.json")) == "pckh"
    assert default_metric(write_release(tmp_path / "mpii.mat")) == "pckh"
    assert default_metric(tmp_path / "lsp.mat") == "pck"
    assert default_metric(write_annotations(tmp_path / "coco.json", [], {})) == "oks"
    assert default_metric(tmp_path / "missing.json") == "oks"
    assert pck_definition("pckh", MPII_16) == PCKH
    assert pck_definition("pck", MPII_16) == PCK_TORSO
    assert pck_definition("pck", Skeleton(name="hand", keypoints=("thumb",))) == PCK_BOX


def test_crowds_and_people_without_labels_are_not_measured():
    labels = two_people(LSP_14)
    somebody = labels.people[0]
    nobody = replace(somebody, keypoints_image=np.zeros((14, 3)))
    crowd = replace(somebody, is_crowd=True)

    kept = read_evaluation_set(replace(labels, people=[nobody, somebody, crowd]), PATH, "pck")

    assert kept.labels.people == [somebody]
    with pytest.raises(AnnotationError, match=r"no person in labels\.json has a labeled keypoint"):
        read_evaluation_set(replace(labels, people=[nobody]), PATH, "pck")


def test_of_all_of_lsp_only_the_second_half_is_evaluated(caplog: pytest.LogCaptureFixture):
    labels = two_people(LSP_14)
    everyone = [replace(labels.people[0], id=number) for number in range(1, 2001)]

    with caplog.at_level(logging.INFO):
        kept = read_evaluation_set(replace(labels, people=everyone), PATH, "pck")

    assert [person.id for person in kept.labels.people] == list(range(1001, 2001))
    assert "labels.json is all of LSP: only its second half, the test set, is evaluated" in caplog.text
