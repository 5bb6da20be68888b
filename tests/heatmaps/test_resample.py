import torch

from mspn.predict.heatmaps import Grid, resample
from mspn.structures.boxes import Size
from mspn.structures.crop import CropFrame

CENTER, CORNER = 2.0, 0.0


def _grid(crop_pixels: int, width_image: float, cell_at: float = CENTER) -> Grid:
    """One person's square crop around (50, 40)."""
    return Grid([CropFrame((50.0, 40.0), width_image, Size(crop_pixels, crop_pixels))], cell_at)


def _ramp(cells: int) -> torch.Tensor:
    """One map that counts 0, 1, 2, ... along x."""
    return torch.arange(float(cells)).expand(1, 1, cells, cells)


def test_maps_keep_their_values_on_their_own_cells():
    maps = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    resampled = resample(maps, _grid(32, 100.0), _grid(32, 100.0))

    torch.testing.assert_close(resampled.heatmaps, maps)
    torch.testing.assert_close(resampled.coverage, torch.ones(1, 1, 8, 8))


def test_a_cell_twice_as_large_lies_between_two_small_ones():
    # 16 cells on 8 over the same region: cell i covers 2i and 2i + 1, and its center lies between theirs.
    resampled = resample(_ramp(16), _grid(64, 100.0), _grid(32, 100.0))

    torch.testing.assert_close(resampled.heatmaps[0, 0, 3], torch.tensor([0.5, 2.5, 4.5, 6.5, 8.5, 10.5, 12.5, 14.5]))


def test_a_cell_half_as_large_lies_a_quarter_of_a_cell_from_the_center():
    # Cell 2 of 16 has its center at 2.5 / 16 of the side, which is 1.25 cells of 8, or 0.75 from center to center.
    resampled = resample(_ramp(8), _grid(32, 100.0), _grid(64, 100.0))

    torch.testing.assert_close(resampled.heatmaps[0, 0, 8, 1:5], torch.tensor([0.25, 0.75, 1.25, 1.75]))


def test_cells_outside_the_source_are_not_covered():
    # Half as wide a region, 8 cells on 8: only the target's middle four see anything, each two cells of the source.
    resampled = resample(_ramp(8), _grid(32, 50.0), _grid(32, 100.0))

    torch.testing.assert_close(resampled.coverage[0, 0, 4], torch.tensor([0.0, 0, 1, 1, 1, 1, 0, 0]))
    torch.testing.assert_close(resampled.heatmaps[0, 0, 4], torch.tensor([0.0, 0, 0.5, 2.5, 4.5, 6.5, 0, 0]))


def test_cells_that_stand_for_their_corners_are_read_half_a_cell_further():
    # Cell i of the target stands for 4i + 2 in the crop, which lies halfway between the source's 4i and 4(i + 1).
    from_corners = resample(_ramp(8), _grid(32, 100.0, CORNER), _grid(32, 100.0, CENTER))
    onto_corners = resample(_ramp(8), _grid(32, 100.0, CENTER), _grid(32, 100.0, CORNER))

    torch.testing.assert_close(from_corners.heatmaps[0, 0, 3, :7], torch.arange(7.0) + 0.5)
    torch.testing.assert_close(onto_corners.heatmaps[0, 0, 3, 1:], torch.arange(1.0, 8.0) - 0.5)
