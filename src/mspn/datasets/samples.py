"""Training samples and batches: pixels, and labels of people or scenes."""

from typing import NamedTuple

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor


class KeypointLabels(NamedTuple):
    """Labels of a batch of people."""

    keypoints_crop: Float[Tensor, "B K 2"]
    """(x, y) in crop pixels."""
    visibility: Int[Tensor, "B K"]
    """0 unlabeled or outside the crop, 1 occluded, 2 visible."""
    counted: Bool[Tensor, "B K"]
    """False where the data set does not tell whether the keypoint is visible; it takes part in no loss."""


PERSON, IGNORE, PADDING = 1, 2, 0
"""Kinds of labeled boxes. IGNORE is neither person nor background; PADDING fills rows up to M."""


class SceneLabels(NamedTuple):
    """Boxes of B images, M at most in each."""

    boxes: Float[Tensor, "B M 4"]
    """Left, top, right and bottom in pixels of the network's input."""
    kinds: Int[Tensor, "B M"]


class SampleRequest(NamedTuple):
    """One entry of a training batch: a sample, and the position that seeds its augmentation."""

    position: int
    """Number of samples requested before it, over all epochs; seeds the augmentation."""
    sample_index: int
    """Index of the person, or of the image, among all sets."""


class Sample(NamedTuple):
    """A training crop, or a batch of them with a leading B."""

    pixels: UInt8[Tensor, "*B H W 3"]
    """RGB."""
    labels: KeypointLabels
    sample_index: Int[Tensor, " *B"]
    """Index of the person among all sets."""
    is_readable: Bool[Tensor, " *B"]
    """False where the image could not be read: the crop is black, and no keypoint is counted."""
