"""Networks that predict together: how each is tested, and the crop of a person that it takes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mspn.config.protocol import ProtocolConfig, ScoreCalibration
from mspn.config.recipe import Recipe
from mspn.errors import InvalidValueError
from mspn.inference.exported import ExportedNetwork
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.crop import CropFrame, frame_from_box
from mspn.structures.shapes import UInt8

if TYPE_CHECKING:
    from mspn.inference.runner import Runner


def crop_frame(recipe: Recipe, test: ProtocolConfig, box: Box, image: Size) -> CropFrame:
    """The region of an image that a recipe's network takes as the crop of the person in a box."""
    seen = Box.of_image(image) if recipe.data.boxes == "image" else box
    return frame_from_box(seen, recipe.model.input_size, test.padding)


@dataclass(frozen=True, eq=False)
class Member:
    """A network, and how it is tested."""

    recipe: Recipe
    test: ProtocolConfig
    runner: "Runner | ExportedNetwork"
    calibration: ScoreCalibration | None = None
    """What the scores of keypoints mean; None: they are the peaks of its maps."""

    def frame(self, box: Box, image: Size) -> CropFrame:
        """The region of an image that this network takes as the crop of the person in a box."""
        return crop_frame(self.recipe, self.test, box, image)


@dataclass(frozen=True, eq=False)
class PersonCrop:
    """A person cut out of an image, once for each network of the ensemble."""

    detection: Detection
    frames: tuple[CropFrame, ...]
    crops: tuple[UInt8[np.ndarray, "H W 3"], ...]


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
