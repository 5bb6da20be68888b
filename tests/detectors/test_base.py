import numpy as np
import pytest

from mspn.detectors.base import import_detector
from mspn.errors import DetectorError
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image
from tests.detectors import own_detectors

_MODULE = "tests.detectors.own_detectors"


def test_a_class_is_made_and_detects():
    detector = import_detector(f"{_MODULE}:LeftHalf")

    image = Image("a.jpg", np.zeros((30, 40, 3), np.uint8))
    assert detector.detect(image) == [Detection(Box(0, 0, 20, 30), 0.5)]


def test_an_instance_is_taken_as_it_is():
    assert import_detector(f"{_MODULE}:ready") is own_detectors.ready


def test_a_function_is_asked_for_a_detector():
    detector = import_detector(f"{_MODULE}:make_narrow")

    assert isinstance(detector, own_detectors.OfWidth)
    assert detector.width == 10


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("not_there.at_all:Finder", r"no module 'not_there'; install it, or name its folder in PYTHONPATH"),
        (f"{_MODULE}:LeftHalv", r"has no 'LeftHalv'; did you mean LeftHalf\?"),
        (f"{_MODULE}:zzz", r"has no 'zzz'; check its spelling"),
        (f"{_MODULE}:number", r"number is a int; name a class with a method detect\(image\)"),
        (f"{_MODULE}:OfWidth", r"cannot be made without arguments \(.*width.*\); name a function that makes it"),
        (f"{_MODULE}:Blind", r"Blind has no method detect\(image\); docs/detectors.md says what it must do"),
    ],
)
def test_what_is_no_detector_is_refused(path: str, problem: str):
    with pytest.raises(DetectorError, match=problem):
        import_detector(path)
