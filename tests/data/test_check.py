from pathlib import Path

from mspn.data.check import check_labels
from mspn.data.checks.findings import KINDS, Finding, order_findings
from tests.labelled_sets import sound_set


def test_a_sound_set_has_no_findings():
    assert check_labels(sound_set()) == []


def test_errors_come_before_warnings_and_frequent_kinds_before_rare_ones():
    kinds = ["labelled_twice", "bad_box", "bad_area", "bad_area", "large_area", "large_area"]

    ordered = order_findings([Finding(kind, "words") for kind in kinds])

    assert list(ordered) == ["bad_area", "bad_box", "large_area", "labelled_twice"]
    assert [len(found) for found in ordered.values()] == [2, 1, 2, 1]


def test_every_kind_of_finding_has_a_test_and_is_documented():
    tests = "".join(path.read_text() for path in (Path(__file__).parent / "checks").glob("test_*.py"))
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()

    assert [kind for kind in KINDS if f'"{kind}"' not in tests] == []
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
