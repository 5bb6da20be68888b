import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mspn.config.protocol import ProtocolConfig
from mspn.errors import ReportError
from mspn.evaluation.average_precision import average_precision, read_ground_truth
from mspn.evaluation.report import (
    REPORT_FILE,
    RESULTS_FILE,
    EvaluationProtocol,
    Report,
    compare_reports,
    write_report,
    write_results,
)
from mspn.io.files import sha256_of
from mspn.structures.skeleton import COCO_17
from tests.cli.runner import error_line, run
from tests.coco_files import write_annotations
from tests.evaluation.posed_people import SHOULDERS, labeled, predicted


def _evaluated(folder: Path, found: int, **protocol: Any) -> Path:
    """The report of a system that finds so many of two people; 51 of COCO's 101 recall points are reached with one."""
    labels = folder.parent / "labels.json"
    if not labels.exists():
        people = [labeled(number, number, SHOULDERS) for number in (1, 2)]
        write_annotations(labels, people, {1: "1.png", 2: "2.png"})
    rows = [predicted(number, SHOULDERS, 0.9) for number in range(1, found + 1)]
    write_results(folder / RESULTS_FILE, rows)
    report = Report(
        model=f"finds-{found}",
        stats=average_precision(read_ground_truth(labels, COCO_17), rows, COCO_17),
        results_sha256=sha256_of(folder / RESULTS_FILE),
        protocol=EvaluationProtocol(
            **{
                "annotations": str(labels),
                "annotations_sha256": sha256_of(labels),
                "boxes": "ground truth",
                "test": ProtocolConfig(),
                "input_size": (256, 192),
            }
            | protocol
        ),
    )
    write_report(folder / REPORT_FILE, report)
    return folder / REPORT_FILE


def _sealed_anew(path: Path, change: Any) -> Path:
    """A report that was changed by somebody who knows how reports are sealed."""
    content = json.loads(path.read_text())
    del content["seal"]
    change(content)
    write_report(path, Report.model_validate(content))
    return path


def test_reports_of_one_protocol_are_ranked_by_average_precision(tmp_path: Path):
    paths = [_evaluated(tmp_path / "a", 1), _evaluated(tmp_path / "b", 2, input_size=(384, 288), engine="hotcoco")]

    comparison = compare_reports(paths, annotations=None, across_protocols=False)

    assert [one.report.model for one in comparison.reports] == ["finds-2", "finds-1"]
    assert [one.report.stats["AP"] for one in comparison.reports] == [pytest.approx(1.0), pytest.approx(51 / 101)]
    assert comparison.objections == ()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test": ProtocolConfig(flip=False)}, r"test\.flip differs \(true / false\)"),
        (
            {"test": ProtocolConfig(padding=(1.25, 1.25))},
            r"test\.padding differs \(\[1\.09, 1\.135\] / \[1\.25, 1\.25\]\)",
        ),
        ({"test": None}, r"test differs \(- / null\)"),
        ({"boxes": "b.json", "boxes_sha256": "ab"}, r"boxes differs \(ground truth / -\); boxes_sha256 differs"),
        ({"precision": "bfloat16"}, r"precision differs \(null / bfloat16\)"),
        ({"failed": 3}, r"failed differs \(0 / 3\)"),
    ],
)
def test_reports_of_different_protocols_are_not_ranked(tmp_path: Path, changed: dict[str, Any], message: str):
    paths = [_evaluated(tmp_path / "a", 1), _evaluated(tmp_path / "b", 2, **changed)]

    with pytest.raises(ReportError, match=f"no ranking of .*{message}.*--across-protocols"):
        compare_reports(paths, annotations=None, across_protocols=False)
    comparison = compare_reports(paths, annotations=None, across_protocols=True)

    assert [one.path for one in comparison.reports] == paths
    assert "differs" in comparison.objections[0]


@pytest.mark.parametrize(("padding", "is_ranked"), [((1.09, 1.135), True), ((1.25, 1.25), False)])
def test_an_ensemble_is_ranked_if_all_of_its_networks_are_tested_alike(
    tmp_path: Path, padding: tuple[float, float], is_ranked: bool
):
    def average_two(content: dict[str, Any]) -> None:
        tests = [ProtocolConfig(), ProtocolConfig(padding=padding)]
        content["ensemble"] = [
            {"model": "any", "weight": 1.0, "input_size": (256, 192), "test": test.model_dump()} for test in tests
        ]

    paths = [_evaluated(tmp_path / "a", 1), _sealed_anew(_evaluated(tmp_path / "b", 2), average_two)]

    comparison = compare_reports(paths, annotations=None, across_protocols=True)

    assert any("network_2.padding differs (- / [1.25, 1.25])" in line for line in comparison.objections) != is_ranked
    assert (comparison.objections == ()) == is_ranked


def test_files_are_compared_by_their_content_not_by_their_place(tmp_path: Path):
    first = _evaluated(tmp_path / "a", 1, boxes="here.json", boxes_sha256="ab")
    copy = tmp_path / "copy.json"
    shutil.copy(tmp_path / "labels.json", copy)
    second = _evaluated(tmp_path / "b", 2, annotations=str(copy), boxes="there.json", boxes_sha256="ab")

    assert not compare_reports([first, second], annotations=None, across_protocols=False).objections


