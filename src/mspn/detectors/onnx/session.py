"""Networks in ONNX files, run by onnxruntime (the extra `onnx`)."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from mspn.detectors.letterbox import MAX_SIDE
from mspn.detectors.onnx.layout import Outputs
from mspn.errors import DetectorError
from mspn.inference.devices import check_process
from mspn.inference.onnx_session import first_line, open_session
from mspn.structures.boxes import Size

_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_TARGET_SIZE = "orig_target_sizes"


class OnnxNetwork:
    """A network that takes one image at a time."""

    def __init__(self, path: Path, side: int | None, device: torch.device) -> None:
        """Open a file.

        Args:
            path: of the file.
            side: of the square input in pixels, where the file leaves it open.
            device: cuda is used where onnxruntime can; everything else is the CPU, with as many threads as torch has.

        Raises:
            DetectorError: if onnxruntime is not installed, the file cannot be read, or it does not take one image of
                a size that is known.
        """
        self.path = path
        self._session = open_session(path, device, DetectorError, "detector")
        self._process = os.getpid()
        inputs = {value.name: value for value in self._session.get_inputs()}
        self._target = inputs.pop(_TARGET_SIZE, None)
        if len(inputs) != 1 or not all(
            value.type in _TYPES and _is_one_image(value.shape) for value in inputs.values()
        ):
            written = ", ".join(f"{name} {value.type} {value.shape}" for name, value in inputs.items()) or "none"
            raise DetectorError(
                f"{path} must have one input (1, 3, height, width) of float numbers, but has {written};"
                " export it for one image, channels first"
            )
        self._image = next(iter(inputs.values()))
        self.size = self._find_size(side)

    def run(self, pixels: Float[np.ndarray, "1 3 h w"]) -> Outputs:
        """The numeric outputs of the network for one prepared image.

        Raises:
            DetectorError: if onnxruntime fails.
            ValueError: if this process was forked from the one that opened the file.
        """
        check_process(self._process, f"detector {self.path}")
        feed = {self._image.name: pixels.astype(_TYPES[self._image.type])}
        if self._target is not None:
            feed[_TARGET_SIZE] = np.array([[self.size.width, self.size.height]], np.int64)
        names = [output.name for output in self._session.get_outputs()]
        try:
            values = self._session.run(names, feed)
        except Exception as error:  # onnxruntime's errors have no other base
            raise DetectorError(
                f"{self.path} does not run on {self.size.height}x{self.size.width} pixels ({first_line(error)});"
                " export it again, or give the size that it is for"
            ) from error
        return {
            name: value.astype(np.float32) if value.dtype == np.float16 else value
            for name, value in zip(names, values, strict=True)
            if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.shape[:1] == (1,)
        }

    def _find_size(self, side: int | None) -> Size:
        shape = self._image.shape[2:]
        if not all(isinstance(length, int) for length in shape):
            if side is None:
                raise DetectorError(
                    f"{self.path} leaves the size of its input open; give the side in pixels that it was trained with,"
                    f" for example {self.path},side=640"
                )
            return Size(*(length if isinstance(length, int) else side for length in shape))
        if side is not None and (side, side) != tuple(shape):
            raise DetectorError(f"{self.path} takes {shape[0]}x{shape[1]} pixels and no others; leave side={side} out")
        if not all(0 < length <= MAX_SIDE for length in shape):
            raise DetectorError(
                f"{self.path} takes {shape[0]}x{shape[1]} pixels; detectors of up to {MAX_SIDE} are run"
            )
        return Size(*shape)


def _is_one_image(shape: list[Any]) -> bool:
    """Whether a shape, in which names and None are dynamic axes, fits (1, 3, height, width)."""
    return len(shape) == 4 and all(
        side == wanted or not isinstance(side, int) for side, wanted in zip(shape, (1, 3), strict=False)
    )
