import pytest
import torch

from mspn.heatmaps.targets import draw_targets, gaussian_kernel_1d
from mspn.structures.boxes import Size
from mspn.structures.crop import crop_to_heatmap
from tests.golden import golden_pipeline

SIZE = Size(height=64, width=48)
KERNEL_SIZES = [15, 11, 9, 7, 5]


def draw_one(x: float, y: float, kernel_size: int, size: Size = SIZE) -> torch.Tensor:
    maps = draw_targets(torch.tensor([[[x, y]]]), torch.tensor([[True]]), size=size, kernel_size=kernel_size)
    return maps[0, 0]


@pytest.mark.parametrize(
    ("kernel_size", "released"),
    [
        (15, [255, 236.82, 189.693, 131.051, 78.088, 40.131, 17.788, 6.801]),
        (11, [255, 225.037, 154.665, 82.786, 34.51, 11.204]),
        (9, [255, 216.75, 127.5, 55.25, 17]),
        (7, [255, 198.333, 99.167, 28.333]),
        (5, [255, 170, 42.5]),
        (3, [255, 127.5]),  # weights 1 2 1
    ],
)
def test_bumps_have_the_released_codes_profile(kernel_size: int, released: list[float]):
    torch.testing.assert_close(gaussian_kernel_1d(kernel_size) * 255, torch.tensor(released), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
def test_label_maps_away_from_the_border_are_those_of_the_released_code(kernel_size: int):
    golden = golden_pipeline()["targets"]
    sums = golden["sums"][golden["kernel_sizes"].index(kernel_size)]
    peaks = golden["argmax"][golden["kernel_sizes"].index(kernel_size)]
    keypoints_heatmap = crop_to_heatmap(torch.tensor([golden["keypoints_crop"]]))
    labeled = torch.tensor([golden["visibility"]]) > 0

    maps = draw_targets(keypoints_heatmap, labeled, size=SIZE, kernel_size=kernel_size)[0] * 255

    compared = 0
    for index, (x_crop, y_crop) in enumerate(golden["keypoints_crop"]):
        reach = kernel_size // 2
        if reach < x_crop // 4 < SIZE.width - 1 - reach and reach < y_crop // 4 < SIZE.height - 1 - reach:
            assert maps[index].sum().item() == pytest.approx(sums[index], rel=1e-5)
            assert maps[index].argmax().item() == peaks[index]
            compared += 1
    # Of the 17 keypoints on the diagonal, 3 cells apart, the released code mirrors the first and last ones' bumps.
    assert compared == {15: 11, 11: 12, 9: 13, 7: 13, 5: 14}[kernel_size]


def test_one_row_of_a_narrow_label_map_is_that_of_the_released_code():
    released = torch.tensor(golden_pipeline()["targets"]["profile_of_5"])

    row = draw_one(20, 30, kernel_size=5)[30, 20:26]

    torch.testing.assert_close(row * 255, released, rtol=1e-6, atol=1e-4)


def test_a_bump_is_the_product_of_its_profiles():
    bump = draw_one(2, 3, kernel_size=5, size=Size(7, 5))

    # Weights 1 4 6 4 1 over 6, in both directions; above and below the five rows it is zero.
    profile = torch.tensor([1, 4, 6, 4, 1]) / 6
    expected = torch.zeros(7, 5)
    expected[1:6] = profile[:, None] * profile
    torch.testing.assert_close(bump, expected)


@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
@pytest.mark.parametrize(("x", "y"), [(0, 0), (47, 63), (1, 30), (3, 2), (46, 0), (24, 32)])
def test_the_peak_is_exactly_1_in_the_keypoints_cell_also_at_the_border(x: int, y: int, kernel_size: int):
    bump = draw_one(x, y, kernel_size)

    assert bump[y, x] == 1
    assert (bump == 1).sum() == 1
    assert bump.max() == 1


@pytest.mark.parametrize("kernel_size", KERNEL_SIZES)
def test_beyond_its_width_a_bump_is_zero(kernel_size: int):
    bump = draw_one(24, 32, kernel_size)

    rows, columns = torch.nonzero(bump, as_tuple=True)
    reach = kernel_size // 2
    assert (rows.min(), rows.max()) == (32 - reach, 32 + reach)
    assert (columns.min(), columns.max()) == (24 - reach, 24 + reach)


@pytest.mark.parametrize(("x_crop", "column"), [(0.0, 0), (3.99, 0), (4.0, 1), (191.0, 47)])
def test_a_crop_pixels_peak_is_in_a_quarter_of_it_rounded_down(x_crop: float, column: int):
    x_heatmap = float(crop_to_heatmap(torch.tensor([x_crop, 0.0]))[0])

    assert draw_one(x_heatmap, 0, kernel_size=5)[0].argmax() == column


def test_unlabeled_keypoints_have_empty_maps():
    keypoints_heatmap = torch.tensor([[[5.0, 5.0], [9.0, 9.0]]])

    maps = draw_targets(keypoints_heatmap, torch.tensor([[False, True]]), size=SIZE, kernel_size=7)

    assert not maps[0, 0].any()
    assert maps[0, 1, 9, 9] == 1


def test_a_keypoint_far_outside_has_an_empty_map():
    assert not draw_one(-1e6, 1e6, kernel_size=15).any()


def test_an_unlabeled_keypoint_without_coordinates_has_an_empty_map():
    nowhere = torch.full((1, 1, 2), float("nan"))

    maps = draw_targets(nowhere, torch.tensor([[False]]), size=SIZE, kernel_size=5)

    assert not maps.any()


def test_each_person_and_keypoint_has_its_own_map():
    keypoints_heatmap = torch.tensor([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]])

    maps = draw_targets(keypoints_heatmap, torch.ones(2, 2, dtype=torch.bool), size=Size(10, 20), kernel_size=5)

    assert maps.shape == (2, 2, 10, 20)
    # Row times width plus column.
    assert maps.flatten(2).argmax(-1).tolist() == [[2 * 20 + 1, 4 * 20 + 3], [6 * 20 + 5, 8 * 20 + 7]]


@pytest.mark.parametrize("kernel_size", [4, 1, 0, -5])
def test_a_kernel_that_is_even_or_too_small_is_refused(kernel_size: int):
    with pytest.raises(ValueError, match=f"kernel_size must be an odd number from 3 on, not {kernel_size}"):
        draw_one(5, 5, kernel_size)
