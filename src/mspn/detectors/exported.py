"""The detector of the package in exported files, which run without torch."""

import os

import numpy as np
from pydantic import Field

from mspn.detectors.base import MAX_SIDE, MIN_SCORE, choose_detections, fit_longer_side
from mspn.errors import DetectorError, ExportError
from mspn.inference.devices import check_process
from mspn.inference.exported_files import IMAGE_SIZES, DetectorExportMetadata, OpenFile
from mspn.structures.boxes import Detection
from mspn.structures.image import Image
from mspn.structures.settings import Settings


class EmbeddedSettings(Settings):
    """Settings of a detector of our own."""

    side: int | None = Field(None, ge=32, le=MAX_SIDE, multiple_of=32)
    """Longer side in pixels that images are scaled to; None: what the network was trained for."""


class ExportedPersonDetector:
    """Finds people with an exported `EmbeddedPersonDetector`; images of all sizes."""

    def __init__(self, file: OpenFile, metadata: DetectorExportMetadata, longer_side: int | None = None) -> None:
        """Take an open file.

        Args:
            file: which is open.
            metadata: of the file.
            longer_side: in pixels that images are scaled to, a multiple of 32; None: the network's own.
        """
        self._file = file
        self._metadata = metadata
        self._longer_side = longer_side or metadata.longer_side
        self._process = os.getpid()

    def detect(self, image: Image) -> list[Detection]:
        """People with a score of at least `MIN_SCORE`, best first, boxes clipped to the image.

        Raises:
            DetectorError: if the runtime fails.
        """
        check_process(self._process, f"detector {self._file.path}")
        letterbox = fit_longer_side(image.size, self._longer_side)
        taken = next(taken for taken in self._file.inputs if taken.name != IMAGE_SIZES)
        inputs = {taken.name: taken.prepare(letterbox.draw(image.pixels)[None])}
        if self._metadata.decoding:
            inputs[IMAGE_SIZES] = np.array([letterbox.scaled], np.float32)
        try:
            outputs = self._file.run(inputs)
        except ExportError as error:
            raise DetectorError(str(error)) from error
        scores, boxes = (outputs[name].astype(np.float64) for name in ("scores", "boxes"))
        if not self._metadata.decoding:
            is_kept = scores[0] >= MIN_SCORE
            scores, boxes = scores[0, is_kept], boxes[0, is_kept]
        # Of a file with decoding, which has suppressed already, this only leaves out empty boxes.
        return choose_detections(letterbox.to_image(boxes), scores)
