import logging
from dataclasses import replace
from pathlib import Path

import pytest

from mspn.labels.label_set import to_skeleton, warn_dropped, warn_dropped_fields, warn_occluded, without_crowds
from mspn.structures.skeleton import COCO_17, LSP_14
from tests.labels.label_sets import two_people

OUT = Path("out.json")


@pytest.fixture(autouse=True)
def _log(caplog):
    caplog.set_level(logging.WARNING)


def test_each_kind_is_one_line_with_its_count(caplog):
    warn_dropped(OUT, 3, "hats are left out")
    warn_dropped(OUT, 0, "shoes are left out")

    assert caplog.messages == ["out.json: hats are left out (3)"]


def test_fields_are_named_once_and_their_owners_counted(caplog):
    labels = two_people(COCO_17, area=4.0, extra={"kept": 1, "hat": 2, "age": 3})
    labels = replace(labels, extra={"info": {}, "categories": []})

    warn_dropped_fields(labels, OUT, people=("kept",))

    assert caplog.messages == [
        "out.json: areas of people are left out (2)",
        "out.json: fields of people are left out: age, hat (2)",
        "out.json: fields of the whole file are left out: info (1)",
    ]


def test_occluded_keypoints_are_counted(caplog):
    labels = two_people(COCO_17)
    labels.people[0].keypoints_image[:4, 2] = 1

    warn_occluded(labels, OUT)

    assert caplog.messages == ["out.json: occluded keypoints are written as visible ones (4)"]


def test_crowds_go_and_people_stay(caplog):
    labels = two_people(COCO_17)
    labels = replace(labels, people=[labels.people[0], replace(labels.people[1], is_crowd=True)])

    assert without_crowds(labels, OUT).people == labels.people[:1]
    assert caplog.messages == ["out.json: crowds are left out, the format has none (1)"]


def test_another_skeleton_takes_what_it_has_by_name(caplog):
    labels = to_skeleton(two_people(COCO_17), LSP_14, OUT)

    assert labels.skeleton is LSP_14
    # COCO's last, the right ankle, is LSP's first.
    assert labels.people[0].keypoints_image[0].tolist() == [26.25, 36.5, 2]
    assert "lsp-14 does not have: nose, left_eye, right_eye, left_ear, right_ear (7)" in caplog.text
