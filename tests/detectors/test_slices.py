import numpy as np
import pytest

from mspn.detectors.slices import SlicedDetector, cut_slices
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.image import Image

# Two slices of 100 x 100 along 180 pixels overlap from 80 to 100.
_IMAGE = Image("street.jpg", np.zeros((100, 180, 3), np.uint8))


class _Sees:
    """Finds people of known places where they are at least so high, as a share of what it is shown."""

    def __init__(self, *people: tuple[Box, float], min_share: float = 0.0) -> None:
        self.people = people
        self.min_share = min_share
        self.shown: list[Image] = []

    def detect(self, image: Image) -> list[Detection]:
        self.shown.append(image)
        left = int(image.pixels[0, 0, 0])  # of the slice: pixels hold their column
        found = []
        for box, score in self.people:
            start, end = max(box.left, left), min(box.left + box.width, left + image.size.width)
            if end > start and box.height >= self.min_share * image.size.width:
                found.append(Detection(Box(start - left, box.top, end - start, box.height), score))
        return found


@pytest.fixture
def street() -> Image:
    columns = np.broadcast_to(np.arange(180, dtype=np.uint8)[:, None], (100, 180, 3))
    return Image("street.jpg", columns)


def test_slices_overlap_by_a_fifth_and_reach_the_ends():
    # 180 / (2 - 0.2) = 100: from 0 to 100, and from 80 to 180.
    assert cut_slices(Size(100, 180), 2) == [Box(0, 0, 100, 100), Box(80, 0, 100, 100)]
    assert cut_slices(Size(180, 100), 2) == [Box(0, 0, 100, 100), Box(0, 80, 100, 100)]


def test_slices_are_as_many_along_the_shorter_side_as_make_them_square():
    # 260 / (3 - 0.4) = 100. Of 140, two slices begin at 0 and 40.
    rows = cut_slices(Size(140, 260), 3)

    assert rows == [Box(left, top, 100, 100) for top in (0, 40) for left in (0, 80, 160)]


@pytest.mark.parametrize("size", [Size(1, 1), Size(1, 7), Size(480, 640), Size(3000, 31), Size(999, 1001)])
@pytest.mark.parametrize("slices", [2, 3, 8])
def test_every_pixel_is_in_a_slice(size: Size, slices: int):
    is_seen = np.zeros(size, bool)
    for left, top, width, height in cut_slices(size, slices):
        is_seen[int(top) : int(top + height), int(left) : int(left + width)] = True

    assert is_seen.all()
    assert len(cut_slices(size, slices)) <= slices**2


def test_a_small_person_is_found_in_a_slice_at_its_place_in_the_image(street: Image):
    # 12 pixels are 0.07 of the image, and 0.12 of a slice.
    small = Box(150, 40, 6, 12)
    detector = _Sees((small, 0.8), min_share=0.1)

    assert detector.detect(street) == []
    assert SlicedDetector(detector, 2).detect(street) == [Detection(small, 0.8)]


def test_a_person_whom_the_image_and_both_slices_show_is_one(street: Image):
    both = Box(85, 10, 10, 60)

    assert SlicedDetector(_Sees((both, 0.8)), 2).detect(street) == [Detection(both, 0.8)]


def test_of_a_person_cut_by_a_slice_the_whole_stays_whatever_the_scores(street: Image):
    class _SurerOfParts(_Sees):
        def detect(self, image: Image) -> list[Detection]:
            return [Detection(one.box, 0.5 if one.box.width == 70 else 0.9) for one in super().detect(image)]

    # Wider than the overlap, so each slice has a part alone: 60 to 100, and 80 to 130.
    wide = Box(60, 10, 70, 60)

    assert SlicedDetector(_SurerOfParts((wide, 0.5)), 2).detect(street) == [Detection(wide, 0.5)]


def test_a_part_of_a_person_stays_where_nothing_shows_more(street: Image):
    class _MissesTheWhole(_Sees):
        def detect(self, image: Image) -> list[Detection]:
            return super().detect(image) if image.size.width == 100 else []

    # Its right part is 80 to 130; of the left one, 72 to 100, 20 of 28 pixels are in that.
    wide = Box(72, 10, 58, 60)

    assert SlicedDetector(_MissesTheWhole((wide, 0.6)), 2).detect(street) == [Detection(Box(80, 10, 50, 60), 0.6)]


def test_a_child_before_a_cut_adult_does_not_hide_the_adult(street: Image):
    adult, child = Box(72, 10, 58, 80), Box(86, 50, 8, 30)

    found = SlicedDetector(_Sees((adult, 0.9), (child, 0.7)), 2).detect(street)

    assert found == [Detection(adult, 0.9), Detection(child, 0.7)]


def test_people_at_the_images_own_border_are_not_cut(street: Image):
    first, second = Box(0, 0, 10, 20), Box(2, 0, 20, 30)  # 160 of the first one's 200 pixels are in the second

    found = SlicedDetector(_Sees((first, 0.9), (second, 0.8)), 2).detect(street)

    assert found == [Detection(first, 0.9), Detection(second, 0.8)]


def test_a_slice_is_an_image_of_the_same_source(street: Image):
    detector = _Sees()

    SlicedDetector(detector, 2).detect(street)

    assert [image.size for image in detector.shown] == [Size(100, 180), Size(100, 100), Size(100, 100)]
    assert {image.source for image in detector.shown} == {"street.jpg"}


def test_an_answer_that_is_no_list_of_detections_is_refused():
    class _Numbers:
        def detect(self, image: Image) -> list[Detection]:
            return [(0, 0, 10, 10)] if image.size.width == 100 else []  # type: ignore[list-item]

    with pytest.raises(ValueError, match=r"the detector _Numbers must give a list of mspn.Detection, not \["):
        SlicedDetector(_Numbers(), 2).detect(_IMAGE)
