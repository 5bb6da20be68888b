"""The detector of the package, by a network of `mspn.models.person_detector`, or in exported files."""

import os

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field

from mspn.detectors.base import MAX_SIDE, MIN_SCORE, fit_longer_side, select_detections
from mspn.errors import DetectorError, ExportError
from mspn.inference.devices import Precision, check_process, choose_precision
from mspn.inference.exported_files import IMAGE_SIZES, DetectorExportMetadata, OpenFile
from mspn.inference.fold import prepare
from mspn.models.base import normalize
from mspn.models.person_detector import PersonDetector
from mspn.structures.boxes import Detection, nms
from mspn.structures.image import Image
from mspn.structures.settings import Settings

IOU_THRESHOLD = 0.5
"""Of two boxes with a higher IoU, the one with the lower score is dropped."""
MAX_PEOPLE = 100


class EmbeddedSettings(Settings):
    """Settings of a detector of our own."""

    side: int | None = Field(None, ge=32, le=MAX_SIDE, multiple_of=32)
    """Longer side in pixels that images are scaled to; None: what the network was trained for."""


class EmbeddedPersonDetector:
    """Finds people with a network; images of all sizes."""

    def __init__(
        self,
        network: PersonDetector,
        device: torch.device,
        precision: Precision = "auto",
        longer_side: int | None = None,
    ) -> None:
        """Prepare a network for inference.

        Args:
            network: in any mode; not modified.
            device: to compute on.
            precision: what to compute with.
            longer_side: in pixels that images are scaled to, a multiple of 32; None: the network's own.
        """
        self._device = device
        self._process = os.getpid()
        self._dtype: torch.dtype = getattr(torch, choose_precision(precision, device))
        self._longer_side = longer_side or network.config.longer_side
        self._network = prepare(network, device, self._dtype)

    def detect(self, image: Image) -> list[Detection]:
        """People with a score of at least `MIN_SCORE`, best first, boxes clipped to the image."""
        if self._device.type != "cpu":
            check_process(self._process, f"a detector on {self._device}")
        letterbox = fit_longer_side(image.size, self._longer_side)
        scores, boxes_xyxy_input = self._infer(letterbox.draw(image.pixels))
        boxes_xyxy_image = letterbox.to_image(boxes_xyxy_input)
        return choose_detections(boxes_xyxy_image, scores)

    @torch.inference_mode()
    def _infer(self, pixels: np.ndarray) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 4"]]:
        """Scores, and boxes (left, top, right, bottom) in input pixels, of candidates above the lowest score."""
        images = normalize(torch.from_numpy(pixels)[None].to(self._device)).to(self._dtype)
        candidates = self._network(images)
        scores = candidates.logits[0].sigmoid()
        is_kept = scores >= MIN_SCORE
        return scores[is_kept].double().cpu().numpy(), candidates.boxes[0][is_kept].double().cpu().numpy()


def choose_detections(boxes_xyxy_image: Float[np.ndarray, "N 4"], scores: Float[np.ndarray, " N"]) -> list[Detection]:
    """The best of boxes that overlap, best first."""
    kept = nms(boxes_xyxy_image, scores, np.zeros(len(scores), np.int32), IOU_THRESHOLD)[:MAX_PEOPLE]
    return select_detections(boxes_xyxy_image[kept], scores[kept], np.ones(len(kept), bool), "people")


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
