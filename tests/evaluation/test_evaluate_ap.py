import json
from pathlib import Path

import pytest

from mspn.detectors.precomputed import BoxesFile
from mspn.distributed import ALONE, Processes
from mspn.errors import AnnotationError
from mspn.evaluation.evaluate import evaluate_ap_of_model, evaluate_ap_of_results
from mspn.evaluation.report import Report, write_report
from mspn.structures.skeleton import COCO_17
from tests.drawn_people import write_drawn_set
from tests.training.several import run_together
from tests.untrained import untrained_estimator


def measure(processes: Processes, folder: Path, out: Path) -> None:
    """What each process of an evaluation does."""
    report = evaluate_ap_of_model(
        untrained_estimator(folder),
        ["untrained"],
        folder / "annotations.json",
        folder / "images",
        BoxesFile(folder / "boxes.json"),
        engine="pycocotools",
        out=out / f"process-{processes.rank}",
        processes=processes,
    )
    assert (report is not None) == processes.is_first
    if report is not None:
        write_report(out / f"process-{processes.rank}" / "report.json", report)


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Five images of two people each, with a boxes file of them."""
    annotations = write_drawn_set(tmp_path / "set", num_images=5, people_per_image=2)
    rows = json.loads(annotations.read_text())["annotations"]
    boxes = [{**row, "score": 0.9 - 0.05 * number} for number, row in enumerate(rows)]
    (tmp_path / "set" / "boxes.json").write_text(json.dumps(boxes))
    return tmp_path / "set"


def test_two_processes_report_what_one_does_and_the_first_alone_writes(tmp_path: Path, drawn: Path):
    measure(ALONE, drawn, tmp_path / "one")
    run_together(2, measure, drawn, tmp_path / "two")

    for name in ("report.json", "results.json"):
        assert (tmp_path / "two" / "process-0" / name).read_bytes() == (
            tmp_path / "one" / "process-0" / name
        ).read_bytes(), name
    assert not (tmp_path / "two" / "process-1").exists()
    assert len(json.loads((tmp_path / "two" / "process-0" / "results.json").read_text())) == 10


def test_the_report_says_whose_boxes_by_which_rule_and_how_good(tmp_path: Path, drawn: Path):
    chairs = {"image_id": 1, "category_id": 62, "bbox": [0, 0, 9, 9], "score": 0.95}
    rows = json.loads((drawn / "boxes.json").read_text())
    (drawn / "boxes.json").write_text(json.dumps([*rows, *[chairs] * 99]))

    report = evaluate_ap_of_model(
        untrained_estimator(drawn),
        ["untrained"],
        drawn / "annotations.json",
        drawn / "images",
        BoxesFile(drawn / "boxes.json", "top-100"),
        engine="pycocotools",
        out=None,
    )

    # The second person of the first image is its 101st box: nine of ten are found, 91 of 101 recall points.
    assert report is not None
    assert (report.protocol.box_selection, report.protocol.num_boxes) == ("top-100", 9)
    assert report.boxes_average_precision == pytest.approx(91 / 101)
    assert report.protocol.split is None


def test_an_untrained_network_is_told_why_it_scores_nothing(tmp_path: Path, drawn: Path):
    report = evaluate_ap_of_model(
        untrained_estimator(drawn),
        *(["untrained"], drawn / "annotations.json", drawn / "images", None),
        engine="pycocotools",
        out=None,
    )

    assert report is not None
    assert report.stats["AP"] < 0.05
    assert report.boxes_average_precision is None
    assert report.reasons


@pytest.mark.parametrize("engine", ["pycocotools", "hotcoco"])
def test_a_results_file_is_scored_and_the_engine_reported(tmp_path: Path, drawn: Path, engine: str):
    pytest.importorskip(engine)
    rows = [{**row, "score": 1.0} for row in json.loads((drawn / "annotations.json").read_text())["annotations"]]
    (tmp_path / "results.json").write_text(json.dumps(rows))

    report = evaluate_ap_of_results(
        tmp_path / "results.json", drawn / "annotations.json", engine=engine, out=tmp_path / "out"
    )
    write_report(tmp_path / "report.json", report)

    assert report.stats["AP"] == pytest.approx(1.0)
    assert report.reasons == ()
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["protocol"]["engine"] == engine
    assert ("hotcoco" in written["versions"]) == (engine == "hotcoco")
    assert len(json.loads((tmp_path / "out" / "results.json").read_text())) == 10


def test_two_entries_of_one_file_both_have_results(drawn: Path):
    content = json.loads((drawn / "annotations.json").read_text())
    first, second = content["images"][:2]
    second["file_name"] = first["file_name"]
    (drawn / "annotations.json").write_text(json.dumps(content))
    out = drawn / "out"

    evaluate_ap_of_model(
        untrained_estimator(drawn),
        ["untrained"],
        drawn / "annotations.json",
        drawn / "images",
        None,
        engine="pycocotools",
        out=out,
    )

    rows = json.loads((out / "results.json").read_text())
    assert [row["image_id"] for row in rows].count(second["id"]) == 2
    assert len(rows) == 10


def test_the_report_lists_the_keypoints_that_are_measured(drawn: Path):
    content = json.loads((drawn / "annotations.json").read_text())
    content["categories"][0]["keypoints"][:2] = ["Nose", "chin"]
    (drawn / "annotations.json").write_text(json.dumps(content))
    (drawn / "results.json").write_text("[]")

    report = evaluate_ap_of_results(drawn / "results.json", drawn / "annotations.json", engine="pycocotools", out=None)

    assert report.protocol.keypoints == tuple(name for name in COCO_17.keypoints if name != "left_eye")


def test_results_of_every_category_that_is_read_count(drawn: Path):
    content = json.loads((drawn / "annotations.json").read_text())
    content["categories"].append({**content["categories"][0], "id": 5, "name": "child"})
    for row in content["annotations"][::2]:
        row["category_id"] = 5
    (drawn / "annotations.json").write_text(json.dumps(content))
    (drawn / "results.json").write_text(json.dumps([{**row, "score": 1} for row in content["annotations"]]))

    def average_precision(category: str | None) -> float:
        return evaluate_ap_of_results(
            drawn / "results.json", drawn / "annotations.json", engine="pycocotools", category=category, out=None
        ).stats["AP"]

    assert average_precision(None) == 1
    assert average_precision("child") == 1


def test_images_outside_their_folder_are_refused_unless_allowed(drawn: Path):
    content = json.loads((drawn / "annotations.json").read_text())
    content["images"][0]["file_name"] = "../images/" + content["images"][0]["file_name"]
    (drawn / "annotations.json").write_text(json.dumps(content))

    def evaluate(allow_outside: bool) -> Report | None:
        return evaluate_ap_of_model(
            untrained_estimator(drawn),
            ["untrained"],
            drawn / "annotations.json",
            drawn / "images",
            None,
            engine="pycocotools",
            allow_outside=allow_outside,
            out=None,
        )

    with pytest.raises(AnnotationError, match=r"names the image '\.\./images/.*', which is outside the folder"):
        evaluate(allow_outside=False)
    report = evaluate(allow_outside=True)
    assert report is not None
    assert report.protocol.failed == 0
