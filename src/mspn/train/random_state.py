"""The state of every random number generator of a process, as tensors and plain values."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def capture_random_state(device: torch.device) -> dict[str, Any]:
    """State of the generators of Python, NumPy, torch, and the process's GPU."""
    kind, keys, *position = np.random.get_state(legacy=True)
    state = {
        "python": random.getstate(),
        "numpy": [kind, torch.from_numpy(np.asarray(keys, np.int64)), *position],
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_random_state(state: Mapping[str, Any], device: torch.device) -> None:
    """Set the generators to what `capture_random_state` gave."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    kind, words, *position = state["numpy"]
    np.random.set_state((kind, words.numpy().astype(np.uint32), *position))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
