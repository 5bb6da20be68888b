import json
from pathlib import Path

import pytest

from tests.cli.runner import error_line, run
from tests.drawn_people import write_drawn_set
from tests.untrained import untrained_weights


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Two images of two people each, with a COCO results list of their boxes and one of a chair."""
    annotations = write_drawn_set(tmp_path / "set", num_images=2, people_per_image=2)
    rows = json.loads(annotations.read_text())["annotations"]
    chair = {"image_id": 1, "category_id": 62, "bbox": [0, 0, 9, 9], "score": 0.1}
    (tmp_path / "set" / "boxes.json").write_text(json.dumps([*({**row, "score": 0.9} for row in rows), chair]))
    return tmp_path / "set"


def _options(drawn: Path) -> tuple[object, ...]:
    weights = untrained_weights(drawn)
    return ("evaluate", "--model", weights, "--annotations", drawn / "annotations.json", "--images", drawn / "images")


def test_evaluate_says_which_boxes_by_which_rule_how_good_and_why_ap_is_low(tmp_path: Path, drawn: Path):
    result = run(
        *_options(drawn), "--boxes", drawn / "boxes.json", "--box-selection", "top-100", "--out", tmp_path / "out"
    )

    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "boxes.json (4, rule top-100)" in words
    assert "the boxes' own AP: 1.000" in words
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["stats"]["AP"] < 0.05
    assert all(f"why: {reason}" in result.stdout for reason in report["reasons"])
    assert report["reasons"]


def test_evaluate_with_hotcoco_writes_the_same_numbers(tmp_path: Path, drawn: Path):
    pytest.importorskip("hotcoco")
    rows = [{**row, "score": 1.0} for row in json.loads((drawn / "annotations.json").read_text())["annotations"]]
    (tmp_path / "results.json").write_text(json.dumps(rows[:3]))

    stats = []
    for engine in ("pycocotools", "hotcoco"):
        run(
            *("evaluate", "--results", tmp_path / "results.json", "--annotations", drawn / "annotations.json"),
            *("--engine", engine, "--out", tmp_path / engine),
        )
        stats.append(json.loads((tmp_path / engine / "report.json").read_text())["stats"])

    assert stats[0] == stats[1]
    assert stats[0]["AR"] == 0.75


def test_options_about_a_network_are_refused_with_a_results_file(drawn: Path):
    options = ("evaluate", "--results", drawn / "boxes.json", "--annotations", drawn / "annotations.json")

    for given in (
        ("--model", "default"),
        ("--weight", 1),
        ("--boxes", drawn / "boxes.json"),
        ("--box-selection", "people"),
        ("--protocol", "mmpose"),
        ("--set", "test.flip=false"),
        ("--flip",),
        ("--device", "cuda:7"),
        ("--precision", "float32"),
        ("--batch", 32),
    ):
        assert f"{given[0]} is about a network; --results scores a file" in error_line(run(*options, *given))


def test_options_that_average_precision_does_not_use_are_refused(tmp_path: Path, drawn: Path):
    results = ("evaluate", "--results", drawn / "boxes.json", "--annotations", drawn / "annotations.json")

    assert "--box-selection is about --boxes" in error_line(run(*_options(drawn), "--box-selection", "people"))
    assert "--head-boxes is for --metric pckh" in error_line(run(*results, "--head-boxes", tmp_path / "a.mat"))
    assert "images are for --out's worst.jpg" in error_line(run(*results, "--images", drawn / "images"))


def test_without_labels_nothing_is_evaluated():
    result = run("evaluate", "--model", "default", "--images", "images")

    assert result.exit_code == 2
    assert "Missing option '--annotations'" in result.stderr
