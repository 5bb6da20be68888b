"""Several networks that answer together: their heat maps are averaged (the "+" rows of the paper's tables)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.config import Recipe, TestConfig
from mspn.geometry import HEATMAP_STRIDE, CropFrame, frame_from_box
from mspn.heatmaps.decode import average_mirrored
from mspn.heatmaps.resample import Grid, resample
from mspn.predict.runner import Runner
from mspn.records import Box


@dataclass(frozen=True, eq=False)
class Member:
    """A network, and how it is tested."""

    recipe: Recipe
    test: TestConfig
    runner: Runner

    def frame(self, box: Box) -> CropFrame:
        """The region that this network wants to see of a person."""
        return frame_from_box(box, self.recipe.model.input_size, self.test.padding)

    def grid(self, frames: Sequence[CropFrame]) -> Grid:
        """Where the cells of this network's maps lie, which stand for their corners if it learned rounded keypoints."""
        return Grid(frames, cell_at=0.0 if self.test.decoder == "rounded" else HEATMAP_STRIDE / 2)

    def heatmaps(self, crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B K h w"]:
        """Heat maps of crops, averaged with those of their mirror images where the test settings say so."""
        if not self.test.flip:
            return self.runner(crops)
        maps, of_mirrored = self.runner(torch.cat([crops, crops.flip(2)])).chunk(2)
        order = self.recipe.keypoint_table.mirror_order
        return average_mirrored(maps, of_mirrored, order, shift=self.test.mirror_shift)


class Ensemble:
    """Networks of one skeleton, whose heat maps are averaged point by point of the image, on the first one's cells.

    Each sees a person as it has been trained to, with its own padding, size and shape of the crop. Where cells of the
    first network lie outside of what another one sees, those that do see them are averaged.
    """

    def __init__(self, members: Sequence[Member], weights: Sequence[float] | None = None) -> None:
        """Put networks together.

        Args:
            members: at least one.
            weights: how much each counts, above 0; None lets them count alike.

        Raises:
            ValueError: if there are no networks, their skeletons differ, or the weights do not fit.
        """
        if not members:
            raise ValueError("no model is given; name at least one")
        skeletons = [member.recipe.keypoint_table for member in members]
        if any(skeleton != skeletons[0] for skeleton in skeletons):
            names = ", ".join(skeleton.name for skeleton in skeletons)
            raise ValueError(f"networks of different skeletons cannot be averaged: {names}")
        weights = [1.0] * len(members) if weights is None else list(weights)
        if len(weights) != len(members):
            raise ValueError(f"{len(weights)} weights for {len(members)} models; give one for each, or none")
        if not all(0 < weight < math.inf for weight in weights):
            raise ValueError(
                f"each model's weight must be a number above 0, not {', '.join(f'{w:g}' for w in weights)}"
            )
        self.members = tuple(members)
        self.weights = tuple(weights)

    @property
    def leader(self) -> Member:
        """The first network, on whose cells the maps are averaged, and whose settings decode them."""
        return self.members[0]

    def frames(self, box: Box) -> tuple[CropFrame, ...]:
        """What each network wants to see of a person."""
        return tuple(member.frame(box) for member in self.members)

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
