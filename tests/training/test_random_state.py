import random
from pathlib import Path

import numpy as np
import torch

from mspn.training.checkpoint import capture_random_state, restore_random_state

CPU = torch.device("cpu")


def draw() -> tuple[float, float, float, float]:
    return random.random(), np.random.random(), np.random.normal(), torch.rand(1).item()


def test_restored_generators_give_the_same_numbers_again(tmp_path: Path):
    random.gauss(0, 1)
    np.random.normal()  # leaves a second normal number waiting
    torch.save(capture_random_state(CPU), tmp_path / "state.pt")
    expected = draw()

    draw()
    restore_random_state(torch.load(tmp_path / "state.pt", weights_only=True), CPU)

    assert draw() == expected
