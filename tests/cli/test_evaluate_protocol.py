import json
from pathlib import Path

from tests.cli.runner import error_line, run
from tests.trained import overfitted


def _evaluate(out: Path, *options: object) -> None:
    folder, weights = overfitted()
    data = ("--annotations", folder / "annotations.json", "--images", folder / "images", "--batch", 8)
    result = run("evaluate", "--model", weights, *data, "--out", out, *options)
    assert result.exit_code == 0, result.output


def _results(out: Path) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = json.loads((out / "results.json").read_text())
    return rows


def test_every_switch_of_a_protocol_can_be_set_and_stands_in_the_report(tmp_path: Path):
    _evaluate(
        tmp_path,
        *("--protocol", "mmpose", "--set", "test.decoder=dark", "--set", "test.blur_kernel=1", "--no-flip"),
        *("--set", "test.rescoring=box_only", "--set", "test.suppression_oks=0.9", "--set", "test.padding=[1.1, 1.2]"),
    )

    report = json.loads((tmp_path / "report.json").read_text())
    assert report["protocol"]["test"] == {
        "padding": [1.1, 1.2],
        "flip": False,
        "mirror_shift": 0,
        "blur_kernel": 1,
        "decoder": "dark",
        "score_offset": 0.5,
        "rescoring": "box_only",
        "suppression_oks": 0.9,
    }
    assert report["ensemble"] == []
    assert {row["score"] for row in _results(tmp_path)} == {1.0}


def test_a_network_averaged_with_itself_gives_the_same_results(tmp_path: Path):
    _, weights = overfitted()
    _evaluate(tmp_path / "alone")

    _evaluate(tmp_path / "twice", "--model", weights, "--weight", 1, "--weight", 3)

    assert _results(tmp_path / "twice") == _results(tmp_path / "alone")
    report = json.loads((tmp_path / "twice" / "report.json").read_text())
    assert report["model"] == f"{weights} + {weights}"
    assert [(member["model"], member["weight"]) for member in report["ensemble"]] == [
        (str(weights), 1),
        (str(weights), 3),
    ]
    assert report["ensemble"][1]["input_size"] == [192, 128]
    assert report["ensemble"][1]["test"] == report["protocol"]["test"]


def test_predict_averages_several_models(tmp_path: Path):
    folder, weights = overfitted()
    boxes = ("--boxes", folder / "annotations.json")

    alone = run("predict", folder / "images", "--model", weights, *boxes, "--out", tmp_path / "alone")
    pair = ("--model", weights, "--model", weights)
    twice = run("predict", folder / "images", *pair, *boxes, "--out", tmp_path / "twice")

    assert alone.exit_code == twice.exit_code == 0, twice.output
    name = "predictions.json"
    assert (tmp_path / "twice" / name).read_text() == (tmp_path / "alone" / name).read_text()


def test_settings_of_anything_but_the_test_are_refused():
    _, weights = overfitted()
    options = ("evaluate", "--model", weights, "--annotations", "a.json", "--images", "images")

    assert "only test settings can be changed here" in error_line(run(*options, "--set", "model.num_stages=1"))
    assert "did you mean 'decoder'?" in error_line(run(*options, "--set", "test.decode=dark"))
    assert "1 weights for 2 models" in error_line(run(*options, "--model", weights, "--weight", 1))
