"""Our own detector: everyone in a picture, by a network of `mspn.model.person_detector`."""

import numpy as np
import torch
from jaxtyping import Float

from mspn.crop import normalise
from mspn.detect.boxes_rule import LOWEST_SCORE, choose_people
from mspn.detect.letterbox import fit_longer_side
from mspn.detect.suppression import drop_overlapping
from mspn.devices import Precision, choose_precision
from mspn.model.inference import prepare
from mspn.model.person_detector import PersonDetector
from mspn.picture import Picture
from mspn.records import Detection

_MOST_OVERLAP = 0.6
"""Of two boxes that overlap more (IoU), the one with the lower score is of the same person."""
_MOST_PEOPLE = 100


class PeopleFinder:
    """Finds people with a network; pictures of all sizes."""

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

    def detect(self, picture: Picture) -> list[Detection]:
        """Everyone in the picture whose score is not very low, best first, boxes within its borders."""
        letterbox = fit_longer_side(picture.size, self._longer_side)
        scores, corners_input = self._ask(letterbox.draw(picture.pixels))
        corners = letterbox.to_picture(corners_input)
        kept = drop_overlapping(corners, scores, np.zeros(len(scores), int), _MOST_OVERLAP)[:_MOST_PEOPLE]
        return choose_people(corners[kept], scores[kept], np.ones(len(kept), bool), "people")

    @torch.inference_mode()
    def _ask(self, pixels: np.ndarray) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 4"]]:
        """Scores, and boxes (left, top, right, bottom) in input pixels, of the candidates that are worth a look."""
        pictures = normalise(torch.from_numpy(pixels)[None].to(self._device)).to(self._dtype)
        candidates = self._network(pictures)
        scores = candidates.logits[0].sigmoid()
        chosen = scores >= LOWEST_SCORE
        return scores[chosen].double().cpu().numpy(), candidates.boxes[0][chosen].double().cpu().numpy()
