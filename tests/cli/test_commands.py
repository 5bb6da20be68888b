import errno
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from mspn.config.recipes import RECIPES
from tests.cli.runner import error_line, run
from tests.drawn_people import write_drawn_set
from tests.shallow import cut_backbones
from tests.trained import overfitted


def test_predict_writes_every_kind_of_result(tmp_path: Path):
    folder, weights = overfitted()

    result = run(
        *("predict", folder / "images", "--model", weights, "--boxes", folder / "annotations.json"),
        *("--out", tmp_path, "--save", "json,coco,csv,images"),
    )

    assert result.exit_code == 0, result.output
    assert "4 images, 8 people" in result.stdout
    assert f"drawn images: {tmp_path / 'images'}" in result.stdout
    assert len(json.loads((tmp_path / "predictions.json").read_text())) == 4
    assert len(json.loads((tmp_path / "coco.json").read_text())) == 8
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 1 + 8 * 17
    assert len(list((tmp_path / "images").iterdir())) == 4


def test_one_bad_image_among_many_is_reported_skipped_and_ends_with_exit_code_1(tmp_path: Path):
    folder, weights = overfitted()
    shutil.copytree(folder / "images", tmp_path / "in")
    (tmp_path / "in" / "000000000002.png").write_text("no image")

    result = run("predict", tmp_path / "in", "--model", weights, "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert "skipped: " in result.stderr
    assert "000000000002.png is not an image that can be read" in result.stderr
    assert len(json.loads((tmp_path / "out" / "predictions.json").read_text())) == 3


def test_what_was_predicted_is_kept_when_a_later_image_breaks_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder, weights = overfitted()
    calls = []

    def encode_until_full(pixels: np.ndarray) -> bytes:
        calls.append(pixels)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return b"an image"

    monkeypatch.setattr("mspn.io.images.encode_jpeg", encode_until_full)

    result = run("predict", folder / "images", "--model", weights, "--out", tmp_path, "--save", "images,json")

    assert "is there room on the disk?" in error_line(result)
    assert len(list((tmp_path / "images").iterdir())) == 2
    assert len(json.loads((tmp_path / "predictions.json").read_text())) == 2


def test_predict_refuses_bad_input_with_one_line(tmp_path: Path):
    folder, weights = overfitted()
    image = folder / "images" / "000000000001.png"
    not_json = tmp_path / "boxes.json"
    not_json.write_text("{")

    assert "no image, video or folder at nowhere.jpg" in error_line(run("predict", "nowhere.jpg", "--model", weights))
    assert "no weights file at missing.safetensors" in error_line(
        run("predict", image, "--model", "missing.safetensors")
    )
    assert "did you mean 'mspn-small'?" in error_line(run("predict", image, "--model", "mspn-smal"))
    assert "mspn-2-mmpose is not in the cache, and MSPN_OFFLINE forbids downloads" in error_line(
        run("predict", image, "--model", "mspn-2")
    )
    assert "there are no weights of mspn-4-384x288" in error_line(run("predict", image, "--model", "mspn-4-384x288"))
    assert "there are json, jsonl, coco, csv, parquet, yolo, images, video" in error_line(
        run("predict", image, "--model", weights, "--save", "xml")
    )
    assert "no detector 'yolo'; did you mean yolox? there are default, person-detector, none" in error_line(
        run("predict", image, "--model", weights, "--detector", "yolo")
    )
    assert "no theme 'pink'; there are sides, limbs" in error_line(
        run("predict", image, "--model", weights, "--theme", "pink")
    )
    assert "--theme colors drawings; add images or video to --save" in error_line(
        run("predict", image, "--model", weights, "--theme", "limbs", "--save", "json,csv")
    )
    assert "is not JSON" in error_line(run("predict", image, "--model", weights, "--boxes", not_json))
    assert "no device 'gpu'" in error_line(run("predict", image, "--model", weights, "--device", "gpu"))


def test_a_boxes_file_for_other_images_is_refused(tmp_path: Path):
    folder, weights = overfitted()
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"elsewhere.png": [[20, 10, 80, 130, 0.9]]}))

    result = run("predict", folder / "images", "--model", weights, "--boxes", boxes, "--out", tmp_path)

    assert "says nothing about any of the 4 images; do its file names match theirs?" in error_line(result)


