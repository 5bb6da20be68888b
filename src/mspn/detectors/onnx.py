"""Detectors in files that run without torch: of known families in ONNX, and our own as `mspn models export` writes."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mspn.detectors.base import (
    MAX_SIDE,
    MIN_SCORE,
    BoxSelection,
    choose_detections,
    fit_longer_side,
    require_all_categories,
    select_detections,
)
from mspn.detectors.onnx_families import FAMILIES, Candidates, Layout, Outputs
from mspn.errors import DetectorError, ExportError
from mspn.inference.devices import check_process, first_line, open_session
from mspn.inference.exported_files import IMAGE_SIZES, DetectorExportMetadata, OpenFile
from mspn.structures.boxes import Detection, Size, nms
from mspn.structures.image import Image
from mspn.structures.settings import Settings
from mspn.structures.shapes import Float, UInt8

if TYPE_CHECKING:
    import torch

_TYPES: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
_TARGET_SIZE = "orig_target_sizes"


class OnnxNetwork:
    """A network that takes one image at a time."""

    def __init__(self, path: Path, side: int | None, device: "torch.device | None") -> None:
        """Open a file.

        Args:
            path: of the file.
            side: of the square input in pixels, where the file leaves it open.
            device: see `open_session`.

        Raises:
            DetectorError: if onnxruntime is not installed, the file cannot be read, or it does not take one image of
                a size that is known.
        """
        self.path = path
        self._session = open_session(path, device, DetectorError, "detector")
        self._process = os.getpid()
        inputs = {value.name: value for value in self._session.get_inputs()}
        self._target = inputs.pop(_TARGET_SIZE, None)
        if len(inputs) != 1 or not all(
            value.type in _TYPES and _is_one_image(value.shape) for value in inputs.values()
        ):
            written = ", ".join(f"{name} {value.type} {value.shape}" for name, value in inputs.items()) or "none"
            raise DetectorError(
                f"{path} must have one input (1, 3, height, width) of float numbers, but has {written};"
                " export it for one image, channels first"
            )
        self._image = next(iter(inputs.values()))
        self.size = self._find_size(side)

    def run(self, pixels: Float[np.ndarray, "1 3 h w"]) -> Outputs:
        """The numeric outputs of the network for one prepared image.

        Raises:
            DetectorError: if onnxruntime fails.
            ValueError: if this process was forked from the one that opened the file.
        """
        check_process(self._process, f"detector {self.path}")
        feed = {self._image.name: pixels.astype(_TYPES[self._image.type])}
        if self._target is not None:
            feed[_TARGET_SIZE] = np.array([[self.size.width, self.size.height]], np.int64)
        names = [output.name for output in self._session.get_outputs()]
        try:
            values = self._session.run(names, feed)
        except Exception as error:  # onnxruntime's errors have no other base
            raise DetectorError(
                f"{self.path} does not run on {self.size.height}x{self.size.width} pixels ({first_line(error)});"
                " export it again, or give the size that it is for"
            ) from error
        return {
            name: value.astype(np.float32) if value.dtype == np.float16 else value
            for name, value in zip(names, values, strict=True)
            if isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.shape[:1] == (1,)
        }

    def _find_size(self, side: int | None) -> Size:
        shape = self._image.shape[2:]
        if not all(isinstance(length, int) for length in shape):
            if side is None:
                raise DetectorError(
                    f"{self.path} leaves the size of its input open; give the side in pixels that it was trained with,"
                    f" for example {self.path},side=640"
                )
            return Size(*(length if isinstance(length, int) else side for length in shape))
        if side is not None and (side, side) != tuple(shape):
            raise DetectorError(f"{self.path} takes {shape[0]}x{shape[1]} pixels and no others; leave side={side} out")
        if not all(0 < length <= MAX_SIDE for length in shape):
            raise DetectorError(
                f"{self.path} takes {shape[0]}x{shape[1]} pixels; detectors of up to {MAX_SIDE} are run"
            )
        return Size(*shape)


def _is_one_image(shape: list[Any]) -> bool:
    """Whether a shape, in which names and None are dynamic axes, fits (1, 3, height, width)."""
    return len(shape) == 4 and all(
        side == wanted or not isinstance(side, int) for side, wanted in zip(shape, (1, 3), strict=False)
    )


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
        device: "torch.device | None" = None,
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
        self._network = OnnxNetwork(path, self._settings.side, device)
        self.layout, candidates = self._recognize(family)
        self._person = self._find_person(candidates.num_categories)

    def detect(self, image: Image) -> list[Detection]:
        """People with a score of at least `MIN_SCORE`.

        Raises:
            DetectorError: if the network fails.
        """
        letterbox = self.layout.fit(image.size, self._network.size)
        candidates = self._read(letterbox.draw(image.pixels), image.source or "an image")
        boxes = letterbox.to_image(candidates.boxes_xyxy_input)
        # Boxes of other categories are only counted.
        is_needed = (candidates.categories == self._person) | (self._settings.rule != "people")
        is_needed &= np.isfinite(boxes).all(1)
        boxes, scores, categories = (values[is_needed] for values in (boxes, candidates.scores, candidates.categories))
        if self.layout.iou_threshold is not None:
            kept = nms(boxes, scores, categories, self.layout.iou_threshold)
            boxes, scores, categories = boxes[kept], scores[kept], categories[kept]
        return select_detections(boxes, scores, categories == self._person, self._settings.rule)

    def score_cells(
        self, pixels: UInt8[np.ndarray, "h w 3"]
    ) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, "N 4"]]:
        """Score and box of a person in each cell, before boxes of the same person are suppressed.

        Args:
            pixels: RGB, of the size of the network's input.

        Returns:
            Scores, 0 where they are below `MIN_SCORE`, and boxes (left, top, right, bottom) in pixels, of cells counted
            level by level from fine to coarse, row by row.

        Raises:
            DetectorError: if the network fails, has no cells, or takes another size.
        """
        if pixels.shape[:2] != self._network.size:
            raise DetectorError(
                f"{self._network.path} is for {self._network.size.height}x{self._network.size.width} pixels, not for"
                f" {pixels.shape[0]}x{pixels.shape[1]}"
            )
        candidates = self._read(pixels, "an image")
        if candidates.cells is None:
            raise DetectorError(f"{self._network.path} does not tell which cell of an image proposes a box")
        is_person = (candidates.categories == self._person) & np.isfinite(candidates.boxes_xyxy_input).all(1)
        cells = candidates.cells[is_person]
        scores, boxes = np.zeros(candidates.num_cells, np.float32), np.zeros((candidates.num_cells, 4), np.float32)
        scores[cells], boxes[cells] = candidates.scores[is_person], candidates.boxes_xyxy_input[is_person]
        return scores, boxes

    def _read(self, canvas: UInt8[np.ndarray, "h w 3"], name: str) -> Candidates:
        """What the network proposes for RGB pixels of its input's size."""
        candidates = self.layout.read(self._network.run(self.layout.prepare(canvas)), self._network.size)
        if candidates is None:
            raise DetectorError(
                f"{self._network.path} gives numbers that are no boxes for {name}; export it again, in float32"
            )
        return candidates

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
        self.images_at_once = file.num_streams or 1
        """How many threads may call `detect` side by side, for it to be no slower."""

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
        if self._metadata.decoding:
            return select_detections(letterbox.to_image(boxes), scores, scores >= MIN_SCORE, "people")
        is_kept = scores[0] >= MIN_SCORE
        return choose_detections(letterbox.to_image(boxes[0, is_kept]), scores[0, is_kept])
