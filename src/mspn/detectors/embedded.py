"""Our own detector: everyone in an image, by a network of `mspn.model.person_detector`."""

import numpy as np
import torch
from jaxtyping import Float

from mspn.detectors.letterbox import fit_longer_side
from mspn.detectors.selection import MIN_SCORE, choose_people
from mspn.inference.devices import Precision, choose_precision
from mspn.inference.fold import prepare
from mspn.models.base import normalize
from mspn.models.person_detector import PersonDetector
from mspn.structures.boxes import Detection, nms
from mspn.structures.image import Image

_IOU_THRESHOLD = 0.6
"""Of two boxes that overlap more (IoU), the one with the lower score is of the same person."""
_MAX_PEOPLE = 100


class EmbeddedPersonDetector:
    """Finds people with a network; images of all sizes."""

    def __init__(self, network: PersonDetector, device: torch.device, precision: Precision = "auto") -> None:
        """Make a network ready to answer.

        Args:
            network: in eval mode; it stays as it is.
            device: to compute on.
            precision: what to compute with.
        """
        self._device = device
        self._dtype: torch.dtype = getattr(torch, choose_precision(precision, device))
        self._longer_side = network.config.longer_side
        self._network = prepare(network, device, self._dtype)

    def detect(self, image: Image) -> list[Detection]:
        """Everyone in the image whose score is not very low, best first, boxes within its borders."""
        letterbox = fit_longer_side(image.size, self._longer_side)
        scores, boxes_xyxy_input = self._ask(letterbox.draw(image.pixels))
        corners = letterbox.to_image(boxes_xyxy_input)
        kept = nms(corners, scores, np.zeros(len(scores), int), _IOU_THRESHOLD)[:_MAX_PEOPLE]
        return choose_people(corners[kept], scores[kept], np.ones(len(kept), bool), "people")

    @torch.inference_mode()
    def _ask(self, pixels: np.ndarray) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 4"]]:
        """Scores, and boxes (left, top, right, bottom) in input pixels, of the candidates that are worth a look."""
        images = normalize(torch.from_numpy(pixels)[None].to(self._device)).to(self._dtype)
        candidates = self._network(images)
        scores = candidates.logits[0].sigmoid()
        chosen = scores >= MIN_SCORE
        return scores[chosen].double().cpu().numpy(), candidates.boxes[0][chosen].double().cpu().numpy()
