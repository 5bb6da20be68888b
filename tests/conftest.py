"""What all tests share."""

import torch
from hypothesis import settings

# The same examples in every run, however long the machine takes.
settings.register_profile("mspn", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("mspn")
torch.set_num_threads(1)
