import pytest

from mspn.config.train import TrainConfig
from mspn.training.train_step import learning_rate

CONFIG = TrainConfig(iterations=100, warmup_iterations=20, batch_size=32, learning_rate=1e-3)


@pytest.mark.parametrize(
    ("iteration", "share"),
    [
        (1, 0.1 + 0.9 / 20),  # one twentieth of the way from a tenth
        (10, 0.55),
        (20, 1.0),
        (60, 0.5),  # halfway from 20 to 100
        (99, 1 / 80),
        (100, 0.0),
    ],
)
def test_the_rate_climbs_from_a_tenth_then_falls_to_zero(iteration: int, share: float):
    assert learning_rate(iteration, CONFIG) == pytest.approx(1e-3 * share)


def test_the_rate_grows_with_the_batch():
    # The paper's 8 GPUs with 32 people each.
    config = CONFIG.model_copy(update={"batch_size": 256})

    assert learning_rate(20, config) == pytest.approx(8e-3)


def test_without_warm_up_the_rate_only_falls():
    config = CONFIG.model_copy(update={"warmup_iterations": 0})

    assert learning_rate(1, config) == pytest.approx(0.99e-3)
    assert learning_rate(50, config) == pytest.approx(0.5e-3)


def test_a_warm_up_longer_than_training_ends_before_the_last_iteration():
    config = CONFIG.model_copy(update={"warmup_iterations": 5000, "iterations": 10})

    rates = [learning_rate(iteration, config) for iteration in range(1, 11)]

    assert rates == [*sorted(rates[:9]), 0]
    assert rates[8] == pytest.approx(1e-3)


def test_a_single_iteration_which_would_have_a_rate_of_0_is_refused():
    with pytest.raises(ValueError, match="iterations"):
        TrainConfig(iterations=1)
