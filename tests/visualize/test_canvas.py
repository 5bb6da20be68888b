import numpy as np

from mspn.visualize.draw import Overlay

_RED = (200, 0, 0)


def _columns(layer: Overlay) -> list[int]:
    """Red of the middle row of a black image of 20 x 20 pixels."""
    image = np.zeros((20, 20, 3), np.uint8)
    layer.blend_into(image)
    return image[10, :, 0].tolist()


def test_a_line_is_as_wide_as_asked_for():
    layer = Overlay(0, 0, 20, 20)

    layer.draw_line(np.array([10.0, -5.0]), np.array([10.0, 25.0]), 5.0, _RED, 1.0)

    assert abs(sum(_columns(layer)) / 200 - 5) < 0.5


def test_opacity_blends_with_the_image_once_whatever_is_drawn_above_another():
    layer = Overlay(0, 0, 20, 20)

    for _ in range(3):
        layer.draw_disc(np.array([10.0, 10.0]), 4.0, _RED, 0.5)

    # round(255 * 0.5) / 255 * 200 = 100.4
    assert _columns(layer)[10] == 100


def test_only_its_part_of_the_image_changes():
    layer = Overlay(5, 5, 10, 15)

    layer.draw_line(np.array([0.0, 10.0]), np.array([20.0, 10.0]), 4.0, _RED, 1.0)

    assert _columns(layer) == [0] * 5 + [200] * 5 + [0] * 10


def test_a_ring_is_empty_inside():
    layer = Overlay(0, 0, 20, 20)

    layer.draw_ring(np.array([10.0, 10.0]), 6.0, 2, _RED, 1.0)

    columns = _columns(layer)
    assert (columns[4], columns[10], columns[16]) == (200, 0, 200)


def test_a_line_from_a_point_to_itself_is_nothing():
    layer = Overlay(0, 0, 20, 20)

    layer.draw_line(np.array([10.0, 10.0]), np.array([10.0, 10.0]), 4.0, _RED, 1.0)

    assert max(_columns(layer)) == 0
