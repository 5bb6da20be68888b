import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from benchmarks.drawn_animals import write_animals
from mspn.checkpoints.format import read_metadata, save_weights
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.config.model import ModelConfig
from mspn.config.recipe import Recipe
from mspn.errors import AnnotationError, MissingFileError
from mspn.evaluation.predicting import PersonKeypoints
from mspn.labels.formats.coco import read_coco
from mspn.labels.label_set import LabeledSet
from mspn.models import build_network
from mspn.structures.boxes import Size
from mspn.structures.skeleton import COCO_17
from mspn.training import finetuning
from mspn.training.finetuning import find_known_keypoints, plan_finetuning, shows_both_sides
from tests.cli.runner import error_line, run

KITE = np.array([[0, -2], [-1, 0], [1, 0], [0, 3]], float)
"""Top, west, east, tail: its two sides look the same."""


class FakeEstimator:
    """Of COCO's keypoints, all of them far from any label unless a name says how far."""

    def __init__(self, labels: LabeledSet, offsets: Mapping[str, Sequence[float]]) -> None:
        """Offsets to the right of the label of a person each, by the name of ours and the label's, as "nose top"."""
        self.recipe = Recipe(name="coco", model=ModelConfig())
        self.keypoints = {person.id: np.full((17, 2), 500.0) for person in labels.people}
        for names, distances in offsets.items():
            own, label = (COCO_17.keypoints.index(names.split()[0]), labels.skeleton.keypoints.index(names.split()[1]))
            for person, distance in zip(labels.people, distances, strict=True):
                self.keypoints[person.id][own] = person.keypoints_image[label, :2] + (distance, 0)

    def predict(self, *_given: object) -> tuple[PersonKeypoints, list[Any]]:
        return PersonKeypoints(COCO_17, self.keypoints), []


def test_keypoints_are_known_where_the_network_puts_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    # Ten kites in boxes of 50 pixels: a tenth is 5. Of the tail seven are as near, of the west six.
    labels = read_coco(write_labels(tmp_path, [{"box": [10, 10, 30, 50]}] * 10))
    source = FakeEstimator(
        labels,
        {
            "nose top": [4] * 10,
            "left_eye top": [2] * 10,
            "left_knee tail": [5] * 7 + [6] * 3,
            "left_wrist west": [5] * 6 + [6] * 4,
        },
    )
    monkeypatch.setattr(finetuning, "predict_labeled", source.predict)

    assert find_known_keypoints(source, labels, tmp_path) == {"top": "left_eye", "tail": "left_knee"}
    few = replace(labels, people=labels.people[:4])
    assert find_known_keypoints(source, few, tmp_path) == {}


def test_keypoints_of_the_same_name_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    labels = read_coco(write_labels(tmp_path, [{"box": [10, 10, 30, 50]}] * 10))
    skeleton = labels.skeleton.model_copy(update={"keypoints": ("nose", "LeftEye", "right_eye", "left_ear")})
    monkeypatch.setattr(finetuning, "predict_labeled", lambda *_given: pytest.fail("nothing is to be found"))

    assert find_known_keypoints(FakeEstimator(labels, {}), replace(labels, skeleton=skeleton), tmp_path) == {}


def narrow_weights(path: Path) -> Path:
    model = ModelConfig(backbone="resnet18", num_stages=1, stem_channels=8, up_channels=8, input_size=Size(96, 96))
    torch.manual_seed(0)
    save_weights(path, build_network(model), CheckpointMetadata(recipe=Recipe(name="narrow", model=model)))
    return path


def write_labels(folder: Path, rows: Sequence[dict[str, Any]], category: str = "kite", size: int = 64) -> Path:
    """One annotation for each row, in an image of its own unless it names one."""
    (folder / "images").mkdir(parents=True)
    annotations = []
    for number, row in enumerate(rows, start=1):
        keypoints = [value for point in row.get("points", KITE * 10 + 30).tolist() for value in (*point, 2)]
        annotations.append(
            {"id": number, "image_id": row.get("image", number), "category_id": 1, "keypoints": keypoints}
            | ({"bbox": row["box"]} if "box" in row else {})
        )
    images = [{"id": number, "file_name": f"{number}.png"} for number in {row["image_id"] for row in annotations}]
    for image in images:
        cv2.imwrite(str(folder / "images" / image["file_name"]), np.full((size, size, 3), 99, np.uint8))
    categories = [{"id": 1, "name": category, "keypoints": ["top", "west", "east", "tail"]}]
    path = folder / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def poses(*shapes: np.ndarray) -> np.ndarray:
    return np.array([np.column_stack([shape, np.full(len(shape), 2)]) for shape in shapes])


def test_kites_however_turned_have_no_mirror_image_among_them():
    assert not shows_both_sides(poses(*(turned(KITE, degrees) + degrees for degrees in (0, 40, 90, 170, 250, 300))))