@pytest.mark.parametrize(
    ("source", "message"),
    [("images", "is where .* has its results"), ("*/*1.png", "already holds files, which are no results")],
)
def test_drawn_images_never_take_the_place_of_those_they_are_drawn_from(source: str, message: str, tmp_path: Path):
    folder, weights = overfitted()
    shutil.copytree(folder / "images", tmp_path / "images")
    before = (tmp_path / "images" / "000000000001.png").read_bytes()

    result = run("predict", tmp_path / source, "--model", weights, "--out", tmp_path, "--save", "images")

    assert re.search(f"{message}; choose another --out", error_line(result))
    assert (tmp_path / "images" / "000000000001.png").read_bytes() == before


def test_drawings_are_not_drawn_once_more(tmp_path: Path):
    # Found by a pattern only when the run reads it.
    folder, weights = overfitted()
    command = ("--model", weights, "--detector", "none", "--out", tmp_path, "--save", "images")
    assert run("predict", folder / "images" / "000000000001.png", *command).exit_code == 0

    again = run("predict", tmp_path / "*" / "*1.jpg", *command, "--resume")

    assert "which holds 000000000001.jpg; choose another --out" in again.stderr


def test_a_folder_that_cannot_be_written_to_is_refused_before_any_work(tmp_path: Path):
    folder, weights = overfitted()
    (tmp_path / "file").write_text("in the way")
    annotations, images = folder / "annotations.json", folder / "images"

    predicted = run("predict", images, "--model", weights, "--out", tmp_path / "file")
    evaluated = run(
        *("evaluate", "--model", weights, "--annotations", annotations, "--images", images),
        *("--out", tmp_path / "file"),
    )

    assert "cannot write to the folder" in error_line(predicted)
    assert "cannot write to the folder" in error_line(evaluated)


def test_the_version_is_printed():
    assert run("--version").stdout.startswith("mspn 0.")


def test_evaluate_writes_the_ten_numbers_and_their_protocol(tmp_path: Path):
    folder, weights = overfitted()

    result = run(
        *("evaluate", "--model", weights, "--annotations", folder / "annotations.json"),
        *("--images", folder / "images", "--out", tmp_path, "--no-flip"),
    )

    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report["stats"]) == ["AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"]
    assert report["stats"]["AP"] > 0.85
    assert report["protocol"]["boxes"] == "ground truth"
    assert report["protocol"]["test"]["flip"] is False
    assert report["protocol"]["test"]["padding"] == [1.09, 1.135]
    assert len(json.loads((tmp_path / "results.json").read_text())) == 8
    assert report["analysis"]["people"] == 8
    assert report["gmacs"] > 0
    assert "The worst people" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "worst.jpg").exists()


def test_evaluate_scores_the_results_file_that_it_wrote_the_same(tmp_path: Path):
    folder, weights = overfitted()
    annotations = folder / "annotations.json"
    run("evaluate", "--model", weights, "--annotations", annotations, "--images", folder / "images", "--out", tmp_path)

    again = run(
        "evaluate", "--results", tmp_path / "results.json", "--annotations", annotations, "--out", tmp_path / "again"
    )

    assert again.exit_code == 0, again.output
    first = json.loads((tmp_path / "report.json").read_text())["stats"]
    assert json.loads((tmp_path / "again" / "report.json").read_text())["stats"] == first


