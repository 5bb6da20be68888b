"""Detectors in ONNX files, of known families."""

from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from mspn.detectors.letterbox import MAX_SIDE
from mspn.detectors.onnx.families import FAMILIES
from mspn.detectors.onnx.layout import Candidates, Layout
from mspn.detectors.onnx.session import OnnxNetwork
from mspn.detectors.selection import BoxSelection, require_all_categories, select_detections
from mspn.errors import DetectorError
from mspn.structures.boxes import Detection, nms
from mspn.structures.image import Image
from mspn.structures.settings import Settings

_PERSON_AMONG = {None: 0, 1: 0, 80: 0, 91: 1}
"""By number of categories: COCO's 80 start with people, its 91 numbers do so after an unused 0."""
_GRAY = 0.5


class OnnxSettings(Settings):
    """Settings that an ONNX file does not contain."""

    person: int | None = Field(None, ge=0)
    """Number of the category of people, from 0 on; None knows it for COCO's categories and for people alone."""
    side: int | None = Field(None, ge=32, le=MAX_SIDE, multiple_of=32)
    """Of the square input in pixels, where the file leaves it open."""
    rule: BoxSelection = "people"
    """Which people count."""


class OnnxDetector:
    """Finds people with a network that onnxruntime runs."""

    def __init__(
        self,
        path: Path,
        family: str | None = None,
        settings: OnnxSettings | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Open the file and recognize its family by the outputs for a gray image.

        Args:
            path: of the file.
            family: of `FAMILIES`; None takes the one that fits.
            settings: settings that the file does not contain.
            device: see `OnnxNetwork`; None is the CPU.

        Raises:
            DetectorError: if the network cannot be run, is of no such family, or does not say which of its
                categories are people.
        """
        self._settings = settings or OnnxSettings()
        self._network = OnnxNetwork(path, self._settings.side, device or torch.device("cpu"))
        self.layout, candidates = self._recognize(family)
        self._person = self._find_person(candidates.num_categories)

    def detect(self, image: Image) -> list[Detection]:
        """People with a score of at least `MIN_SCORE`.

        Raises:
            DetectorError: if the network fails.
        """
        size = self._network.size
        letterbox = self.layout.fit(image.size, size)
        candidates = self.layout.read(self._network.run(self.layout.prepare(letterbox.draw(image.pixels))), size)
        if candidates is None:
            raise DetectorError(
                f"{self._network.path} gives numbers that are no boxes for {image.source or 'an image'};"
                " export it again, in float32"
            )
        boxes = letterbox.to_image(candidates.boxes_xyxy_input)
        # Boxes of other categories are only counted.
        is_needed = (candidates.categories == self._person) | (self._settings.rule != "people")
        is_needed &= np.isfinite(boxes).all(1)
        boxes, scores, categories = (values[is_needed] for values in (boxes, candidates.scores, candidates.categories))
        if self.layout.iou_threshold is not None:
            kept = nms(boxes, scores, categories, self.layout.iou_threshold)
            boxes, scores, categories = boxes[kept], scores[kept], categories[kept]
        return select_detections(boxes, scores, categories == self._person, self._settings.rule)

    def _recognize(self, family: str | None) -> tuple[Layout, Candidates]:
        network = self._network
        outputs = network.run(np.full((1, 3, *network.size), _GRAY, np.float32))
        layouts = FAMILIES[family] if family else tuple(dict.fromkeys(sum(FAMILIES.values(), ())))
        fitting = [(layout, read) for layout in layouts if (read := layout.read(outputs, network.size)) is not None]
        if len(fitting) == 1:
            return fitting[0]
        written = ", ".join(f"{name} {'x'.join(map(str, values.shape))}" for name, values in outputs.items()) or "none"
        if fitting:
            names = [name for name, members in FAMILIES.items() if any(layout in members for layout, _ in fitting)]
            raise DetectorError(
                f"{network.path} may be of several families by its outputs ({written}); say which, for example"
                f" {names[0]}:{network.path} (there are {', '.join(names)})"
            )
        raise DetectorError(
            f"{network.path} has outputs ({written}) of another form than {family or 'any of ' + ', '.join(FAMILIES)};"
            " docs/detectors.md says which are understood"
        )

    def _find_person(self, num_categories: int | None) -> int:
        path, person = self._network.path, self._settings.person
        if person is None and num_categories not in _PERSON_AMONG:
            raise DetectorError(
                f"{path} tells {num_categories} categories apart, not COCO's; give the number of people among them,"
                f" from 0 on, for example {path},person=0"
            )
        if person is None:
            person = _PERSON_AMONG[num_categories]
        if num_categories is not None and person >= num_categories:
            raise DetectorError(f"{path} has categories 0 to {num_categories - 1}, and person={person} is none of them")
        if num_categories == 1:
            require_all_categories(path, self._settings.rule)
        return person
