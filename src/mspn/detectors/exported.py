"""Person detectors of the package in exported files."""

import os

import torch

from mspn.detectors.embedded import choose_detections
from mspn.detectors.letterbox import fit_longer_side
from mspn.detectors.selection import MIN_SCORE
from mspn.errors import DetectorError, ExportError
from mspn.inference.devices import check_process
from mspn.inference.export_metadata import IMAGE_SIZES, DetectorExportMetadata
from mspn.inference.exported_files import OpenFile
from mspn.models.base import normalize
from mspn.structures.boxes import Detection
from mspn.structures.image import Image


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
        pixels = torch.from_numpy(letterbox.draw(image.pixels))[None]
        inputs = {"images": pixels if self._metadata.input.type == "uint8" else normalize(pixels).contiguous()}
        if self._metadata.decoding:
            inputs[IMAGE_SIZES] = torch.tensor([letterbox.scaled], dtype=torch.float32)
        try:
            outputs = self._file.run(inputs)
        except ExportError as error:
            raise DetectorError(str(error)) from error
        scores, boxes = (outputs[name].double().numpy() for name in ("scores", "boxes"))
        if not self._metadata.decoding:
            is_kept = scores[0] >= MIN_SCORE
            scores, boxes = scores[0, is_kept], boxes[0, is_kept]
        # Of a file with decoding, which has suppressed already, this only leaves out empty boxes.
        return choose_detections(letterbox.to_image(boxes), scores)
