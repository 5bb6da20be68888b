"""What a process that is forked can do after its parent has used threads."""

import os
import subprocess
import sys

import pytest

_PROGRAM = """
import os
import torch
from mspn.inference.runner import Runner
from mspn.models import build_network
from mspn.config.model import ModelConfig

torch.ones(1 << 20).add(1)  # starts OpenMP's threads
crops = torch.zeros(2, 128, 128, 3, dtype=torch.uint8)
config = ModelConfig(backbone="resnet18", num_stages=1, stem_channels=16, up_channels=32)
make = lambda: Runner(build_network(config), torch.device("cpu"), "float32")
runner = make()
child = os.fork()
if not child:
    print(len(runner(crops)), len(make()(crops)), torch.get_num_threads(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_runs_networks_of_its_own_and_its_parents_in_one_thread():
    environment = os.environ | {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "0", "PYTHONWARNINGS": "ignore"}

    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60, env=environment
    )

    assert done.stdout.splitlines() == ["2 2 1", "2"]
