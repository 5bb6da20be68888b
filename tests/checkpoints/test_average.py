from collections.abc import Sequence

import pytest

from mspn.checkpoints.format import Checkpoint, average_weights
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.config.protocol import ScoreCalibration
from mspn.config.recipe import override
from mspn.config.recipes import find_recipe
from mspn.errors import WeightsError
from mspn.models import build_network
from tests.sessions import SESSION

SMALL = ("model.backbone=resnet18", "model.stem_channels=4", "model.up_channels=6")


def checkpoint(value: float, settings: Sequence[str] = (), data: tuple[str, ...] = (), batches: int = 0) -> Checkpoint:
    """All weights and statistics of the network are `value`; its norms have counted `batches`."""
    recipe = override(find_recipe("mspn-1"), [*SMALL, *settings])
    model = build_network(recipe.model).eval()
    for tensor in model.state_dict().values():
        tensor.fill_(value if tensor.is_floating_point() else batches)
    metadata = CheckpointMetadata(
        recipe=recipe,
        data=data,
        sessions=(SESSION,),
        results={"sports": 0.5},
        calibration_ranges={"stem": (0.0, 1.0)},
        score_calibration=ScoreCalibration(slope=2.0, offsets=(0.0,) * 17, people=5),
    )
    return Checkpoint(metadata, model)


def test_each_weight_is_the_mean_of_all_and_counters_are_the_last():
    average = average_weights([checkpoint(1, batches=7), checkpoint(2, batches=8), checkpoint(6, batches=9)])

    tensors = average.model.state_dict().values()
    assert all((tensor == 3).all() for tensor in tensors if tensor.is_floating_point())
    assert all(tensor == 9 for tensor in tensors if not tensor.is_floating_point())
    assert not average.model.training


def test_what_went_in_stays_as_it_was():
    first, second = checkpoint(1), checkpoint(3)

    average_weights([first, second])

    assert (next(iter(first.model.state_dict().values())) == 1).all()
    assert (next(iter(second.model.state_dict().values())) == 3).all()


def test_the_header_tells_of_all_runs_and_claims_nothing_that_was_measured_on_one():
    first = checkpoint(1, ["train.seed=1"], data=("sports", "studio"))
    second = checkpoint(2, ["train.seed=2"], data=("studio", "web"))
    last = SESSION.model_copy(update={"command": "mspn train mspn-1 --set train.seed=2"})
    second_metadata = second.metadata.model_copy(update={"sessions": (SESSION, last)})

    metadata = average_weights([first, first, Checkpoint(second_metadata, second.model)]).metadata

    assert metadata.recipe.train.seed == 2
    assert metadata.data == ("sports", "studio", "web")
    assert metadata.sessions == (SESSION, last)
    assert metadata.notes == "average of 3 runs"
    assert not metadata.results
    assert not metadata.calibration_ranges
    assert metadata.score_calibration is None


def test_one_alone_has_no_average():
    with pytest.raises(WeightsError, match="needs two weights files or more"):
        average_weights([checkpoint(1)])


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("model.num_stages=2", "num_stages is 2 in one of them and 1 in the last"),
        ("model.up_channels=8", "up_channels is 8 in one of them and 6 in the last"),
        ("model.input_size=[384,288]", r"input_size is \(384, 288\) in one of them and \(256, 192\) in the last"),
    ],
)
def test_other_networks_are_refused(setting: str, problem: str):
    with pytest.raises(WeightsError, match=f"only weights of one network can be averaged: {problem}"):
        average_weights([checkpoint(1, [setting]), checkpoint(2)])
