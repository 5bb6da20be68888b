import logging
from pathlib import Path

import pytest
import torch

from mspn.checkpoints.format import save_weights
from mspn.checkpoints.initialize import initialize_from
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.checkpoints.networks import load_model
from mspn.config.model import BackboneConfig, ModelConfig
from mspn.config.recipe import Recipe
from mspn.errors import WeightsError
from mspn.models import build_network
from mspn.structures.skeleton import COCO_17
from tests.imagenet_file import imagenet_tensors

NARROW = ModelConfig(backbone="resnet18", num_stages=2, stem_channels=8, up_channels=8)


def save(path: Path, model: ModelConfig, skeleton: str = "coco-17") -> dict[str, torch.Tensor]:
    torch.manual_seed(8)
    network = build_network(model)
    save_weights(path, network, CheckpointMetadata(recipe=Recipe(name="theirs", model=model, skeleton=skeleton)))
    return network.state_dict()


def test_a_network_takes_over_what_has_the_same_name_and_shape(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    theirs = save(tmp_path / "w.safetensors", NARROW)
    torch.manual_seed(9)
    ours = build_network(NARROW.model_copy(update={"num_keypoints": 5}))
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}

    with caplog.at_level(logging.INFO):
        initialize_from(ours, str(tmp_path / "w.safetensors"), "all-stages")

    after = ours.state_dict()
    # Eight heads predict other keypoints: a convolution and four of the five tensors of a norm (the fifth counts).
    differing = [name for name in after if after[name].shape != theirs[name].shape]
    assert len(differing) == 8 * 5
    assert all(torch.equal(after[name], before[name]) for name in differing)
    assert all(torch.equal(after[name], theirs[name]) for name in after if name not in differing)
    assert f"{len(after) - 40} of {len(after)} tensors fit" in caplog.text


def test_heads_take_over_the_maps_of_keypoints_of_the_same_name(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    theirs = save(tmp_path / "w.safetensors", NARROW)
    ours = build_network(NARROW.model_copy(update={"num_keypoints": 3}))
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}

    with caplog.at_level(logging.INFO):
        initialize_from(ours, str(tmp_path / "w.safetensors"), "all-stages", ["tail", "LeftWrist", "nose"])

    after = ours.state_dict()
    heads = [name for name in after if after[name].shape != theirs[name].shape]
    assert "stages.1.heads.3.predict.conv.weight" in heads
    for name in heads:
        assert torch.equal(after[name][0], before[name][0])
        assert torch.equal(after[name][1], theirs[name][COCO_17.keypoints.index("left_wrist")])
        assert torch.equal(after[name][2], theirs[name][COCO_17.keypoints.index("nose")])
    assert "heads start from those of LeftWrist, nose" in caplog.text


def test_heads_take_over_the_maps_of_keypoints_that_are_said_to_be_the_same(tmp_path: Path):
    theirs = save(tmp_path / "w.safetensors", NARROW)
    ours = build_network(NARROW.model_copy(update={"num_keypoints": 3}))
    tail = ours.state_dict()["stages.1.heads.3.predict.conv.weight"][0].clone()
    keypoints, other_names = ["tail", "hoof", "nose"], {"hoof": "left_ankle", "nose": "left_eye"}

    initialize_from(ours, str(tmp_path / "w.safetensors"), "all-stages", keypoints, other_names)

    after, before = (state["stages.1.heads.3.predict.conv.weight"] for state in (ours.state_dict(), theirs))
    assert torch.equal(after[0], tail)
    assert torch.equal(after[1], before[COCO_17.keypoints.index("left_ankle")])
    assert torch.equal(after[2], before[COCO_17.keypoints.index("left_eye")])


@pytest.mark.parametrize(
    ("other_names", "told"),
    [
        ({"paw": "left_ankle"}, "'paw' is none of the labels' keypoints: tail, hoof"),
        ({"hoof": "ankle"}, "'ankle' is none of the initial weights' keypoints: nose, left_eye"),
    ],
)
def test_keypoints_that_are_said_to_be_the_same_must_be_there(tmp_path: Path, other_names: dict[str, str], told: str):
    save(tmp_path / "w.safetensors", NARROW)
    ours = build_network(NARROW.model_copy(update={"num_keypoints": 2}))

    with pytest.raises(WeightsError, match=f"train.initial_keypoints: {told}"):
        initialize_from(ours, str(tmp_path / "w.safetensors"), "all-stages", ["tail", "hoof"], other_names)


def test_keypoints_of_the_same_names_may_start_from_others(tmp_path: Path):
    theirs = save(tmp_path / "w.safetensors", NARROW)
    ours = build_network(NARROW)

    initialize_from(ours, str(tmp_path / "w.safetensors"), "all-stages", COCO_17.keypoints, {"nose": "left_eye"})

    after, before = (state["stages.1.heads.3.predict.conv.weight"] for state in (ours.state_dict(), theirs))
    assert torch.equal(after[0], before[1])
    assert torch.equal(after[1:], before[1:])