def test_evaluate_refuses_bad_input_with_one_line(tmp_path: Path):
    folder, weights = overfitted()
    annotations, images = folder / "annotations.json", folder / "images"
    boxes_only = tmp_path / "instances.json"
    content = json.loads(annotations.read_text())
    content["annotations"] = [
        {key: row[key] for key in ("id", "image_id", "bbox", "area")} for row in content["annotations"]
    ]
    boxes_only.write_text(json.dumps(content))

    assert "give --model and --images, or --results" in error_line(run("evaluate", "--annotations", annotations))
    assert "has no annotation with keypoints; a keypoint file is needed" in error_line(
        run("evaluate", "--model", weights, "--annotations", boxes_only, "--images", images)
    )
    assert "no file at missing.json" in error_line(
        run("evaluate", "--model", weights, "--annotations", "missing.json", "--images", images)
    )


def test_train_runs_a_recipe_resumes_it_and_guards_the_run_folder(tmp_path: Path):
    write_drawn_set(tmp_path / "set", num_images=2)
    folder = tmp_path / "run"
    small = [
        *("--set", f"data.root={tmp_path}", "--set", "data.workers=0", "--set", "train.batch_size=2"),
        *("--set", "data.train=[{annotations: set/annotations.json, images: set/images}]"),
        *("--set", "model.stem_channels=8", "--set", "model.up_channels=8", "--set", "train.precision=float32"),
    ]

    first = run("train", "study-mspn-2", "--out", folder, *small, "--set", "train.iterations=2")
    again = run("train", "study-mspn-2", "--out", folder)
    longer = run("train", "study-mspn-2", "--out", folder, "--resume", "--set", "train.iterations=3")

    assert first.exit_code == 0, first.output
    assert f"weights: {folder / 'weights.safetensors'}" in first.stdout
    assert "already holds a run; add --resume" in error_line(again)
    assert longer.exit_code == 0, longer.output
    assert [line.split(",")[1] for line in (folder / "metrics.csv").read_text().splitlines()] == [
        "iteration",
        "1",
        "2",
        "3",
    ]
    assert "holds a run of study-mspn-2, not of mspn-1" in error_line(
        run("train", "mspn-1", "--out", folder, "--resume")
    )


def test_train_refuses_unknown_recipes_and_settings_naming_close_ones(tmp_path: Path):
    out = ("--out", tmp_path / "run")

    assert "no recipe 'mspn-smal'; did you mean mspn-small" in error_line(run("train", "mspn-smal", *out))
    assert "no setting 'batchsize' in TrainConfig; did you mean 'batch_size'?" in error_line(
        run("train", "mspn-small", *out, "--set", "train.batchsize=8")
    )
    assert "no labels at nowhere/lspet_train/annotations.json; set data.train or data.root" in error_line(
        run("train", "mspn-small", *out, "--set", "data.root=nowhere")
    )


def test_a_failed_start_of_training_leaves_no_empty_folder_and_keeps_an_older_one(tmp_path: Path):
    (tmp_path / "older").mkdir()

    for folder in (tmp_path / "runs" / "new", tmp_path / "older"):
        result = run("train", "mspn-small", "--out", folder, "--set", "data.root=nowhere")

        assert "no labels at nowhere" in error_line(result)
    assert [path.name for path in tmp_path.iterdir()] == ["older"]


def test_models_lists_shows_and_converts(tmp_path: Path):
    _, weights = overfitted()

    shown = run("models", "show", weights, "--json")
    there = run("models", "convert", weights, tmp_path / "theirs.pth", "--to", "mmpose")
    back = run("models", "convert", tmp_path / "theirs.pth", tmp_path / "back.safetensors", "--half")

    listed = run("models", "list").stdout
    assert "mspn-4-384x288" in listed
    assert "27,010,538" in listed  # CPN's parameters
    assert json.loads(shown.stdout)["recipe"]["name"] == "tiny"
    assert there.exit_code == 0, there.output
    assert "1 stage of resnet18, 17 keypoints, 256x192 crops (assumed; --input-size says otherwise)" in back.stdout
    sized = run(
        *("models", "convert", tmp_path / "theirs.pth", tmp_path / "sized.safetensors"),
        *("--input-size", "192x128"),
    )
    assert "17 keypoints, 192x128 crops\n" in sized.stdout
    header = json.loads(run("models", "show", tmp_path / "sized.safetensors", "--json").stdout)
    assert header["recipe"]["model"]["input_size"] == [192, 128]
    assert "--half is for --to mspn only" in error_line(
        run("models", "convert", weights, tmp_path / "x.pth", "--to", "official", "--half")
    )
    assert "no checkpoint at nowhere.pth" in error_line(
        run("models", "convert", "nowhere.pth", tmp_path / "x.safetensors")
    )


