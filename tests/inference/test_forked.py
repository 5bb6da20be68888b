"""What a process that is forked can do after its parent has used threads."""

import os
from collections.abc import Sequence
from multiprocessing.queues import SimpleQueue

import pytest
import torch

from mspn.config.model import ModelConfig
from mspn.inference.runner import Runner
from mspn.models import build_network
from tests.training.several import clean_processes


def _fork_after_threads(answers: "SimpleQueue[Sequence[int]]") -> None:
    torch.set_num_threads(2)
    torch.ones(1 << 20).add(1)  # starts OpenMP's threads
    crops = torch.zeros(2, 128, 128, 3, dtype=torch.uint8)
    config = ModelConfig(backbone="resnet18", num_stages=1, stem_channels=16, up_channels=32)

    def make() -> Runner:
        return Runner(build_network(config), torch.device("cpu"), "float32")

    runner = make()
    child = os.fork()
    if not child:
        answers.put((len(runner(crops)), len(make()(crops)), torch.get_num_threads()))
        os._exit(0)
    os.waitpid(child, 0)
    answers.put((torch.get_num_threads(),))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_runs_networks_of_its_own_and_its_parents_in_one_thread():
    context = clean_processes()
    answers = context.SimpleQueue()

    process = context.Process(target=_fork_after_threads, args=(answers,))
    process.start()
    process.join(60)
    code = process.exitcode
    process.kill()

    assert code == 0
    assert answers.get() == (2, 2, 1)
    assert answers.get() == (2,)
