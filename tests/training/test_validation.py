import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from mspn.checkpoints.format import load_checkpoint
from mspn.config.data import PeopleSetConfig
from mspn.config.recipe import Recipe
from mspn.distributed import ALONE, Processes
from mspn.errors import AnnotationError
from mspn.training.loop import train
from mspn.training.metrics import read_metrics
from mspn.training.tasks import Validation
from tests.drawn_people import write_drawn_set
from tests.trained import overfitted, small_and_fast, tiny_recipe
from tests.training.several import run_together

CPU = torch.device("cpu")
DRAWN = PeopleSetConfig(annotations="annotations.json", images="images")


def validated_on(recipe: Recipe, validation: PeopleSetConfig) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"validation": validation})})


def test_a_network_that_knows_the_people_by_heart_finds_them_all():
    folder, weights = overfitted()
    recipe = validated_on(tiny_recipe(folder, iterations=2), DRAWN)
    network = load_checkpoint(weights).model.train()

    measured = Validation(recipe, CPU, ALONE).measure(network)

    assert measured["AP"] > 0.8
    assert network.training


def test_without_a_set_nothing_is_measured(tmp_path: Path):
    assert not Validation(tiny_recipe(tmp_path, iterations=2), CPU, ALONE).is_possible


def test_a_set_that_is_not_there_is_reported_and_nothing_is_measured(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    recipe = validated_on(tiny_recipe(tmp_path, iterations=2), DRAWN)

    with caplog.at_level(logging.WARNING):
        validation = Validation(recipe, CPU, ALONE)

    assert not validation.is_possible
    assert f"no validation: there is no {tmp_path / 'annotations.json'}; data.validation names it" in caplog.text


def test_labels_of_no_use_are_refused(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=1)
    (tmp_path / "annotations.json").write_text("{}")

    with pytest.raises(AnnotationError, match="must be a COCO keypoint file"):
        Validation(validated_on(tiny_recipe(tmp_path, iterations=2), DRAWN), CPU, ALONE)


def write_repeated_set(drawn: Path, folder: Path, *, times: int) -> None:
    """The drawn set so many times over, each time with other names and ids."""
    labels = json.loads((drawn / "annotations.json").read_text())
    images, people = labels["images"], labels["annotations"]
    (folder / "images").mkdir()
    labels["images"], labels["annotations"] = [], []
    for time in range(times):
        for image in images:
            name = f"{time}-{image['file_name']}"
            shutil.copy(drawn / "images" / image["file_name"], folder / "images" / name)
            labels["images"].append(image | {"id": 100 * time + image["id"], "file_name": name})
        for person in people:
            ids = {"id": 100 * time + person["id"], "image_id": 100 * time + person["image_id"]}
            labels["annotations"].append(person | ids)
    (folder / "annotations.json").write_text(json.dumps(labels))


def spoil_statistics(network: nn.Module) -> None:
    for buffer in network.buffers():
        buffer.zero_()


def measure(processes: Processes, recipe: Recipe, weights: Path, expected: dict[str, float]) -> None:
    network = load_checkpoint(weights).model
    if not processes.is_first:  # running statistics differ in training, and the first process's count
        spoil_statistics(network)

    assert Validation(recipe, CPU, processes).measure(network) == expected


def test_processes_that_share_the_images_measure_what_one_does(tmp_path: Path):
    # Processes share groups of at least 32 people, as many as fit a batch: the second one has the last 8 of 40.
    drawn, weights = overfitted()
    write_repeated_set(drawn, tmp_path, times=5)
    recipe = validated_on(tiny_recipe(tmp_path, iterations=2), DRAWN)
    network = load_checkpoint(weights).model
    expected = Validation(recipe, CPU, ALONE).measure(network)
    spoil_statistics(network)

    assert expected["AP"] > 0.8
    assert Validation(recipe, CPU, ALONE).measure(network)["AP"] < 0.1
    run_together(2, measure, recipe, weights, expected)


def test_training_measures_every_few_epochs_and_at_the_end_and_keeps_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_drawn_set(tmp_path, num_images=4)
    # Four people, two a batch, once an epoch: two iterations each.
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=10), ["data.train.0.weight=1", "train.validate_every=2"])
    found = iter([0.25, 0.75, 0.5])
    monkeypatch.setattr(Validation, "measure", lambda self, network, report: {"AP": next(found)})

    weights = train(validated_on(recipe, DRAWN), tmp_path / "run", resume=False)

    lines = read_metrics(tmp_path / "run")
    assert [(line.iteration, line.validation) for line in lines] == [
        (2, None),
        (4, {"AP": 0.25}),
        (6, None),
        (8, {"AP": 0.75}),
        (10, {"AP": 0.5}),
    ]
    best, last = (load_checkpoint(path).model for path in (tmp_path / "run" / "best.safetensors", weights))
    name = "stem.conv.norm.num_batches_tracked"
    assert (best.state_dict()[name].item(), last.state_dict()[name].item()) == (8, 10)


def test_a_run_whose_people_are_never_found_keeps_its_best_weights_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_drawn_set(tmp_path, num_images=2)
    recipe = small_and_fast(tiny_recipe(tmp_path, iterations=2))
    monkeypatch.setattr(Validation, "measure", lambda self, network, report: {"AP": 0.0})

    train(validated_on(recipe, DRAWN), tmp_path / "run", resume=False)

    assert (tmp_path / "run" / "best.safetensors").is_file()
