import cv2
import numpy as np
import pytest

from mspn.detectors.base import Letterbox, fit_inside, fit_longer_side, stretch_over
from mspn.structures.boxes import Size


def test_a_wide_image_fills_the_width_of_a_square_input():
    # 100 / 200 halves the image: 40x200 becomes 20x100.
    assert fit_inside(Size(40, 200), Size(100, 100)) == Letterbox(Size(40, 200), Size(20, 100), Size(100, 100))


def test_a_small_image_is_enlarged():
    assert fit_inside(Size(10, 5), Size(100, 100)).scaled == Size(100, 50)


def test_sides_are_rounded_to_the_nearest_pixel():
    # 41 / 100 of 37 is 15.17, and of 38 it is 15.58.
    assert fit_inside(Size(37, 100), Size(41, 41)).scaled == Size(15, 41)
    assert fit_inside(Size(38, 100), Size(41, 41)).scaled == Size(16, 41)
    assert fit_inside(Size(100, 37), Size(41, 41)).scaled == Size(41, 15)
    assert fit_inside(Size(100, 38), Size(41, 41)).scaled == Size(41, 16)


def test_the_other_side_is_padded_to_the_next_multiple_of_32():
    # 640x480 times 416/640 is 416x312, and 320 is the next multiple of 32.
    assert fit_longer_side(Size(640, 480), 416) == Letterbox(Size(640, 480), Size(416, 312), Size(416, 320))
    assert fit_longer_side(Size(480, 640), 416).padded == Size(320, 416)
    assert fit_longer_side(Size(500, 500), 416).padded == Size(416, 416)


def test_an_image_of_one_row_keeps_it():
    assert fit_longer_side(Size(1, 3000), 416) == Letterbox(Size(1, 3000), Size(1, 416), Size(32, 416))


def test_the_image_lies_at_the_top_left_of_gray():
    white = np.full((40, 80, 3), 255, np.uint8)

    drawn = fit_inside(Size(40, 80), Size(60, 60)).draw(white)

    assert drawn.shape == (60, 60, 3)
    assert (drawn[:30] == 255).all()
    assert (drawn[30:] == 114).all()


def test_a_strong_reduction_averages_every_pixel():
    # Of eight columns one is white: at an eighth of the size each pixel is 255 / 8 = 31.9.
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8] = 255

    drawn = fit_inside(Size(64, 64), Size(8, 8)).draw(stripes)

    assert (drawn == 32).all()


@pytest.mark.parametrize(("height", "width", "most"), [(300, 400, 2), (299, 399, 0)])
def test_large_images_are_averaged_in_two_steps_as_in_one(height: int, width: int, most: int):
    # 400 / 44 is 9.1: averages of two by two pixels come first, where both sides are even.
    pixels = cv2.resize(np.random.default_rng(5).integers(0, 256, (40, 30, 3), np.uint8), (width, height))

    drawn = fit_inside(Size(height, width), Size(44, 44)).draw(pixels)[:33].astype(int)

    assert np.abs(drawn - cv2.resize(pixels, (44, 33), interpolation=cv2.INTER_AREA)).max() <= most


def test_boxes_come_back_to_the_image_and_end_at_its_borders():
    # The image is halved into a 50x100 part of the input.
    letterbox = fit_inside(Size(100, 200), Size(100, 100))

    corners = letterbox.to_image(np.array([[10.0, 20.0, 30.0, 40.0], [-5.0, 0.0, 100.0, 90.0]]))

    assert corners.tolist() == [[20.0, 40.0, 60.0, 80.0], [0.0, 0.0, 200.0, 100.0]]


def test_stretching_scales_each_side_by_its_own_factor():
    corners = stretch_over(Size(50, 200), Size(100, 100)).to_image(np.array([[10.0, 10.0, 20.0, 20.0]]))

    assert corners.tolist() == [[20.0, 5.0, 40.0, 10.0]]
