from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mspn import PoseEstimator
from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.checkpoints.networks import load_named
from mspn.config.model import ModelConfig
from mspn.config.protocol import FAITHFUL_TEST, ProtocolConfig
from mspn.config.recipe import Recipe
from mspn.inference.runner import Runner
from mspn.models import build_network
from mspn.predict.ensemble import Ensemble, Member
from mspn.predict.heatmaps import ensemble_heatmaps, member_heatmaps
from mspn.structures.boxes import Box, Size
from tests.predict.test_estimator import _TrueBoxes
from tests.trained import overfitted

UNPADDED = FAITHFUL_TEST.model_copy(update={"padding": (1.0, 1.0), "flip": False})


class _Answers(Runner):
    """Answers every crop with the same map for each keypoint."""

    def __init__(self, heatmap: torch.Tensor) -> None:
        self._heatmap = heatmap

    def __call__(self, crops: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self._heatmap.expand(len(crops), 17, *self._heatmap.shape)


def _member(heatmap: torch.Tensor, test: ProtocolConfig = UNPADDED) -> Member:
    height, width = heatmap.shape
    recipe = Recipe(name="fake", model=ModelConfig(input_size=Size(height * 4, width * 4)))
    return Member(recipe, test, _Answers(heatmap))


def _average(members: list[Member], weights: list[float] | None = None) -> torch.Tensor:
    """The first keypoint's map of somebody in a box of 96 x 96."""
    ensemble = Ensemble(members, weights)
    frames = [[frame] for frame in ensemble.frames(Box(0, 0, 96, 96), Size(96, 96))]
    crops = [torch.zeros(1, *frame[0].size, 3, dtype=torch.uint8) for frame in frames]
    return ensemble_heatmaps(ensemble, crops, frames)[0, 0]


def test_maps_are_averaged_by_weight():
    one, other = torch.full((8, 8), 0.2), torch.full((8, 8), 0.8)

    torch.testing.assert_close(_average([_member(one), _member(other)]), torch.full((8, 8), 0.5))
    # (1 x 0.2 + 3 x 0.8) / 4
    torch.testing.assert_close(_average([_member(one), _member(other)], [1, 3]), torch.full((8, 8), 0.65))


def test_maps_of_another_size_are_read_at_the_same_points_of_the_image():
    # 16 cells on 8: cell 3 lies between 6 and 7, where the finer map's ramp is 6.5.
    coarse, fine = torch.zeros(8, 8), torch.arange(16.0).expand(16, 16)

    averaged = _average([_member(coarse), _member(fine)])

    assert averaged.shape == (8, 8)
    assert averaged[4, 3].item() == pytest.approx(6.5 / 2)


def test_where_another_network_sees_nothing_the_first_ones_map_stays():
    # Twice the padding: the first one's outer cells lie outside of what the second one sees.
    wide = UNPADDED.model_copy(update={"padding": (2.0, 2.0)})
    first, second = _member(torch.full((8, 8), 0.2), wide), _member(torch.full((8, 8), 0.8))

    averaged = _average([first, second])

    torch.testing.assert_close(averaged[4], torch.tensor([0.2, 0.2, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2]))


def test_crops_of_another_shape_show_the_same_person():
    # A box of 96 x 96 fills 8 x 8 cells of 12 pixels, or the middle of 16 x 8 cells of 12 pixels.
    tall = torch.arange(16.0)[:, None].expand(16, 8)

    averaged = _average([_member(torch.zeros(8, 8)), _member(tall)])

    torch.testing.assert_close(averaged[:, 0], torch.arange(4.0, 12.0) / 2)


def test_an_ensemble_of_a_network_with_itself_is_that_network():
    detector, weights = _TrueBoxes(), overfitted()[1]

    alone = PoseEstimator(weights, detector, precision="float32")(detector.image)
    twice = PoseEstimator([weights, load_named(weights)], detector, precision="float32")(detector.image)

    for one, other in zip(alone, twice, strict=True):
        np.testing.assert_array_equal(one.keypoints_image, other.keypoints_image)
        assert one.ranking_score == other.ranking_score


def test_networks_of_several_sizes_and_paddings_find_people_together():
    detector, checkpoint = _TrueBoxes(), load_named(overfitted()[1])
    recipe = checkpoint.metadata.recipe
    smaller = recipe.model.model_copy(update={"input_size": Size(160, 128)})
    looser = recipe.test.model_copy(update={"padding": (1.2, 1.2)})
    changed = recipe.model_copy(update={"model": smaller, "test": looser})
    network = build_network(smaller)
    network.load_state_dict(checkpoint.model.state_dict())
    other = Checkpoint(CheckpointMetadata(recipe=changed), network.eval())

    poses = PoseEstimator([checkpoint, other], detector, precision="float32")(detector.image)

    for truth in detector.truth:
        errors = [np.linalg.norm(pose.keypoints_image - truth, axis=1).mean() for pose in poses]
        assert min(errors) < 4


def test_networks_that_cannot_be_averaged_are_refused():
    member = _member(torch.zeros(8, 8))
    mpii = Recipe(name="other", skeleton="mpii-16", model=ModelConfig(num_keypoints=16))

    with pytest.raises(ValueError, match="no model is given"):
        Ensemble([])
    with pytest.raises(ValueError, match="different skeletons cannot be averaged: coco-17, mpii-16"):
        Ensemble([member, Member(mpii, UNPADDED, member.runner)])
    with pytest.raises(ValueError, match="1 weights for 2 models; give one for each, or none"):
        Ensemble([member, member], [1.0])
    with pytest.raises(ValueError, match="weight must be a number above 0, not 1, 0"):
        Ensemble([member, member], [1.0, 0.0])
    with pytest.raises(ValueError, match="weight must be a number above 0, not nan, 1"):
        Ensemble([member, member], [float("nan"), 1.0])


def test_an_empty_list_of_models_is_refused():
    with pytest.raises(ValueError, match="no model is given"):
        PoseEstimator([])


def test_a_missing_member_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match=r"no weights file at .*missing.safetensors"):
        PoseEstimator([overfitted()[1], tmp_path / "missing.safetensors"])


def test_mirrored_crops_are_answered_in_the_same_batch_as_plain_ones():
    batches = []

    class _Counts(_Answers):
        def __call__(self, crops: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            batches.append(crops)
            return super().__call__(crops)

    flipping = UNPADDED.model_copy(update={"flip": True})
    member = Member(Recipe(name="fake", model=ModelConfig()), flipping, _Counts(torch.zeros(8, 8)))
    crop = torch.arange(32 * 32 * 3, dtype=torch.int64).to(torch.uint8).reshape(1, 32, 32, 3)

    member_heatmaps(member, crop)

    (batch,) = batches
    assert torch.equal(batch[0], crop[0])
    assert torch.equal(batch[1], crop[0].flip(1))


def test_a_network_of_whole_images_sees_all_of_them_whatever_the_box():
    member = _member(torch.zeros(8, 8))
    data = member.recipe.data.model_copy(update={"boxes": "image"})
    whole = replace(member, recipe=member.recipe.model_copy(update={"data": data}))

    frames = Ensemble([member, whole]).frames(Box(10, 10, 20, 20), Size(96, 96))

    assert [frame.width_image for frame in frames] == [20, 96]
