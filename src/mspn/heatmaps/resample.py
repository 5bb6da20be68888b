"""Heat maps of one frame on the cells of another."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mspn.structures.boxes import Size
from mspn.structures.crop import HEATMAP_STRIDE, CropFrame


class Grid(NamedTuple):
    """Where the cells of people's heat maps lie in the image."""

    frames: Sequence[CropFrame]
    """Of one size, upright; a person each."""
    cell_at: float
    """Crop pixels from a cell's corner to the point it stands for: 2, its center, or 0."""

    @property
    def size(self) -> Size:
        """Cells along each side."""
        height, width = self.frames[0].size
        return Size(height // HEATMAP_STRIDE, width // HEATMAP_STRIDE)


class Resampled(NamedTuple):
    """Heat maps on other cells."""

    heatmaps: Float[Tensor, "B K H W"]
    """Weighted with the cover: 0 where the source has no cells."""
    cover: Float[Tensor, "B 1 H W"]
    """How much of each new cell's neighborhood the source has, 0 to 1."""


def resample(heatmaps: Float[Tensor, "B K h w"], source: Grid, target: Grid) -> Resampled:
    """Read heat maps, bilinearly, at the image points where the target's cells lie.

    Args:
        heatmaps: of the source's frames.
        source: where the maps' cells lie.
        target: where the new cells lie; each frame has the center of its source frame.
    """
    matrices = torch.tensor(
        [_target_to_source(source, target, *frames) for frames in zip(source.frames, target.frames, strict=True)],
        device=heatmaps.device,
    )
    points = functional.affine_grid(matrices, [len(heatmaps), 1, *target.size], align_corners=False)
    ones = heatmaps.new_ones(len(heatmaps), 1, *source.size)
    read = functional.grid_sample(torch.cat([heatmaps, ones], dim=1), points, align_corners=False)
    return Resampled(read[:, :-1], read[:, -1:])


def _target_to_source(
    source: Grid, target: Grid, source_frame: CropFrame, target_frame: CropFrame
) -> list[list[float]]:
    """Affine matrix between crop coordinates that run from -1 to 1 along each side.

    Torch puts cell i of w at (2i + 1) / w - 1, which is crop pixel 4i + 2, and the frames' common center is 0. Cells
    that stand for another point of theirs are moved by the difference before and after.
    """
    assert source_frame.center_image == target_frame.center_image
    matrix = []
    for axis, (cells_target, cells_source, extent_target, extent_source) in enumerate(
        [
            (target.size.width, source.size.width, target_frame.width_image, source_frame.width_image),
            (target.size.height, source.size.height, target_frame.height_image, source_frame.height_image),
        ]
    ):
        ratio = extent_target / extent_source
        move_target = _from_center(target) * 2 / cells_target
        move_source = _from_center(source) * 2 / cells_source
        row = [0.0, 0.0, ratio * move_target - move_source]
        row[axis] = ratio
        matrix.append(row)
    return matrix


def _from_center(grid: Grid) -> float:
    """Cells from a cell's center to the point it stands for."""
    return grid.cell_at / HEATMAP_STRIDE - 0.5
