import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mspn.structures.boxes import Box, Size
from mspn.structures.crop import (
    CropFrame,
    crop_to_heatmap,
    fitted_width,
    frame_from_box,
    heatmap_to_crop,
    transform_points,
)
from tests.golden import golden_pipeline

SIZE = Size(height=256, width=192)

frames = st.builds(
    CropFrame,
    center_image=st.tuples(st.floats(-500, 2000), st.floats(-500, 2000)),
    width_image=st.floats(4, 3000),
    size=st.sampled_from([SIZE, Size(384, 288), Size(256, 256)]),
    rotation_degrees=st.floats(-180, 180),
    mirrored=st.booleans(),
)
points = st.lists(st.tuples(st.floats(-1000, 3000), st.floats(-1000, 3000)), min_size=1, max_size=5).map(np.array)


@given(frame=frames, points_image=points)
def test_a_point_comes_back_from_the_crop_to_where_it_was(frame: CropFrame, points_image: np.ndarray):
    points_crop = transform_points(points_image, frame.image_to_crop)

    np.testing.assert_allclose(transform_points(points_crop, frame.crop_to_image), points_image, atol=1e-6)


@given(frame=frames)
def test_the_center_lands_in_the_middle_of_the_crop(frame: CropFrame):
    center_crop = transform_points(np.array(frame.center_image), frame.image_to_crop)

    np.testing.assert_allclose(center_crop, [frame.size.width / 2, frame.size.height / 2], atol=1e-6)


