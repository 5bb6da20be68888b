import math
from dataclasses import replace

import pytest

from mspn.labels.checks import check_labels
from mspn.labels.checks.findings import Severity
from mspn.structures.boxes import Box
from tests.labeled_sets import sound_set, with_person


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (Box(20, 25, 0, 150), "box [20, 25, 0, 150]"),
        (Box(20, 25, 80, -1), "box [20, 25, 80, -1]"),
        (Box(math.nan, 25, 80, 150), "box [nan, 25, 80, 150]"),
        (Box(20, 25, math.inf, 150), "box [20, 25, inf, 150]"),
    ],
)
def test_a_box_that_is_empty_or_not_finite_is_found(box: Box, words: str):
    (finding,) = check_labels(with_person(sound_set(), 1, box=box))

    assert (finding.kind, finding.person_id, finding.message) == ("bad_box", 1, words)
    assert finding.severity is Severity.ERROR


def test_a_box_beside_the_image_is_found():
    kinds = [finding.kind for finding in check_labels(with_person(sound_set(), 1, box=Box(300, 25, 80, 150)))]

    assert kinds == ["box_outside", "far_from_box"]


def test_a_box_that_reaches_beyond_the_image_is_found():
    # The image is 300 wide; 160 + 150 reaches 10 beyond, more than 5 % of 150.
    (finding,) = check_labels(with_person(sound_set(), 2, box=Box(160, 25, 150, 150)))

    assert finding.kind == "box_beyond_image"
    assert finding.message == "box [160, 25, 150, 150] in an image of 300x200 pixels: 10.0 pixels too far"


def test_a_box_that_is_cut_off_a_little_late_is_no_finding():
    assert check_labels(with_person(sound_set(), 2, box=Box(160, 25, 147, 150))) == []


@pytest.mark.parametrize(("area", "words"), [(0.0, "area 0"), (math.nan, "area nan"), (None, "area missing")])
def test_an_area_that_is_missing_or_no_area_is_found(area: float | None, words: str):
    (finding,) = check_labels(with_person(sound_set(), 3, area=area))

    assert (finding.kind, finding.person_id, finding.message) == ("bad_area", 3, words)


def test_a_set_without_any_areas_is_sound():
    labels = sound_set()

    assert check_labels(replace(labels, people=[replace(person, area=None) for person in labels.people])) == []


def test_an_area_that_does_not_fit_into_its_box_is_found():
    # 80 x 150 = 12000.
    (finding,) = check_labels(with_person(sound_set(), 3, area=13000.0))

    assert (finding.kind, finding.message) == ("large_area", "area 13000 in a box of 12000.0 square pixels")
