import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import BatchNorm2d

from mspn.checkpoints.format import load_checkpoint, load_detector, read_metadata
from mspn.config.model import ModelConfig
from mspn.config.recipe import DetectorRecipe, override
from mspn.config.train import SupervisionConfig, TrainConfig
from mspn.datasets.samples import SampleRequest
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.distributed import ALONE
from mspn.errors import DetectorError, TrainingStoppedError, WeightsError
from mspn.evaluation.detection_counts import count_detections, detect_people
from mspn.labels.formats.coco import read_coco_people
from mspn.models import build_network
from mspn.structures.skeleton import COCO_17
from mspn.training.loop import train
from mspn.training.losses import compute_losses
from mspn.training.metrics import IterationReport
from mspn.training.tasks import read_task
from mspn.training.train_step import TrainStep
from tests.detectors.family_outputs import nanodet_outputs, nanodet_plus_outputs, rtmdet_outputs
from tests.detectors.onnx_files import write_answers
from tests.trained_detector import overfitted_detector, tiny_detector_recipe


def test_a_trained_detector_finds_the_people_it_has_learned():
    folder, weights = overfitted_detector()
    truth = read_coco_people(folder / "annotations.json", COCO_17)
    finder = EmbeddedPersonDetector(load_detector(weights).model, torch.device("cpu"), "float32")

    counts = count_detections(truth, detect_people(finder, truth, folder / "images"), threshold=0.3)

    assert counts.matched_people == counts.people == 8
    assert counts.precision > 0.9


def test_the_run_folder_describes_itself():
    _, weights = overfitted_detector()
    run = weights.parent

    assert (run / "crops.jpg").is_file()
    assert "tiny-detector" in (run / "report.html").read_text()
    (session,) = json.loads((run / "environment.json").read_text())["sessions"]
    (data,) = session["data"]
    assert data["proposals"] == "people_boxes.json"
    assert data["images"] == 4
    assert data["people"] == 8
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert len(last["losses"][0]) == 3  # levels
    assert 0 < last["validation"]["AP50"] <= 1


def test_a_detector_is_no_pose_network_and_the_other_way_round():
    _, weights = overfitted_detector()

    with pytest.raises(WeightsError, match="is a person detector, not a pose network; give it to --detector"):
        load_checkpoint(weights)


def test_an_interrupted_run_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path):
    recipe: DetectorRecipe = override(tiny_detector_recipe(tmp_path / "set", iterations=4), ["data.validation=null"])
    undisturbed = load_file(train(recipe, tmp_path / "whole", resume=False))

    def interrupt(report: IterationReport) -> None:
        if report.iteration == 3:
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, TrainingStoppedError)):
        train(recipe, tmp_path / "parts", resume=False, report=interrupt)
    resumed = load_file(train(recipe, tmp_path / "parts", resume=True))

    assert all(torch.equal(resumed[name], undisturbed[name]) for name in undisturbed)


def test_frozen_parts_keep_what_they_start_from(tmp_path: Path):
    recipe = override(
        tiny_detector_recipe(tmp_path / "set", iterations=2), ["data.validation=null", 'train.frozen_parts=["stem"]']
    )

    weights = load_detector(train(recipe, tmp_path / "run", resume=False)).model.state_dict()
    longer = override(recipe, ["train.iterations=4"])
    later = load_detector(train(longer, tmp_path / "run", resume=True)).model.state_dict()

    for name, tensor in weights.items():
        is_weight = name.endswith(".weight") and "norm" not in name
        if name.startswith("stem."):
            assert torch.equal(tensor, later[name]), name
        elif is_weight:
            assert not torch.equal(tensor, later[name]), name


def test_a_part_is_a_whole_name():
    network = build_network(ModelConfig(num_stages=11, backbone="resnet18", stem_channels=2, up_channels=2))

    TrainStep(
        network,
        partial(compute_losses, config=SupervisionConfig(), sigmas=COCO_17.sigmas),
        TrainConfig(frozen_parts=("stages.1", "stem.conv.conv.weight")),
        torch.device("cpu"),
    )

    frozen = {name for name, tensor in network.named_parameters() if not tensor.requires_grad}
    assert {".".join(name.split(".")[:2]) for name in frozen} == {"stages.1", "stem.conv"}
    kept = [name for name, module in network.named_modules() if isinstance(module, BatchNorm2d) and not module.training]
    assert {".".join(name.split(".")[:2]) for name in kept} == {"stages.1"}


def test_a_part_that_is_not_there_cannot_be_frozen(tmp_path: Path):
    recipe = override(tiny_detector_recipe(tmp_path / "set", iterations=2), ['train.frozen_parts=["neck"]'])

    with pytest.raises(ValueError, match="the network has no part 'neck'"):
        train(recipe, tmp_path / "run", resume=False)


def _taught_recipe(folder: Path, outputs: dict[str, np.ndarray], side: int = 64) -> DetectorRecipe:
    teacher = write_answers(folder / "teacher.onnx", outputs)
    settings = [f"distillation.teacher={teacher}", f"scene.side={side}", "data.validation=null"]
    recipe: DetectorRecipe = override(tiny_detector_recipe(folder / "set", iterations=2), settings)
    return recipe


def test_scenes_carry_what_a_teacher_says_of_their_cells(tmp_path: Path):
    task = read_task(_taught_recipe(tmp_path, nanodet_outputs()), torch.device("cpu"), ALONE)

    sample = task.data.samples[SampleRequest(position=0, sample_index=0)]

    assert sample.labels.teacher_scores.nonzero().tolist() == [[64 + 16 + 2]]
    assert sample.labels.teacher_boxes[64 + 16 + 2].tolist() == pytest.approx([0, 16, 48, 64], abs=1e-3)


def test_a_detector_learns_from_a_teacher_in_worker_processes_and_names_it_without_its_folder(tmp_path: Path):
    recipe = override(_taught_recipe(tmp_path, nanodet_outputs()), ["data.workers=1"])

    weights = train(recipe, tmp_path / "run", resume=False)

    distillation = read_metadata(weights).recipe.distillation
    assert (distillation.teacher, distillation.label_weight) == ("teacher.onnx", 0.5)


@pytest.mark.parametrize(
    ("outputs", "side", "problem"),
    [
        (nanodet_outputs(), 96, "teacher.onnx is for 64x64 pixels, not for 96x96"),
        (nanodet_plus_outputs(), 64, "teacher.onnx has 85 cells, not one for each of 84 at 1/8, 1/16 and 1/32 of 64"),
        (rtmdet_outputs(), 64, "teacher.onnx does not tell which cell"),
    ],
)
def test_a_teacher_of_other_cells_is_refused(tmp_path: Path, outputs: dict[str, np.ndarray], side: int, problem: str):
    with pytest.raises(DetectorError, match=problem):
        read_task(_taught_recipe(tmp_path, outputs, side), torch.device("cpu"), ALONE)


def test_a_teacher_that_is_no_file_of_a_known_family_is_refused(tmp_path: Path):
    recipe = override(tiny_detector_recipe(tmp_path, iterations=2), ["distillation.teacher=none"])

    with pytest.raises(DetectorError, match=r"distillation\.teacher: none is no ONNX file of a family"):
        read_task(recipe, torch.device("cpu"), ALONE)
