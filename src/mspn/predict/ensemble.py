"""Networks that predict together: the crop that each takes, its heat maps, and the average of several (Tables 5, 8)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from mspn.config.protocol import ProtocolConfig, ScoreCalibration
from mspn.config.recipe import Recipe
from mspn.errors import InvalidValueError
from mspn.heatmaps.decode import average_mirrored
from mspn.inference.exported import ExportedNetwork
from mspn.inference.runner import Runner
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import HEATMAP_STRIDE, CropFrame, frame_from_box


def crop_frame(recipe: Recipe, test: ProtocolConfig, box: Box, image: Size) -> CropFrame:
    """The region of an image that a recipe's network takes as the crop of the person in a box."""
    seen = Box.of_image(image) if recipe.data.boxes == "image" else box
    return frame_from_box(seen, recipe.model.input_size, test.padding)


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


@dataclass(frozen=True, eq=False)
class Member:
    """A network, and how it is tested."""

    recipe: Recipe
    test: ProtocolConfig
    runner: Runner | ExportedNetwork
    calibration: ScoreCalibration | None = None
    """What the scores of keypoints mean; None: they are the peaks of its maps."""

    def frame(self, box: Box, image: Size) -> CropFrame:
        """The region of an image that this network takes as the crop of the person in a box."""
        return crop_frame(self.recipe, self.test, box, image)

    def grid(self, frames: Sequence[CropFrame]) -> Grid:
        """Where the cells of this network's maps lie, which stand for their corners if it learned rounded keypoints."""
        return Grid(frames, cell_at=0.0 if self.test.decoder == "rounded" else HEATMAP_STRIDE / 2)

    def heatmaps(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B K h w"]:
        """Heat maps of crops, averaged with those of the mirrored crops where the protocol flips (paper Sec. 4.2)."""
        if not self.test.flip:
            return self.runner(crops)
        maps, of_mirrored = self.runner(torch.cat([crops, crops.flip(2)])).chunk(2)
        order = self.recipe.keypoint_table.mirror_order
        return average_mirrored(maps, of_mirrored, order, shift=self.test.mirror_shift)


class Ensemble:
    """Networks of one skeleton, whose heat maps are averaged point by point of the image, on the first one's cells.

    Each network has its own padding and crop size. Cells of the first network that lie outside of another network's
    crop are averaged over the remaining networks.
    """

    def __init__(self, members: Sequence[Member], weights: Sequence[float] | None = None) -> None:
        """Put networks together.

        Args:
            members: at least one.
            weights: weight of each in the average, above 0; None: equal.

        Raises:
            ValueError: if there are no networks, their skeletons differ, or the weights do not fit.
        """
        if not members:
            raise InvalidValueError("no model is given; name at least one")
        skeletons = [member.recipe.keypoint_table for member in members]
        if any(skeleton != skeletons[0] for skeleton in skeletons):
            names = ", ".join(skeleton.name for skeleton in skeletons)
            raise InvalidValueError(f"networks of different skeletons cannot be averaged: {names}")
        weights = [1.0] * len(members) if weights is None else list(weights)
        if len(weights) != len(members):
            raise InvalidValueError(f"{len(weights)} weights for {len(members)} models; give one for each, or none")
        if not all(0 < weight < math.inf for weight in weights):
            raise InvalidValueError(
                f"each model's weight must be a number above 0, not {', '.join(f'{w:g}' for w in weights)}"
            )
        givers = [member.runner for member in members if isinstance(member.runner, ExportedNetwork)]
        for network in givers:
            if network.gives_keypoints and len(members) > 1:
                raise InvalidValueError(
                    f"{network.path} gives keypoints, not heat maps, and cannot be averaged with others; export it"
                    " without decoding"
                )
        self.members = tuple(members)
        self.weights = tuple(weights)

    @property
    def leader(self) -> Member:
        """The first network, on whose cells the maps are averaged, and whose settings decode and score them."""
        return self.members[0]

    def frames(self, box: Box, image: Size) -> tuple[CropFrame, ...]:
        """What each network wants to see of a person in an image of that size."""
        return tuple(member.frame(box, image) for member in self.members)

    def heatmaps(
        self, crops: Sequence[UInt8[Tensor, "B H W 3"]], frames: Sequence[Sequence[CropFrame]]
    ) -> Float[Tensor, "B K h w"]:
        """Heat maps of people in the frames of the first network.

        Args:
            crops: for each network, the people's crops.
            frames: for each network, where these crops lie.
        """
        if len(self.members) == 1:
            return self.leader.heatmaps(crops[0])
        cells = self.leader.grid(frames[0])
        total = torch.zeros(())
        cover = torch.zeros(())
        for member, weight, own_crops, own_frames in zip(self.members, self.weights, crops, frames, strict=True):
            maps = member.heatmaps(own_crops)
            seen = torch.ones(())
            own_cells = member.grid(own_frames)
            if own_cells != cells:
                maps, seen = resample(maps, own_cells, cells)
            total = total + weight * maps
            cover = cover + weight * seen
        return total / cover


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
