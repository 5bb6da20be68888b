"""Cuts in edited films, where everything changes from one frame to the next."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

_SIZE = (48, 27)
"""Width and height that frames are compared at."""
_MAX_CORRELATION = 0.5
"""Of two frames of one shot it is higher, also where the camera pans or a light flashes."""
_MIN_CHANGE = 10.0
"""Mean change of a value from 0 to 255; the noise of dark frames correlates with nothing, and is smaller."""


class CutDetector:
    """Compares each frame of a video with the one before."""

    def __init__(self) -> None:
        self._before: Float[np.ndarray, "27 48 3"] | None = None

    def is_cut(self, pixels: UInt8[np.ndarray, "H W 3"]) -> bool:
        """Whether the next frame shows another shot than the one before; False for the first frame."""
        small = cv2.resize(pixels, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._before = self._before, small
        if before is None or np.abs(small - before).mean() < _MIN_CHANGE:
            return False
        return _correlation(small, before) < _MAX_CORRELATION


def _correlation(first: Float[np.ndarray, "*size 3"], second: Float[np.ndarray, "*size 3"]) -> float:
    """Pearson's, over all pixels and colors; 0 where one of the two has the same color everywhere."""
    deviations = [frame - frame.mean((0, 1)) for frame in (first, second)]
    spread = np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum())
    return float((deviations[0] * deviations[1]).sum() / spread) if spread else 0.0
