"""The detector of the package, by a network of `mspn.models.person_detector`."""

import os

import numpy as np
import torch

from mspn.detectors.base import MIN_SCORE, choose_detections, fit_longer_side
from mspn.inference.devices import Precision, check_process, choose_precision
from mspn.inference.fold import prepare
from mspn.models.base import normalize
from mspn.models.person_detector import PersonDetector
from mspn.structures.boxes import Detection
from mspn.structures.image import Image
from mspn.structures.shapes import Float


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
        # Widened on the CPU: Apple's GPUs have no float64.
        return scores[is_kept].cpu().double().numpy(), candidates.boxes[0][is_kept].cpu().double().numpy()