@given(frame=frames, points_image=points)
def test_distances_are_scaled_and_never_sheared(frame: CropFrame, points_image: np.ndarray):
    center = np.array(frame.center_image)

    points_crop = transform_points(points_image, frame.image_to_crop)

    distance_image = np.linalg.norm(points_image - center, axis=1)
    distance_crop = np.linalg.norm(points_crop - [frame.size.width / 2, frame.size.height / 2], axis=1)
    np.testing.assert_allclose(
        distance_crop, distance_image * frame.size.width / frame.width_image, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize(
    "golden", golden_pipeline()["frames"], ids=lambda golden: f"{golden['rotation_degrees']:g} degrees"
)
def test_crop_matrices_are_those_of_the_released_code(golden: dict):
    frame = CropFrame(tuple(golden["center_image"]), golden["width_image"], SIZE, golden["rotation_degrees"])

    # The released code computes the matrix from three points in float32.
    np.testing.assert_allclose(frame.image_to_crop, golden["image_to_crop"], rtol=1e-6, atol=1e-6)
    point_crop = transform_points(np.array([111.0, 222.0]), frame.image_to_crop)
    np.testing.assert_allclose(point_crop, golden["point_111_222_crop"], rtol=1e-6)
    assert frame.height_image == pytest.approx(golden["height_image"])


def test_a_frame_turned_by_90_degrees_shows_what_is_below_on_the_right():
    # Crop pixels are 2 image pixels wide; the crop's middle is (96, 128).
    frame = CropFrame((50, 60), 384, SIZE, rotation_degrees=90)

    below, right = transform_points(np.array([[50.0, 80.0], [70.0, 60.0]]), frame.image_to_crop)

    np.testing.assert_allclose(below, [96 + 10, 128], atol=1e-9)
    np.testing.assert_allclose(right, [96, 128 - 10], atol=1e-9)


@given(frame=frames, points_image=points)
def test_an_upright_mirrored_frame_shows_x_at_width_minus_x(frame: CropFrame, points_image: np.ndarray):
    plain = CropFrame(frame.center_image, frame.width_image, frame.size)
    mirrored = CropFrame(frame.center_image, frame.width_image, frame.size, mirrored=True)

    plain_crop = transform_points(points_image, plain.image_to_crop)
    mirrored_crop = transform_points(points_image, mirrored.image_to_crop)

    np.testing.assert_allclose(mirrored_crop[:, 0], frame.size.width - plain_crop[:, 0], atol=1e-6)
    np.testing.assert_allclose(mirrored_crop[:, 1], plain_crop[:, 1], atol=1e-6)


@given(frame=frames, points_image=points)
def test_mirroring_comes_before_the_rotation(frame: CropFrame, points_image: np.ndarray):
    turned_back = CropFrame(frame.center_image, frame.width_image, frame.size, -frame.rotation_degrees)
    mirrored = CropFrame(frame.center_image, frame.width_image, frame.size, frame.rotation_degrees, mirrored=True)

    back_crop = transform_points(points_image, turned_back.image_to_crop)
    mirrored_crop = transform_points(points_image, mirrored.image_to_crop)

    np.testing.assert_allclose(mirrored_crop[:, 0], frame.size.width - back_crop[:, 0], atol=1e-6)
    np.testing.assert_allclose(mirrored_crop[:, 1], back_crop[:, 1], atol=1e-6)


def test_points_are_transformed_by_hand_as_by_the_matrix():
    matrix = np.array([[2.0, 0.0, 5.0], [1.0, 3.0, -1.0]])

    # (1, 2) -> (2 * 1 + 5, 1 * 1 + 3 * 2 - 1)
    np.testing.assert_array_equal(transform_points(np.array([[[1.0, 2.0]]]), matrix), [[[7.0, 6.0]]])


def test_a_cell_is_at_the_middle_of_its_four_crop_pixels():
    cells = np.array([[0.0, 1.0], [47.0, 63.0]])

    points_crop = heatmap_to_crop(cells)

    np.testing.assert_array_equal(points_crop, [[2.0, 6.0], [190.0, 254.0]])
    np.testing.assert_array_equal(crop_to_heatmap(points_crop), cells)


@given(x_crop=st.integers(0, 192 * 16 - 1).map(lambda sixteenths: sixteenths / 16))
def test_the_nearest_cell_of_a_crop_pixel_is_a_quarter_of_it_rounded_down(x_crop: float):
    x_heatmap = float(crop_to_heatmap(np.array([x_crop, 0.0]))[0])

    assert np.floor(x_heatmap + 0.5) == np.floor(x_crop / 4)


@given(points_crop=points)
def test_a_point_comes_back_from_the_heat_map_to_where_it_was(points_crop: np.ndarray):
    np.testing.assert_allclose(heatmap_to_crop(crop_to_heatmap(points_crop)), points_crop, atol=1e-9)


def test_heat_map_maps_take_tensors_too():
    torch.testing.assert_close(crop_to_heatmap(torch.tensor([[2.0, 10.0]])), torch.tensor([[0.0, 2.0]]))
    torch.testing.assert_close(heatmap_to_crop(torch.tensor([[0.0, 2.0]])), torch.tensor([[2.0, 10.0]]))


@pytest.mark.parametrize(
    ("box", "padding", "center", "width"),
    [
        # 60 x 80 padded to 90 x 100; three quarters of 100 is 75, so the width decides.
        (Box(100, 50, 60, 80), (1.5, 1.25), (130, 90), 90),
        # 30 x 200 as it is; three quarters of 200 is 150, so the height decides.
        (Box(0, 0, 30, 200), (1.0, 1.0), (15, 100), 150),
        # 100 x 200 padded as in the test of the released code to 109 x 227; three quarters of 227 is 170.25.
        (Box(-20, 10, 100, 200), (1.09, 1.135), (30, 110), 170.25),
    ],
    ids=["wide", "tall", "released"],
)
def test_a_box_is_padded_then_grown_to_the_crops_shape(
    box: Box, padding: tuple[float, float], center: tuple[float, float], width: float
):
    frame = frame_from_box(box, SIZE, padding)

    assert frame.center_image == center
    assert frame.width_image == pytest.approx(width)
    assert frame.height_image == pytest.approx(width * 4 / 3)
    assert frame.size == SIZE
    assert frame.rotation_degrees == 0
    assert not frame.mirrored


@given(width=st.floats(1, 1000), height=st.floats(1, 1000))
def test_a_fitted_region_holds_the_box_and_touches_it(width: float, height: float):
    fitted = fitted_width(width, height, SIZE)

    fitted_height = fitted * 256 / 192
    assert fitted >= width
    assert fitted_height >= height * (1 - 1e-12)
    assert fitted == pytest.approx(width) or fitted_height == pytest.approx(height)
