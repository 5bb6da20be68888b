import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from mspn.labels.checks import check_labels
from mspn.labels.drawing import TILE, draw_tile, make_drawable
from mspn.labels.label_table import KINDS, Finding, order_findings
from mspn.structures.boxes import Box
from tests.labeled_sets import SIZE, sound_set


def test_a_sound_set_has_no_findings():
    assert check_labels(sound_set()) == []


def test_errors_come_before_warnings_and_frequent_kinds_before_rare_ones():
    kinds = ["labeled_twice", "bad_box", "bad_area", "bad_area", "large_area", "large_area"]

    ordered = order_findings([Finding(kind, "words") for kind in kinds])

    assert list(ordered) == ["bad_area", "bad_box", "large_area", "labeled_twice"]
    assert [len(found) for found in ordered.values()] == [2, 1, 2, 1]


def test_every_kind_of_finding_has_a_test_and_is_documented():
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()

    assert [kind for kind in KINDS if f'"{kind}"' not in tests] == []
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []


def test_no_values_whatever_break_the_check_or_the_drawing():
    odd = [math.nan, math.inf, -math.inf, 0.0, 1.0, -1.0, 2.0, 1e300, -1e300, 1e-300, 50.0, 150.0]
    random = np.random.default_rng(0)
    image = np.zeros((*SIZE, 3), np.uint8)
    sound = sound_set()

    for _ in range(30):
        people = [
            replace(
                person,
                keypoints_image=np.where(random.random((17, 3)) < 0.5, random.choice(odd, (17, 3)), [60, 60, 2]),
                box=Box(*random.choice(odd, 4).tolist()),
                area=float(random.choice(odd)),
            )
            for person in sound.people
        ]
        findings = check_labels(replace(sound, people=people))
        for person in people:
            assert draw_tile(image, sound.skeleton, make_drawable(person)).shape == (*TILE, 3)

        assert {finding.kind for finding in findings} >= {"bad_visibility", "bad_number"}
