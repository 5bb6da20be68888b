"""People cut out of pictures."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from mspn.geometry import CropFrame
from mspn.records import Detection


@dataclass(frozen=True, eq=False)
class Subject:
    """A person cut out of a picture, once for each network of the ensemble."""

    detection: Detection
    frames: tuple[CropFrame, ...]
    crops: tuple[UInt8[np.ndarray, "H W 3"], ...]
