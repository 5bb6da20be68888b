import pytest

from mspn.config.recipe import override
from mspn.config.recipes import find_recipe
from mspn.config.train import MMPOSE_TRAINING, PAPER_TRAINING, TRAININGS, TrainConfig
from mspn.errors import SettingsError
from mspn.training.train_step import learning_rate


def test_the_papers_training_falls_from_the_start_over_90000_iterations():
    # 5e-4 for 32 people is 4e-3 for 256.
    assert PAPER_TRAINING.iterations == 90_000
    assert learning_rate(1, PAPER_TRAINING) == pytest.approx(4e-3, rel=1e-4)
    assert learning_rate(45_000, PAPER_TRAINING) == pytest.approx(2e-3)
    assert learning_rate(90_000, PAPER_TRAINING) == 0


def test_mmposes_training_falls_to_a_tenth_at_epochs_170_and_200():
    # 149,813 people are 585 batches of 256.
    rates = [learning_rate(585 * epoch, MMPOSE_TRAINING) for epoch in (1, 169, 170, 199, 200, 210)]

    assert rates == pytest.approx([5e-3, 5e-3, 5e-4, 5e-4, 5e-5, 5e-5])
    assert learning_rate(1, MMPOSE_TRAINING) == pytest.approx(5e-3 * (0.001 + 0.999 / 500))
    assert MMPOSE_TRAINING.iterations == 210 * 585


def test_mmposes_training_of_rsn_18_has_four_times_the_rate_and_falls_at_epoch_190_too():
    # 2e-2 for 256 people; 585 batches an epoch.
    recipe = override(find_recipe("rsn-18"), ["train=mmpose-rsn-18"])

    assert recipe.train.learning_rate * 256 / 32 == pytest.approx(2e-2)
    assert recipe.train.milestones == (170 * 585, 190 * 585, 200 * 585)


@pytest.mark.parametrize("name", list(TRAININGS))
def test_train_may_be_set_to_a_named_training_and_changed_further(name: str):
    recipe = override(find_recipe("mspn-2"), [f"train={name}", "train.batch_size=64"])

    assert recipe.train == TRAININGS[name].model_copy(update={"batch_size": 64})


def test_supervision_and_test_may_be_set_by_name_too():
    recipe = override(find_recipe("mspn-2"), ["supervision=mmpose", "test=mmpose"])

    assert recipe.supervision.coarse_target == "labeled"
    assert recipe.test.padding == (1.25, 1.25)


def test_an_unknown_name_is_refused_with_those_that_there_are():
    with pytest.raises(SettingsError, match="train: no settings named 'papper'; there are released, paper, mmpose"):
        override(find_recipe("mspn-2"), ["train=papper"])


def test_milestones_must_rise():
    with pytest.raises(ValueError, match=r"milestones must be rising iterations from 1 on, not \[20, 10\]"):
        TrainConfig(decay="steps", milestones=(20, 10))


def test_milestones_and_steps_belong_together():
    with pytest.raises(ValueError, match="milestones belong to decay steps: set both, or neither"):
        TrainConfig(milestones=(20,))
    with pytest.raises(ValueError, match="milestones belong to decay steps"):
        TrainConfig(decay="steps")


def test_a_compiled_network_does_not_recompute():
    with pytest.raises(ValueError, match="compile and recompute_activations exclude each other"):
        TrainConfig(compile=True, recompute_activations=True)
