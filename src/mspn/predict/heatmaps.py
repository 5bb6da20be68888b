"""Heat maps of people from networks in torch, averaged over mirrored crops and over several networks (Tables 5, 8)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mspn.checkpoints.format import Checkpoint
from mspn.heatmaps.decode import average_mirrored
from mspn.inference.devices import Engine, Precision, choose_device
from mspn.inference.exported import ExportedNetwork
from mspn.inference.runner import Runner
from mspn.predict.ensemble import Ensemble, Member, PersonCrop
from mspn.structures.boxes import Size
from mspn.structures.crop import HEATMAP_STRIDE, CropFrame
from mspn.structures.shapes import Float, UInt8


class Grid(NamedTuple):
    """Positions of heat-map cells in the image."""

    frames: Sequence[CropFrame]
    """One per person; all upright and of one size."""
    cell_at: float
    """Crop pixels from a cell's corner to the point it represents: 2, its center, or 0."""

    @property
    def size(self) -> Size:
        """Cells along each side."""
        height, width = self.frames[0].size
        return Size(height // HEATMAP_STRIDE, width // HEATMAP_STRIDE)


class Resampled(NamedTuple):
    """Heat maps on other cells."""

    heatmaps: Float[Tensor, "B K H W"]
    """Multiplied by the coverage: 0 where the source has no cells."""
    coverage: Float[Tensor, "B 1 H W"]
    """Share of each target cell's bilinear weights that fall on source cells, 0 to 1."""


def make_runner(checkpoint: Checkpoint, device: str, precision: Precision, engine: Engine) -> Runner:
    """Prepare the network of a checkpoint.

    Raises:
        ValueError: for an unknown device, precision or engine.
    """
    ranges = checkpoint.metadata.calibration_ranges
    return Runner(checkpoint.model, choose_device(device), precision, engine, ranges)


def stack_crops(people: Sequence[PersonCrop], network: int = 0) -> UInt8[Tensor, "B H W 3"]:
    """What a network of the ensemble, by its number, sees of people."""
    return torch.from_numpy(np.stack([person.crops[network] for person in people]))


def member_heatmaps(member: Member, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B K h w"]:
    """Heat maps of crops, averaged with those of the mirrored crops where the protocol flips (paper Sec. 4.2)."""
    if not member.test.flip:
        return _answer(member, crops)
    maps, of_mirrored = _answer(member, torch.cat([crops, crops.flip(2)])).chunk(2)
    order = member.recipe.keypoint_table.mirror_order
    return average_mirrored(maps, of_mirrored, order, shift=member.test.mirror_shift)


def ensemble_heatmaps(
    ensemble: Ensemble, crops: Sequence[UInt8[Tensor, "B H W 3"]], frames: Sequence[Sequence[CropFrame]]
) -> Float[Tensor, "B K h w"]:
    """Heat maps of people in the frames of the first network.

    Args:
        ensemble: the networks.
        crops: for each network, the people's crops.
        frames: for each network, where these crops lie.
    """
    if len(ensemble.members) == 1:
        return member_heatmaps(ensemble.leader, crops[0])
    cells = _grid(ensemble.leader, frames[0])
    total = torch.zeros(())
    cover = torch.zeros(())
    for member, weight, own_crops, own_frames in zip(ensemble.members, ensemble.weights, crops, frames, strict=True):
        maps = member_heatmaps(member, own_crops)
        seen = torch.ones(())
        own_cells = _grid(member, own_frames)
        if own_cells != cells:
            maps, seen = resample(maps, own_cells, cells)
        total = total + weight * maps
        cover = cover + weight * seen
    return total / cover


def _answer(member: Member, crops: Tensor) -> Tensor:
    if isinstance(member.runner, ExportedNetwork):
        return torch.from_numpy(member.runner(crops.numpy()))
    return member.runner(crops)


def _grid(member: Member, frames: Sequence[CropFrame]) -> Grid:
    """Where the cells of a network's maps lie, which stand for their corners if it learned rounded keypoints."""
    return Grid(frames, cell_at=0.0 if member.test.decoder == "rounded" else HEATMAP_STRIDE / 2)


def resample(heatmaps: Float[Tensor, "B K h w"], source: Grid, target: Grid) -> Resampled:
    """Interpolate heat maps bilinearly at the image points of the target's cells.

    Args:
        heatmaps: of the source's frames.
        source: grid of the maps.
        target: grid of the result; each frame has the center of its source frame.
    """
    matrices = torch.tensor(
        [_target_to_source(source, target, *frames) for frames in zip(source.frames, target.frames, strict=True)],
        device=heatmaps.device,
    )
    points = functional.affine_grid(matrices, [len(heatmaps), 1, *target.size], align_corners=False)
    ones = heatmaps.new_ones(len(heatmaps), 1, *source.size)
    sampled = functional.grid_sample(torch.cat([heatmaps, ones], dim=1), points, align_corners=False)
    return Resampled(sampled[:, :-1], sampled[:, -1:])


def _target_to_source(
    source: Grid, target: Grid, source_frame: CropFrame, target_frame: CropFrame
) -> list[list[float]]:
    """Affine matrix between crop coordinates that run from -1 to 1 along each side.

    Torch puts cell i of w at (2i + 1) / w - 1, which is crop pixel 4i + 2, and the frames' common center is 0. Cells
    that represent another point than their center are shifted by the difference on both sides.
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
        shift_target = _from_center(target) * 2 / cells_target
        shift_source = _from_center(source) * 2 / cells_source
        row = [0.0, 0.0, ratio * shift_target - shift_source]
        row[axis] = ratio
        matrix.append(row)
    return matrix


def _from_center(grid: Grid) -> float:
    """Offset, in cells, from a cell's center to the point it represents."""
    return grid.cell_at / HEATMAP_STRIDE - 0.5
