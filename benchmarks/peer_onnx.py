"""Peers that run an ONNX file in onnxruntime, one person at a time, with NumPy and OpenCV alone around it.

python -m benchmarks.peer_onnx heatmaps FILE: a network of heat maps in rtmlib's loop. python -m benchmarks.peer_onnx
movenet FILE: a MoveNet SinglePose.
"""

import sys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import onnxruntime

from benchmarks.peer_process import GivenBox, serve

_PADDING = 1.25
_STRIDE = 4
_QUARTER = 0.25


class OnnxPeer:
    """Cuts a person out, asks the network, and maps its answer back."""

    def __init__(self, kind: str, path: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (taken,) = self._session.get_inputs()
        self._name = taken.name
        self._height, self._width = taken.shape[1:3]
        self._type = np.int32 if taken.type == "tensor(int32)" else np.uint8
        self._read_off = {"heatmaps": self._read_heatmaps, "movenet": self._read_movenet}[kind]

    def read(self, path: str) -> np.ndarray:
        image = cv2.imread(path)
        assert image is not None, f"{path} cannot be read"
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)

    def estimate(self, image: np.ndarray, boxes: Sequence[GivenBox]) -> np.ndarray:
        people = np.zeros((len(boxes), 17, 3))
        for person, box in zip(people, boxes, strict=True):
            scale, corner = self._frame(box)
            to_image = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            crop = cv2.warpAffine(image, to_image, (self._width, self._height), flags=flags)
            (answer,) = self._session.run(None, {self._name: crop[None].astype(self._type)})
            person[:] = self._read_off(answer)
            person[:, :2] = person[:, :2] * scale + corner
        return people

    def _frame(self, box: GivenBox) -> tuple[float, np.ndarray]:
        """Image pixels in a pixel of the crop, and the crop's corner in the image."""
        left, top, width, height = box
        scale = _PADDING * max(width / self._width, height / self._height)
        middle = np.array([left + width / 2, top + height / 2])
        return scale, middle - scale * np.array([self._width, self._height]) / 2

    def _read_heatmaps(self, answer: np.ndarray) -> np.ndarray:
        """The highest cell, and a quarter of one along each axis toward the higher neighbor."""
        maps = answer[0]
        height, width = maps.shape[1:]
        y, x = np.divmod(maps.reshape(len(maps), -1).argmax(1), width)
        number = np.arange(len(maps))
        left, right = (maps[number, y, (x + step).clip(0, width - 1)] for step in (-1, 1))
        above, below = (maps[number, (y + step).clip(0, height - 1), x] for step in (-1, 1))
        cells = np.stack([x + _QUARTER * np.sign(right - left), y + _QUARTER * np.sign(below - above)], axis=1)
        return np.column_stack([cells * _STRIDE + _STRIDE / 2, maps[number, y, x]])

    def _read_movenet(self, answer: np.ndarray) -> np.ndarray:
        y, x, score = answer.reshape(17, 3).T
        return np.column_stack([x * self._width, y * self._height, score])


if __name__ == "__main__":
    cv2.setNumThreads(1)
    serve(lambda: OnnxPeer(*sys.argv[1:]))
