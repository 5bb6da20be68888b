"""The interface of person detectors; custom detectors, and the full image as one person's box."""

import difflib
import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from mspn.errors import DetectorError, InvalidValueError
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image


class Detector(Protocol):
    """Finds people in images."""

    def detect(self, image: Image) -> list[Detection]:
        """The people in the image, in any order; an empty list if there are none.

        Raises:
            DetectorError: if detection fails for this image; a stream goes on with the next one.
        """
        ...


def import_detector(path: str) -> Detector:
    """The detector at `package.module:name`: an instance, or a class or function that makes one without arguments.

    Raises:
        DetectorError: if there is no such module or name, it cannot be made so, or it has no `detect`.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise DetectorError(
            f"detector {path}: no module {error.name!r}; install it, or name its folder in PYTHONPATH"
        ) from error
    if not hasattr(module, name):
        close = difflib.get_close_matches(name, vars(module), n=1)
        hint = f"; did you mean {close[0]}?" if close else "; check its spelling"
        raise DetectorError(f"detector {path}: {module_name} has no {name!r}{hint}")
    detector = getattr(module, name)
    if isinstance(detector, type) or not hasattr(detector, "detect"):
        if not callable(detector):
            raise DetectorError(
                f"detector {path} is a {type(detector).__name__}; name a class with a method detect(image)"
            )
        try:
            detector = detector()
        except TypeError as error:
            raise DetectorError(
                f"detector {path} cannot be made without arguments ({error}); name a function that makes it"
            ) from error
    return check_detector(detector, path)


def check_detector(detector: object, name: str) -> Detector:
    """Check that an object has the interface of a detector.

    Raises:
        DetectorError: if it is a class rather than an instance, or has no method `detect`.
    """
    if isinstance(detector, type):
        raise DetectorError(f"detector {name} is a class; give an instance of it")
    if not callable(getattr(detector, "detect", None)):
        raise DetectorError(f"detector {name} has no method detect(image); docs/detectors.md says what it must do")
    return cast(Detector, detector)


def checked_detections(detector: Detector, image: Image) -> Sequence[Detection]:
    """What a detector finds.

    Raises:
        DetectorError: as the detector's own.
        ValueError: if the detector gives anything but detections.
    """
    found: object = detector.detect(image)
    if not (isinstance(found, Sequence) and all(isinstance(item, Detection) for item in found)):
        name = type(detector).__name__
        raise InvalidValueError(f"the detector {name} must give a list of mspn.Detection, not {repr(found)[:60]}")
    return found


class FullImage:
    """Takes the full image for one person, for images that are crops already."""

    def detect(self, image: Image) -> list[Detection]:
        return [Detection(Box.of_image(image.size), 1.0)]
