"""A skeleton of one's own, from its YAML file to trained weights, evaluation and drawings."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn import PoseEstimator
from mspn.checkpoints.format import read_metadata
from mspn.config.recipe import override
from mspn.detectors.precomputed import BoxesFile
from mspn.errors import SettingsError
from mspn.structures.skeleton import COCO_17
from mspn.training.checkpoint import RECIPE_FILE, load_recipe
from mspn.training.loop import train
from mspn.visualize.draw import draw_poses
from tests.cli.runner import error_line, run
from tests.drawn_people import write_drawn_set
from tests.trained import tiny_recipe

KITE = """\
name: kite
keypoints: [top, west, east, tail]
pairs: [[west, east]]
limbs: [[top, west], [top, east], [west, tail], [east, tail]]
upper: [top, west, east]
"""
OF_COCO = {"top": "nose", "west": "left_wrist", "east": "right_wrist", "tail": "right_ankle"}


def write_kites(folder: Path) -> None:
    """The drawn people, four of their keypoints under names of our own."""
    path = write_drawn_set(folder, num_images=4)
    content = json.loads(path.read_text())
    rows = [COCO_17.keypoints.index(name) for name in OF_COCO.values()]
    for row in content["annotations"]:
        row["keypoints"] = np.reshape(row["keypoints"], (17, 3))[rows].ravel().tolist()
        row["num_keypoints"] = 4
    content["categories"][0] |= {"name": "kite", "keypoints": list(OF_COCO)}
    path.write_text(json.dumps(content))
    (folder / "kite.yaml").write_text(KITE)


@pytest.mark.slow
def test_a_skeleton_of_ones_own_is_trained_scored_and_drawn(tmp_path: Path):
    write_kites(tmp_path)
    settings = [f"skeleton={tmp_path / 'kite.yaml'}", "model.input_size=[96, 64]", "model.num_stages=1"]
    recipe = override(tiny_recipe(tmp_path, iterations=100), settings)

    weights = train(recipe, tmp_path / "run", resume=False)
    (tmp_path / "kite.yaml").unlink()
    annotations = tmp_path / "annotations.json"
    estimator = PoseEstimator(weights, detector=BoxesFile(annotations, category="kite"), precision="float32")
    image = tmp_path / "images" / "000000000001.png"
    (pose,) = estimator(image)
    drawn = draw_poses(cv2.imread(str(image)), [pose])
    out = tmp_path / "report"
    scored = run(
        *("evaluate", "--model", weights, "--annotations", annotations, "--images", tmp_path / "images"),
        *("--out", out, "--batch", 4),
    )

    unnamed = run("predict", image, "--model", weights, "--out", tmp_path / "out")

    # The file is gone: run folder and weights carry the whole skeleton.
    assert load_recipe(tmp_path / "run").keypoint_table.name == "kite"
    assert json.loads((tmp_path / "run" / RECIPE_FILE).read_text())["skeleton"]["limbs"][2] == ["west", "tail"]
    assert read_metadata(weights).recipe.keypoint_table.mirror_order == [0, 2, 1, 3]
    # What the boxes hold comes from the labels, and goes into the weights and the results.
    assert read_metadata(weights).recipe.keypoint_table.category == "kite"
    assert pose.to_dict()["category"] == "kite"
    assert unnamed.exit_code == 2
    assert "the network's boxes hold 'kite' (skeleton kite), and the default detector finds" in error_line(unnamed)
    truth = json.loads(annotations.read_text())["annotations"][0]["keypoints"]
    assert list(pose.keypoints) == ["top", "west", "east", "tail"]
    np.testing.assert_allclose(pose.keypoints_image, np.reshape(truth, (4, 3))[:, :2], atol=8)
    assert drawn.shape == (160, 120, 3)
    assert scored.exit_code == 0, scored.output
    assert json.loads((out / "report.json").read_text())["stats"]["AP"] > 0.5


def test_a_skeleton_file_brings_its_number_of_keypoints(tmp_path: Path):
    (tmp_path / "kite.yaml").write_text(KITE)

    recipe = override(tiny_recipe(tmp_path, iterations=2), [f"skeleton={tmp_path / 'kite.yaml'}"])

    assert recipe.model.num_keypoints == 4
    assert override(recipe, ["train.seed=3"]).keypoint_table == recipe.keypoint_table


def test_a_named_skeleton_stays_a_name(tmp_path: Path):
    recipe = override(tiny_recipe(tmp_path, iterations=2), ["skeleton=mpii-16"])

    assert (recipe.skeleton, recipe.model.num_keypoints) == ("mpii-16", 16)


def test_a_network_that_contradicts_the_skeleton_is_refused(tmp_path: Path):
    (tmp_path / "kite.yaml").write_text(KITE)

    with pytest.raises(SettingsError, match=r"model\.num_keypoints is 5, but skeleton kite has 4; make"):
        override(tiny_recipe(tmp_path, iterations=2), [f"skeleton={tmp_path / 'kite.yaml'}", "model.num_keypoints=5"])


def test_a_skeleton_that_cannot_be_read_is_refused_with_the_setting(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"^--set skeleton=nowhere\.yaml: no file at nowhere\.yaml; check"):
        override(tiny_recipe(tmp_path, iterations=2), ["skeleton=nowhere.yaml"])


def test_a_damaged_skeleton_in_a_recipe_is_named(tmp_path: Path):
    values = "skeleton={name: kite, keypoints: [top], upper: [tail]}"

    with pytest.raises(SettingsError, match="skeleton: upper names 'tail', which is not among the keypoints of kite"):
        override(tiny_recipe(tmp_path, iterations=2), [values])
