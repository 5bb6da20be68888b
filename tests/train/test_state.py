from pathlib import Path

import pytest
import torch
from torch import nn

from mspn.recipes import SettingsError, find_recipe
from mspn.train.state import Progress, load_recipe, load_state, save_recipe, save_state


def network_and_optimizer(width: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(31)
    network = nn.Linear(width, 2)
    return network, torch.optim.Adam(network.parameters(), lr=0.1)


def step(network: nn.Module, optimizer: torch.optim.Optimizer, times: int) -> None:
    for _ in range(times):
        optimizer.zero_grad()
        network(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()


def test_training_goes_on_exactly_where_it_stopped(tmp_path: Path):
    network, optimizer = network_and_optimizer()
    step(network, optimizer, times=3)
    save_state(tmp_path / "state.pt", network, optimizer, Progress(iteration=3, seconds=1.5))
    step(network, optimizer, times=2)

    resumed, resumed_optimizer = network_and_optimizer()
    progress = load_state(tmp_path / "state.pt", resumed, resumed_optimizer)
    step(resumed, resumed_optimizer, times=2)

    assert progress == Progress(3, 1.5)
    # Adam's own memory matters: without it the two steps would differ.
    assert torch.equal(resumed.weight, network.weight)


def test_a_state_of_another_network_is_refused(tmp_path: Path):
    save_state(tmp_path / "state.pt", *network_and_optimizer(width=4), Progress(3, 1.5))

    with pytest.raises(ValueError, match=r"state\.pt does not fit the recipe of its run folder; start a new run"):
        load_state(tmp_path / "state.pt", *network_and_optimizer(width=3))


def test_a_state_without_an_optimizer_is_refused(tmp_path: Path):
    network, optimizer = network_and_optimizer()
    torch.save({"model": network.state_dict()}, tmp_path / "state.pt")

    with pytest.raises(ValueError, match="does not fit the recipe of its run folder"):
        load_state(tmp_path / "state.pt", network, optimizer)


def test_a_damaged_state_is_refused(tmp_path: Path):
    path = tmp_path / "state.pt"
    save_state(path, *network_and_optimizer(), Progress(3, 1.5))
    path.write_bytes(path.read_bytes()[:200])

    with pytest.raises(ValueError, match=r"state\.pt"):
        load_state(path, *network_and_optimizer())


def test_a_run_folder_keeps_its_recipe(tmp_path: Path):
    recipe = find_recipe("mspn-small")

    save_recipe(tmp_path / "run", recipe)

    assert load_recipe(tmp_path / "run") == recipe


def test_a_folder_without_a_recipe_is_no_run_folder(tmp_path: Path):
    with pytest.raises(
        SettingsError, match=r"is no run folder \(it has no recipe\.json\); leave out --resume to start there"
    ):
        load_recipe(tmp_path)


def test_a_recipe_with_an_unknown_setting_is_refused(tmp_path: Path):
    (tmp_path / "recipe.json").write_text('{"name": "x", "optimiser": {}}')

    with pytest.raises(SettingsError, match=r"recipe\.json: no setting 'optimiser' in Recipe; it has"):
        load_recipe(tmp_path)


def test_a_damaged_recipe_is_refused(tmp_path: Path):
    (tmp_path / "recipe.json").write_text('{"name": "x",')

    with pytest.raises(SettingsError, match=r"recipe\.json"):
        load_recipe(tmp_path)