def test_convert_writes_what_the_header_should_say(tmp_path: Path):
    _, weights = overfitted()
    options = (
        *("--license", "CC0", "--notes", "drawn people", "--result", "ours=0.75", "--result", "theirs=0.5"),
        *("--set", "test.decoder=dark"),
    )

    run("models", "convert", weights, tmp_path / "a.safetensors", *options)

    header = json.loads(run("models", "show", tmp_path / "a.safetensors", "--json").stdout)
    assert (header["license"], header["notes"]) == ("CC0", "drawn people")
    assert header["results"] == {"ours": 0.75, "theirs": 0.5}
    assert header["recipe"]["data"]["root"] == "data"
    assert header["recipe"]["test"]["decoder"] == "dark"
    assert "only test settings can be changed here" in error_line(
        run("models", "convert", weights, tmp_path / "b.safetensors", "--set", "train.seed=1")
    )
    assert "--result ours: write it as SET=AP" in error_line(
        run("models", "convert", weights, tmp_path / "b.safetensors", "--result", "ours")
    )


def test_cost_counts_a_model_by_part(tmp_path: Path):
    (row,) = json.loads(run("models", "cost", "mspn-2", "--json").stdout)

    assert row["name"] == "mspn-2"
    assert row["params"] == 56_800_464
    assert row["gmacs"] == pytest.approx(11.263, abs=5e-4)
    assert row["gmacs_inference"] == pytest.approx(10.730, abs=5e-4)
    assert sum(part["params"] for part in row["parts"].values()) == row["params"]
    assert sum(part["gmacs"] for part in row["parts"].values()) == pytest.approx(row["gmacs"])
    assert list(row["parts"]) == [
        "stem",
        *(f"stages.0.{part}" for part in ("down", "up", "heads")),
        *(f"stages.1.{part}" for part in ("down", "up", "heads")),
        "links.0",
    ]


def test_cost_prints_tables_and_knows_sizes_conventions_and_files():
    table = run("models", "cost", "mspn-1", "--convention", "paper", "--input-size", "384x288")

    # 9/4 of the pixels of 4.415 G.
    assert "9.934" in table.stdout
    assert "stages.0.down" in table.stdout
    assert "stem" in run("models", "cost", overfitted()[1]).stdout
    assert '"name": "default"' in run("models", "cost", "default", "--json").stdout


def test_cost_counts_every_named_model(monkeypatch: pytest.MonkeyPatch):
    cut_backbones(monkeypatch)

    rows = json.loads(run("models", "cost", "--all", "--convention", "paper", "--json").stdout)

    assert [row["name"] for row in rows] == list(RECIPES)
    assert all(row["gmacs"] == row["gmacs_inference"] for row in rows)


def test_cost_refuses_what_it_cannot_count():
    assert "name one model, or give --all" in error_line(run("models", "cost"))
    assert "name one model, or give --all" in error_line(run("models", "cost", "mspn-1", "--all"))
    assert "did you mean 'mspn-2'?" in error_line(run("models", "cost", "mspn2"))
    assert "input size 384: write height x width" in error_line(run("models", "cost", "mspn-1", "--input-size", "384"))
    assert "multiples of 32 pixels up to 1024, not 100x64" in error_line(
        run("models", "cost", "mspn-1", "--input-size", "100x64")
    )
