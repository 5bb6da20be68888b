import json
from pathlib import Path

import pytest
import torch

from mspn.detectors.precomputed import BoxesFile
from mspn.distributed import ALONE, Processes
from mspn.evaluation.evaluate import evaluate_ap_of_model, evaluate_ap_of_results
from mspn.evaluation.report import write_report
from tests.drawn_people import write_drawn_set
from tests.training.several import run_together
from tests.untrained import untrained_estimator


def measure(processes: Processes, folder: Path, out: Path) -> None:
    """What each process of an evaluation does."""
    torch.set_num_threads(1)
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