def test_animals_that_walk_either_way_have():
    walking = np.array([[10, 0], [5, -3], [-5, -3], [5, 6], [-5, 6]], float)

    assert shows_both_sides(poses(walking, walking * (-1, 1), turned(walking, 20), walking * 2))
    assert not shows_both_sides(poses(walking, turned(walking, 20), walking * 2))


def test_a_hidden_keypoint_does_not_count():
    hidden = poses(KITE, turned(KITE, 100), KITE)
    hidden[1:, 3] = 0

    assert not shows_both_sides(hidden)


def test_points_on_a_line_may_be_mirrored():
    line = np.array([[0, 0], [1, 0], [2, 0]], float)

    assert shows_both_sides(poses(line, turned(line, 70)))
    assert shows_both_sides(poses(line))


def test_one_thing_an_image_is_shown_whole_and_a_fifth_is_held_out(tmp_path: Path):
    labels = write_labels(tmp_path, [{}] * 10)
    weights = narrow_weights(tmp_path / "w.safetensors")

    plan = plan_finetuning(str(weights), labels, tmp_path / "run")
    plan.write_labels(tmp_path / "run")

    recipe = plan.recipe
    assert (recipe.data.boxes, recipe.model.input_size, recipe.model.backbone) == ("image", Size(96, 96), "resnet18")
    assert recipe.keypoint_table.keypoints == ("top", "west", "east", "tail")
    assert recipe.keypoint_table.category == "kite"
    assert recipe.augmentation.mirror_probability == 0
    train, val = (read_coco(tmp_path / "run" / name) for name in ("train.json", "val.json"))
    assert (len(train.images), len(val.images)) == (8, 2)
    assert not {image.file_name for image in train.images} & {image.file_name for image in val.images}


@pytest.mark.parametrize(
    ("rows", "category"),
    [([{"image": 1}, {"image": 1}, {"image": 2}], "kite"), ([{}, {}], "person")],
    ids=["two in an image", "people"],
)
def test_boxes_count_where_several_share_an_image_or_a_detector_finds_them(tmp_path: Path, rows, category: str):
    labels = write_labels(tmp_path, [{**row, "box": [0, 0, 20, 40]} for row in rows], category)
    weights = narrow_weights(tmp_path / "w.safetensors")

    recipe = plan_finetuning(str(weights), labels, tmp_path / "run").recipe

    # Half as wide as high: 68 x 136 pixels.
    assert (recipe.data.boxes, recipe.model.input_size) == ("labeled", Size(128, 64))


def test_labels_of_no_use_are_refused(tmp_path: Path):
    weights = str(narrow_weights(tmp_path / "w.safetensors"))
    one = write_labels(tmp_path / "one", [{}])
    blank = write_labels(tmp_path / "blank", [{}, {}])
    content = json.loads(blank.read_text())
    for row in content["annotations"]:
        row["keypoints"] = [0] * 12
    blank.write_text(json.dumps(content))

    with pytest.raises(AnnotationError, match="1 image cannot be split"):
        plan_finetuning(weights, one, tmp_path / "run")
    with pytest.raises(AnnotationError, match=r"labels\.json has nobody with a labeled keypoint"):
        plan_finetuning(weights, blank, tmp_path / "run")
    with pytest.raises(MissingFileError, match=r"no folder of images at .*nowhere; --images is the folder"):
        plan_finetuning(weights, one, tmp_path / "run", images=tmp_path / "nowhere")


def test_the_command_trains_and_its_weights_need_neither_detector_nor_boxes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    write_animals(tmp_path / "set", 5)
    weights, labels = narrow_weights(tmp_path / "w.safetensors"), tmp_path / "set" / "annotations.json"
    arguments = ("train", "finetune", "--from", weights, "--data", labels, "--out", tmp_path / "run")
    faster = [word for setting in ("train.iterations=2", "data.workers=0") for word in ("--set", setting)]

    with caplog.at_level(logging.INFO):
        trained = run(*arguments, *faster)
    again = run("train", "finetune", "--out", tmp_path / "run", "--resume", "--set", "train.iterations=3")
    best = tmp_path / "run" / "best.safetensors"
    picture = tmp_path / "set" / "images" / "animal-001.png"
    predicted = run("predict", picture, "--model", best, "--out", tmp_path / "out")

    assert trained.exit_code == 0, trained.output
    assert f"the best on data.validation: {best}" in trained.output
    assert again.exit_code == 0, again.output
    assert predicted.exit_code == 0, predicted.output
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())[0]["people"][0]["box"] == [0, 0, 256, 256]
    metadata = read_metadata(best)
    assert metadata.recipe.keypoint_table.category == "animal"
    assert metadata.data == ("train.json",)
    assert str(tmp_path).encode() not in best.read_bytes()


def test_what_is_missing_or_not_used_is_said(tmp_path: Path):
    without = run("train", "finetune", "--out", tmp_path / "run")
    unused = run("train", "mspn-tiny", "--data", "labels.json", "--out", tmp_path / "run")

    assert "give --data to finetune: a file of labels" in error_line(without)
    assert "--data is an option of mspn train finetune" in error_line(unused)
    assert not (tmp_path / "run").exists()
