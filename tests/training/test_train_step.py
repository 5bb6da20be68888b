from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from mspn.config.recipe import Recipe, override
from mspn.datasets.crop_dataset import CropDataset, read_training_sets
from mspn.datasets.samples import Sample, SampleRequest
from mspn.distributed import ALONE, Processes
from mspn.errors import TrainingDivergedError
from mspn.models import build_network
from mspn.training.losses import compute_losses
from mspn.training.train_step import TrainStep
from tests.drawn_people import write_drawn_set
from tests.trained import small_and_fast, tiny_recipe

CPU = torch.device("cpu")


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    write_drawn_set(tmp_path, num_images=4)
    return small_and_fast(tiny_recipe(tmp_path, iterations=6), ["model.num_stages=2"])


def samples(recipe: Recipe, people: range) -> Sample:
    (people_set,) = read_training_sets(recipe)
    dataset = CropDataset(people_set, recipe)
    return default_collate([dataset[SampleRequest(person, person)] for person in people])


def train_step(recipe: Recipe) -> TrainStep:
    torch.manual_seed(3)
    return make_train_step(recipe)


def make_train_step(
    recipe: Recipe, network: nn.Module | None = None, device: torch.device = CPU, processes: Processes = ALONE
) -> TrainStep:
    network = network or build_network(recipe.model)
    supervision = partial(compute_losses, config=recipe.supervision, sigmas=recipe.keypoint_table.sigmas)
    return TrainStep(network, supervision, recipe.train, device, processes)


def weights_of(one: TrainStep) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in one.weights.state_dict().items()}


def test_parts_of_a_batch_give_the_step_of_the_whole_batch(recipe: Recipe):
    recipe = override(recipe, ["train.norm=frozen"])
    whole, split = train_step(recipe), train_step(recipe)

    losses = whole.step([samples(recipe, range(4))], 1e-3)
    losses_of_parts = split.step([samples(recipe, range(2)), samples(recipe, range(2, 4))], 1e-3)

    torch.testing.assert_close(losses_of_parts, losses)
    torch.testing.assert_close(weights_of(split), weights_of(whole), rtol=1e-3, atol=1e-5)


def test_frozen_norms_keep_their_running_statistics(recipe: Recipe):
    frozen, local = train_step(override(recipe, ["train.norm=frozen"])), train_step(recipe)

    for one in (frozen, local):
        one.step([samples(recipe, range(2))], 1e-3)

    name = "stem.conv.norm.running_mean"
    assert weights_of(frozen)[name].eq(0).all()
    assert weights_of(local)[name].ne(0).any()


def average_of(history: list[torch.Tensor], kept: Sequence[float]) -> torch.Tensor:
    """The first of them, of which so much is kept at each of the next."""
    average = history[0]
    for decay, values in zip(kept, history[1:], strict=True):
        average = decay * average + (1 - decay) * values
    return average


def test_averaged_weights_and_statistics_keep_a_growing_part_of_what_they_were(recipe: Recipe):
    averaged, plain = train_step(override(recipe, ["train.ema_decay=0.3"])), train_step(recipe)
    names = ("stem.conv.conv.weight", "stem.conv.norm.running_mean", "stem.conv.norm.running_var")

    history = []
    for _ in range(5):
        averaged.step([samples(recipe, range(2))], 1e-2)
        plain.step([samples(recipe, range(2))], 1e-2)
        history.append(weights_of(plain))

    # After the first step a copy; then 2/11, 3/12 and 4/13 = 0.31 would be kept, but never more than 0.3.
    ours = weights_of(averaged)
    for name in names:
        expected = average_of([weights[name] for weights in history], [2 / 11, 3 / 12, 0.3, 0.3])
        torch.testing.assert_close(ours[name], expected)
        assert not torch.allclose(expected, history[-1][name], rtol=1e-3)


def test_recomputed_activations_give_the_same_step_and_count_batch_statistics_once(recipe: Recipe):
    recomputing, plain = train_step(override(recipe, ["train.recompute_activations=true"])), train_step(recipe)

    losses = [one.step([samples(recipe, range(2))], 1e-3) for one in (recomputing, plain)]

    assert torch.equal(*losses)
    ours, expected = weights_of(recomputing), weights_of(plain)
    assert ours.keys() == expected.keys()
    assert all(torch.equal(ours[name], expected[name]) for name in expected)
    assert ours["stages.1.down.layers.3.1.conv2.norm.num_batches_tracked"] == 1


def test_recomputing_keeps_less_for_the_backward_pass(recipe: Recipe):
    def kept_bytes(one: TrainStep) -> int:
        kept: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            one.weights(torch.zeros(2, 3, 64, 64))
        return sum(kept.values())

    plain = kept_bytes(train_step(recipe))
    recomputing = kept_bytes(train_step(override(recipe, ["train.recompute_activations=true"])))

    assert recomputing < 0.6 * plain


def test_float16_scales_the_loss_and_learns(recipe: Recipe):
    one = train_step(override(recipe, ["train.precision=float16"]))
    before = weights_of(one)["stem.conv.conv.weight"]

    # The scale is halved, and no weight changes, as long as gradients overflow.
    losses = torch.stack([one.step([samples(recipe, range(2))], 1e-3) for _ in range(4)])

    assert losses.isfinite().all()
    assert not torch.equal(weights_of(one)["stem.conv.conv.weight"], before)
    assert weights_of(one)["stem.conv.conv.weight"].isfinite().all()
    assert 0 < one.state()["scaler"]["scale"] <= 1


def test_a_restored_learner_goes_on_as_if_it_had_never_stopped(recipe: Recipe):
    recipe = override(recipe, ["train.ema_decay=0.9", "train.precision=float16"])
    whole, first = train_step(recipe), train_step(recipe)
    batches = [[samples(recipe, range(start, start + 2))] for start in (0, 2, 1)]

    for batch in batches:
        whole.step(batch, 1e-3)
    first.step(batches[0], 1e-3)
    state = first.state()
    torch.manual_seed(99)
    second = make_train_step(recipe)
    second.restore(state)
    for batch in batches[1:]:
        second.step(batch, 1e-3)

    expected, ours = weights_of(whole), weights_of(second)
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_a_loss_that_is_no_number_changes_no_weight(recipe: Recipe):
    one = train_step(recipe)
    before = weights_of(one)
    with torch.no_grad():
        one.weights.get_parameter("stem.conv.conv.weight").mul_(float("inf"))

    with pytest.raises(TrainingDivergedError, match="the loss is nan"):
        one.step([samples(recipe, range(2))], 1e-3)

    name = "stages.0.heads.0.predict.conv.weight"
    assert torch.equal(weights_of(one)[name], before[name])


def test_norms_cannot_be_synchronized_between_cpus(recipe: Recipe):
    recipe = override(recipe, ["train.norm=synchronized"])

    with pytest.raises(ValueError, match=r"train\.norm=synchronized needs GPUs"):
        make_train_step(recipe, processes=Processes(0, 2))
    train_step(recipe)  # a process alone has nothing to synchronize


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_a_step_has_the_losses_of_the_cpu(recipe: Recipe):
    on_gpu = make_train_step(recipe, train_step(recipe).weights, torch.device("cuda"))

    losses = on_gpu.step([samples(recipe, range(2))], 1e-3)

    torch.testing.assert_close(losses, train_step(recipe).step([samples(recipe, range(2))], 1e-3), rtol=1e-3, atol=1e-3)
