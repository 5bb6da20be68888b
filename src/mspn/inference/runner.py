"""The inference runner: the fast path from crops to the final heat maps."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mspn.checkpoints.networks import build_model, load_named
from mspn.errors import InvalidValueError
from mspn.inference.devices import Engine, Precision, check_process, choose_device
from mspn.inference.engines import choose_engine, start_engine
from mspn.inference.quantization import CalibrationRanges
from mspn.models.base import PoseNetwork
from mspn.structures.shapes import Float, UInt8

_CROPS_IN_CACHE = 8
"""Activations of more crops do not fit the cache of a CPU: with 32 crops at once, speed drops by a sixth."""


class Runner:
    """A network prepared for inference: RGB uint8 crops (B, H, W, 3) in, float32 heat maps (B, K, H/4, W/4) out."""

    def __init__(
        self,
        model: PoseNetwork,
        device: torch.device,
        precision: Precision,
        engine: Engine = "torch",
        ranges: CalibrationRanges | None = None,
    ) -> None:
        """Prepare a network for inference.

        Args:
            model: in any mode; not modified.
            device: to compute on.
            precision: see `load_runner`.
            engine: see `load_runner`.
            ranges: for int8, from `calibrate_activations`.

        Raises:
            ValueError: for an engine or precision that is unknown, not installed, or not supported together.
        """
        self.device = device
        self.engine, self.precision = choice = choose_engine(engine, precision, device)
        self._process = os.getpid()
        self._predict_heatmaps = start_engine(choice, model, device, ranges or {})

    def __call__(self, crops: UInt8[Tensor, "B H W 3"] | UInt8[np.ndarray, "B H W 3"]) -> Float[Tensor, "B K h w"]:
        """Heat maps of the last stage's finest level, peak 1, on the runner's device.

        Raises:
            ValueError: if the crops are not uint8 (B, H, W, 3) with multiples of 32 for H and W; engines other than
                torch take crops of the network's own size only; or if this process was forked from the one that made
                the runner, unless that runs torch on the CPU.
        """
        if self.device.type != "cpu":
            check_process(self._process, f"a network on {self.device}")
        crops = torch.as_tensor(crops)
        if crops.ndim != 4 or crops.shape[-1] != 3 or crops.dtype != torch.uint8:
            raise InvalidValueError(f"crops must be uint8 (B, H, W, 3), not {crops.dtype} {tuple(crops.shape)}")
        if not len(crops):  # fused operators take no empty batch
            return self(crops.new_zeros(1, *crops.shape[1:]))[:0]
        chunk_size = max(_CROPS_IN_CACHE, torch.get_num_threads()) if self.device.type == "cpu" else len(crops)
        return torch.cat(
            [self._predict_heatmaps(crops[start : start + chunk_size]) for start in range(0, len(crops), chunk_size)]
        )


def load_runner(
    model: str | Path = "default",
    engine: Engine = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
    random_weights: bool = False,
) -> Runner:
    """Load a network for fast inference; see `Runner`.

    >>> runner = load_runner("mspn-tiny", "torch", "float32")
    >>> runner(np.zeros((2, 64, 64, 3), np.uint8)).shape
    torch.Size([2, 17, 16, 16])

    Args:
        model: name or weights file.
        engine: what computes: torch, onnxruntime or openvino, of which the last two are extras. "auto" takes torch,
            and for int8, which torch has not, openvino where it is installed, else onnxruntime.
        precision: "auto" takes bfloat16 where the processor computes with it, else float32. int8 takes weights that
            `mspn models quantize` wrote.
        threads: CPU threads of the whole process; None leaves torch's choice.
        random_weights: build the named network untrained, for timings.

    Raises:
        WeightsError: if there are no such weights.
        ValueError: for an engine or precision that is unknown, not installed, or not supported together.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    if random_weights:
        return Runner(build_model(str(model)), choose_device("auto"), precision, engine)
    checkpoint = load_named(model)
    return Runner(checkpoint.model, choose_device("auto"), precision, engine, checkpoint.metadata.calibration_ranges)