def test_an_imagenet_network_has_no_keypoints(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"train\.initial_keypoints names keypoints of weights of this package"):
        initialize_from(build_network(NARROW), str(tmp_path / "r.pth"), "all-stages", ["hoof"], {"hoof": "left_ankle"})


def test_heads_of_as_many_other_keypoints_stay_random(tmp_path: Path):
    theirs = save(tmp_path / "w.safetensors", NARROW)
    ours = build_network(NARROW)
    before = ours.state_dict()["stages.0.heads.0.predict.conv.weight"].clone()

    initialize_from(ours, str(tmp_path / "w.safetensors"), "all-stages", [f"joint_{number}" for number in range(17)])

    after = ours.state_dict()
    assert torch.equal(after["stages.0.heads.0.predict.conv.weight"], before)
    assert torch.equal(after["stages.0.heads.0.reduce.conv.weight"], theirs["stages.0.heads.0.reduce.conv.weight"])


def test_what_joins_two_keypoints_is_taken_over_where_both_are(tmp_path: Path):
    refined = NARROW.model_copy(update={"pose_refine_machine": "mmpose"})
    theirs = save(tmp_path / "w.safetensors", refined)
    ours = build_network(refined.model_copy(update={"num_keypoints": 3}))
    trunk, last = "stages.0.refine.0.trunk.conv.weight", "stages.0.refine.0.bottom.2.conv.weight"
    before = ours.state_dict()[trunk].clone()

    initialize_from(ours, str(tmp_path / "w.safetensors"), "all-stages", ["nose", "tail", "left_eye"])

    after = ours.state_dict()
    assert torch.equal(after[trunk][0, 2], theirs[trunk][0, 1])
    assert torch.equal(after[trunk][2, 0], theirs[trunk][1, 0])
    assert torch.equal(after[trunk][0, 1], before[0, 1])
    assert torch.equal(after[last][:, [0, 2]], theirs[last][:, [0, 1]])


def test_further_stages_begin_as_the_files_last_one(tmp_path: Path):
    theirs = save(tmp_path / "w.safetensors", NARROW.model_copy(update={"num_stages": 1}))
    ours = build_network(NARROW.model_copy(update={"num_stages": 3}))
    link = ours.state_dict()["links.1.next_input.conv.weight"].clone()

    initialize_from(ours, str(tmp_path / "w.safetensors"), "all-stages")

    after = ours.state_dict()
    of_first = {
        name.removeprefix("stages.0."): tensor for name, tensor in theirs.items() if name.startswith("stages.0")
    }
    for stage in range(3):
        assert all(torch.equal(after[f"stages.{stage}.{name}"], tensor) for name, tensor in of_first.items())
    assert torch.equal(after["links.1.next_input.conv.weight"], link)


def test_a_further_stage_of_another_backbone_begins_at_random(tmp_path: Path):
    theirs = save(tmp_path / "w.safetensors", NARROW.model_copy(update={"num_stages": 1}))
    own = BackboneConfig(backbone=NARROW.backbone, stem_channels=NARROW.stem_channels)
    other = BackboneConfig(backbone="resnet34", stem_channels=2 * NARROW.stem_channels)
    ours = build_network(NARROW.model_copy(update={"num_stages": 2, "stages": (own, other)}))
    before = ours.stages[1].down.layers[0][0].conv1.conv.weight.clone()

    initialize_from(ours, str(tmp_path / "w.safetensors"), "all-stages")

    after = ours.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in theirs.items())
    assert torch.equal(ours.stages[1].down.layers[0][0].conv1.conv.weight, before)


def test_weights_may_be_named():
    network = build_network(load_model("mspn-small").config)

    initialize_from(network, "mspn-small", "all-stages")

    name = "stem.conv.conv.weight"
    assert torch.equal(network.state_dict()[name], load_model("mspn-small").state_dict()[name])


def test_weights_of_another_kind_of_network_are_refused(tmp_path: Path):
    save(tmp_path / "w.safetensors", NARROW.model_copy(update={"stem_channels": 16}))

    with pytest.raises(WeightsError, match=r"w\.safetensors cannot start this network: not even its first convolution"):
        initialize_from(build_network(NARROW), str(tmp_path / "w.safetensors"), "all-stages")


def test_another_file_is_taken_for_an_imagenet_resnet(tmp_path: Path):
    tensors = imagenet_tensors("resnet18", 8)
    torch.save(tensors, tmp_path / "resnet.pth")
    network = build_network(NARROW)

    initialize_from(network, str(tmp_path / "resnet.pth"), "stem")

    assert torch.equal(network.state_dict()["stem.conv.conv.weight"], tensors["conv1.weight"])