def test_other_labels_are_another_protocol(tmp_path: Path):
    first = _evaluated(tmp_path / "one" / "a", 1)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "labels.json").write_text((tmp_path / "one" / "labels.json").read_text() + "\n")
    second = _evaluated(tmp_path / "two" / "b", 2)

    with pytest.raises(ReportError, match=r"annotations_sha256 differs \([0-9a-f]{12} / [0-9a-f]{12}\)"):
        compare_reports([first, second], annotations=None, across_protocols=False)


def test_numbers_that_were_changed_and_sealed_anew_are_found_out(tmp_path: Path):
    honest = _evaluated(tmp_path / "a", 2)
    doctored = _sealed_anew(_evaluated(tmp_path / "b", 1), lambda content: content["stats"].update(AP=0.99))

    for across_protocols in (False, True):
        with pytest.raises(ReportError, match=r"says AP 0\.9900, but its results give 0\.5050; it was changed"):
            compare_reports([honest, doctored], annotations=None, across_protocols=across_protocols)


def test_a_protocol_that_was_changed_by_hand_is_found_out(tmp_path: Path):
    honest = _evaluated(tmp_path / "a", 2)
    doctored = _evaluated(tmp_path / "b", 1, test=ProtocolConfig(flip=False))
    doctored.write_text(doctored.read_text().replace('"flip": false', '"flip": true'))

    with pytest.raises(ReportError, match="was changed after it was written"):
        compare_reports([honest, doctored], annotations=None, across_protocols=True)


def test_results_of_another_evaluation_are_found_out(tmp_path: Path):
    paths = [_evaluated(tmp_path / "a", 1), _evaluated(tmp_path / "b", 2)]
    shutil.copy(tmp_path / "b" / RESULTS_FILE, tmp_path / "a" / RESULTS_FILE)

    with pytest.raises(ReportError, match=r"results.json is not the file that .*report.json was computed from"):
        compare_reports(paths, annotations=None, across_protocols=True)


def test_numbers_that_cannot_be_computed_again_are_not_ranked(tmp_path: Path):
    honest, other = _evaluated(tmp_path / "a", 2), _evaluated(tmp_path / "b", 1)

    def objections() -> str:
        with pytest.raises(ReportError):
            compare_reports([honest, other], annotations=None, across_protocols=False)
        return "; ".join(compare_reports([honest, other], annotations=None, across_protocols=True).objections)

    (tmp_path / "b" / RESULTS_FILE).rename(tmp_path / "elsewhere")
    assert "b/report.json cannot be checked: it has no results.json beside it" in objections()
    (tmp_path / "elsewhere").rename(tmp_path / "b" / RESULTS_FILE)
    _sealed_anew(other, lambda content: content["protocol"].update(skeleton="fish"))
    assert "no skeleton 'fish'" in objections()
    _sealed_anew(other, lambda content: content.update(stats={"PCKh": 0.9}))
    assert "only COCO's ten numbers can be recomputed" in objections()
    (tmp_path / "labels.json").rename(tmp_path / "moved.json")
    assert "a/report.json cannot be checked: its labels are not at" in objections()


def test_labels_that_were_moved_can_be_named(tmp_path: Path):
    paths = [_evaluated(tmp_path / "a", 2), _evaluated(tmp_path / "b", 1)]
    (tmp_path / "labels.json").rename(tmp_path / "moved.json")

    assert not compare_reports(paths, annotations=tmp_path / "moved.json", across_protocols=False).objections
    with pytest.raises(ReportError, match="is not the label file that it was evaluated on"):
        compare_reports(paths, annotations=paths[0], across_protocols=False)


def test_numbers_of_keypoints_of_ones_own_are_computed_again_too(tmp_path: Path):
    own = COCO_17.model_copy(update={"name": "mine"})
    paths = [_evaluated(tmp_path / "a", 2, skeleton=own), _evaluated(tmp_path / "b", 1, skeleton=own)]

    assert not compare_reports(paths, annotations=None, across_protocols=False).objections


def test_one_report_is_nothing_to_compare(tmp_path: Path):
    with pytest.raises(ReportError, match="give two reports or more"):
        compare_reports([_evaluated(tmp_path / "a", 1)], annotations=None, across_protocols=False)


def test_the_command_prints_the_ranking_with_differences(tmp_path: Path):
    paths = [_evaluated(tmp_path / "a", 1), _evaluated(tmp_path / "b", 2)]

    result = run("compare", *paths)

    assert result.exit_code == 0, result.output
    assert "1. b" in result.stdout
    assert "2. a" in result.stdout
    assert "0.505 -0.495" in result.stdout


def test_the_command_refuses_with_one_line_unless_told_to_go_on(tmp_path: Path):
    paths = [_evaluated(tmp_path / "a", 1), _evaluated(tmp_path / "b", 2, test=ProtocolConfig(flip=False))]

    refused = run("compare", *paths)
    shown = run("compare", *paths, "--across-protocols")

    assert "test.flip differs (true / false)" in error_line(refused)
    assert shown.exit_code == 0
    assert "not ranked: test.flip differs (true / false)" in shown.stderr
    assert "1.000 +0.495" in shown.stdout
