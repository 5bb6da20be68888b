import json
from pathlib import Path

import pytest

from mspn.errors import ReportError
from mspn.evaluation.report import EvaluationProtocol, Report, read_report, write_report


def _written(folder: Path) -> Path:
    path = folder / "report.json"
    protocol = EvaluationProtocol(
        annotations="val.json", annotations_sha256="ab", boxes="ground truth", input_size=(256, 192)
    )
    write_report(path, Report(model="mspn-2", stats={"AP": 0.7}, protocol=protocol))
    return path


def test_a_report_is_read_as_it_was_written(tmp_path: Path):
    report = read_report(_written(tmp_path))

    assert (report.model, report.stats, report.protocol.input_size) == ("mspn-2", {"AP": 0.7}, (256, 192))
    assert set(report.versions) == {"mspn", "torch", "pycocotools"}


def test_the_order_of_keys_and_spaces_between_them_do_not_break_the_seal(tmp_path: Path):
    path = _written(tmp_path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items()))))

    assert read_report(path).stats == {"AP": 0.7}


@pytest.mark.parametrize(("old", "new"), [('"AP": 0.7', '"AP": 0.8'), ('"ground truth"', '"boxes.json"')])
def test_a_change_by_hand_is_seen(tmp_path: Path, old: str, new: str):
    path = _written(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))

    with pytest.raises(ReportError, match="was changed after it was written"):
        read_report(path)


def test_what_is_no_report_is_refused(tmp_path: Path):
    path = tmp_path / "report.json"

    with pytest.raises(ReportError, match=r"no report at .*report.json; give a report.json"):
        read_report(path)
    path.write_text("{")
    with pytest.raises(ReportError, match="cannot be read"):
        read_report(path)
    path.write_text("[]")
    with pytest.raises(ReportError, match="has no seal"):
        read_report(path)


def test_a_report_of_another_form_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = _written(tmp_path)
    content = json.loads(path.read_text())
    del content["model"]
    monkeypatch.setattr("mspn.evaluation.report._seal", lambda _content: content["seal"])
    path.write_text(json.dumps(content))

    with pytest.raises(ReportError, match=r"report.json: model: Field required; was it written by another version"):
        read_report(path)
