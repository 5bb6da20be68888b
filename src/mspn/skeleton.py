"""Keypoint tables: names, mirrored pairs, body halves, limbs and OKS sigmas of the skeletons we know."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Skeleton:
    """The keypoints of a labelling scheme, in the order in which its files write them."""

    name: str
    keypoints: tuple[str, ...]
    sigmas: tuple[float, ...]
    """Per-keypoint constants of the object keypoint similarity."""
    upper: tuple[str, ...]
    """Upper half for half-body augmentation; the other keypoints are the lower half."""
    limbs: tuple[tuple[str, str], ...]
    """Pairs that a drawing joins with a line."""

    @property
    def mirrored_pairs(self) -> tuple[tuple[str, str], ...]:
        """(left, right) names that trade places in a mirror."""
        lefts = (name for name in self.keypoints if name.startswith("left_"))
        return tuple((left, "right_" + left.removeprefix("left_")) for left in lefts)

    @property
    def mirror_order(self) -> list[int]:
        """Where each keypoint's value stands after mirroring: mirrored[k] = original[mirror_order[k]]."""
        partner = dict(self.mirrored_pairs) | {right: left for left, right in self.mirrored_pairs}
        return [self.keypoints.index(partner.get(name, name)) for name in self.keypoints]

    @property
    def upper_indices(self) -> list[int]:
        return [self.keypoints.index(name) for name in self.upper]

    @property
    def lower_indices(self) -> list[int]:
        return [index for index, name in enumerate(self.keypoints) if name not in self.upper]

    @property
    def limb_indices(self) -> list[tuple[int, int]]:
        return [(self.keypoints.index(start), self.keypoints.index(end)) for start, end in self.limbs]


_ARMS = (
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"),
    ("right_elbow", "right_wrist"),
)
_LEGS = (
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("right_hip", "right_knee"),
    ("right_knee", "right_ankle"),
)

FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")

COCO_17 = Skeleton(
    name="coco-17",
    keypoints=(
        *FACE,
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
    ),
    # Source: the COCO keypoint evaluation page and pycocotools.
    sigmas=(
        *(0.026, 0.025, 0.025, 0.035, 0.035),
        *(0.079, 0.079, 0.072, 0.072, 0.062, 0.062),
        *(0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    ),
    upper=(
        *FACE,
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip"),
    ),
    limbs=(
        *(("nose", "left_eye"), ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear")),
        *(("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),
        *(("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")),
        *_ARMS,
        *_LEGS,
    ),
)

LSP_14 = Skeleton(
    name="lsp-14",
    keypoints=(
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
        *("neck", "head_top"),
    ),
    # COCO's where COCO has the keypoint; neck and head top as CrowdPose does.
    sigmas=(0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079),
    upper=(
        *("right_hip", "left_hip", "right_wrist", "right_elbow", "right_shoulder"),
        *("left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
    ),
    limbs=(
        *(("head_top", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder"), ("left_hip", "right_hip")),
        *(("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")),
        *_ARMS,
        *_LEGS,
    ),
)

MPII_16 = Skeleton(
    name="mpii-16",
    keypoints=(
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ),
    # As LSP_14; the pelvis like a hip, the thorax like a shoulder.
    sigmas=(
        *(0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.107, 0.079, 0.079, 0.079),
        *(0.062, 0.072, 0.079, 0.079, 0.072, 0.062),
    ),
    # The released code's halves: 7 to 15 and 0 to 6.
    upper=(
        *("thorax", "neck", "head_top", "right_wrist", "right_elbow", "right_shoulder"),
        *("left_shoulder", "left_elbow", "left_wrist"),
    ),
    limbs=(
        *(("head_top", "neck"), ("neck", "thorax"), ("thorax", "left_shoulder"), ("thorax", "right_shoulder")),
        *(("thorax", "pelvis"), ("pelvis", "left_hip"), ("pelvis", "right_hip")),
        *_ARMS,
        *_LEGS,
    ),
)

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO_17, LSP_14, MPII_16)}

DEFAULT_SIGMA = 0.079
"""Of a keypoint about which nothing is known: a COCO shoulder's."""
_UNNAMED_PREFIX = "unnamed-"


def unnamed_skeleton(num_keypoints: int) -> Skeleton:
    """Keypoints of which only the number is known: no pairs, no limbs, the default sigma."""
    names = tuple(f"keypoint_{index}" for index in range(num_keypoints))
    return Skeleton(f"{_UNNAMED_PREFIX}{num_keypoints}", names, (DEFAULT_SIGMA,) * num_keypoints, upper=(), limbs=())


def find_skeleton(name: str) -> Skeleton:
    """The skeleton of that name; "unnamed-5" stands for any five keypoints.

    Raises:
        ValueError: naming those that there are.
    """
    count = name.removeprefix(_UNNAMED_PREFIX)
    if name.startswith(_UNNAMED_PREFIX) and count.isdecimal():
        return unnamed_skeleton(int(count))
    if name not in SKELETONS:
        raise ValueError(
            f"no skeleton {name!r}; there are {', '.join(SKELETONS)} and {_UNNAMED_PREFIX}N for any N keypoints"
        )
    return SKELETONS[name]


def convert_keypoints(
    keypoints: Float[np.ndarray, "*people Ks 3"], source: Skeleton, target: Skeleton
) -> Float[np.ndarray, "*people Kt 3"]:
    """Rewrite (x, y, visibility) rows of one skeleton in another's order.

    Keypoints are matched by name; those that the source does not have become (0, 0, 0), unlabelled.
    """
    converted = np.zeros((*keypoints.shape[:-2], len(target.keypoints), 3), dtype=keypoints.dtype)
    for index, name in enumerate(target.keypoints):
        if name in source.keypoints:
            converted[..., index, :] = keypoints[..., source.keypoints.index(name), :]
    return converted
