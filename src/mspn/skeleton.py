"""Keypoint tables: names, mirrored pairs, body halves, limbs and OKS sigmas of the skeletons we know."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from pydantic import Field, PositiveFloat, ValidationInfo, field_validator, model_validator

from mspn.settings import Settings

DEFAULT_SIGMA = 0.079
"""Of a keypoint about which nothing is known: a COCO shoulder's."""
_MOST_KEYPOINTS = 1000


class Skeleton(Settings):
    """The keypoints of a labelling scheme, in the order in which its files write them."""

    name: str = Field(min_length=1)
    keypoints: tuple[str, ...] = Field(min_length=1, max_length=_MOST_KEYPOINTS)
    pairs: tuple[tuple[str, str], ...] | None = None
    """(left, right) names that trade places in a mirror; null: those that begin with left_ and right_."""
    limbs: tuple[tuple[str, str], ...] = ()
    """Names that a drawing joins with a line."""
    sigmas: tuple[PositiveFloat, ...] = Field((), validate_default=True)
    """Per-keypoint constants of the object keypoint similarity; none: the default for all."""
    upper: tuple[str, ...] = ()
    """Upper half for half-body augmentation; the other keypoints are the lower half."""

    @field_validator("sigmas")
    @classmethod
    def _fill_sigmas(cls, value: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        count = len(info.data.get("keypoints", value))
        if value and len(value) != count:
            raise ValueError(f"{len(value)} numbers for {count} keypoints; give one for each, or none")
        return value or (DEFAULT_SIGMA,) * count

    @model_validator(mode="after")
    def _check_names(self) -> "Skeleton":
        in_pairs = [name for pair in self.pairs or () for name in pair]
        in_limbs = [name for limb in self.limbs for name in limb]
        for field, names in (("pairs", in_pairs), ("limbs", in_limbs), ("upper", self.upper)):
            for name in names:
                if name not in self.keypoints:
                    raise ValueError(f"{field} names {name!r}, which is not among the keypoints of {self.name}")
        _refuse_twice(self.keypoints, "keypoints")
        _refuse_twice(in_pairs, "pairs")
        return self

    @property
    def mirrored_pairs(self) -> tuple[tuple[str, str], ...]:
        """(left, right) names that trade places in a mirror."""
        if self.pairs is not None:
            return self.pairs
        lefts = (name for name in self.keypoints if name.startswith("left_"))
        named = ((left, "right_" + left.removeprefix("left_")) for left in lefts)
        return tuple((left, right) for left, right in named if right in self.keypoints)

    @property
    def mirror_order(self) -> list[int]:
        """Where each keypoint's value stands after mirroring: mirrored[k] = original[mirror_order[k]]."""
        partner = dict(self.mirrored_pairs) | {right: left for left, right in self.mirrored_pairs}
        return [self.keypoints.index(partner.get(name, name)) for name in self.keypoints]

    @property
    def limb_indices(self) -> list[tuple[int, int]]:
        return [(self.keypoints.index(start), self.keypoints.index(end)) for start, end in self.limbs]


def _refuse_twice(names: Iterable[str], field: str) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{field} names {name!r} twice")
        seen.add(name)


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

CROWDPOSE_14 = Skeleton(
    name="crowdpose-14",
    keypoints=(
        *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
        *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
        *("head_top", "neck"),
    ),
    # Source: CrowdPose's evaluation code.
    sigmas=(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
    upper=LSP_14.upper,
    limbs=LSP_14.limbs,
)

AI_CHALLENGER_14 = Skeleton(
    name="ai-challenger-14",
    keypoints=(
        *("right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist"),
        *("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle"),
        *("head_top", "neck"),
    ),
    # Source: the challenge's evaluation code (its delta is twice the sigma).
    sigmas=(
        *(0.01388152, 0.01515228, 0.01057665, 0.01417709, 0.01497891, 0.01402144),
        *(0.03909642, 0.03686941, 0.01981803, 0.03843971, 0.03412318, 0.02415081),
        *(0.01291456, 0.01236173),
    ),
    upper=LSP_14.upper,
    limbs=LSP_14.limbs,
)

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO_17, LSP_14, MPII_16, CROWDPOSE_14, AI_CHALLENGER_14)}

_UNNAMED_PREFIX = "unnamed-"


def unnamed_skeleton(num_keypoints: int) -> Skeleton:
    """Keypoints of which only the number is known: no pairs, no limbs, the default sigma."""
    return Skeleton(
        name=f"{_UNNAMED_PREFIX}{num_keypoints}",
        keypoints=tuple(f"keypoint_{index}" for index in range(num_keypoints)),
    )


def find_skeleton(name: str) -> Skeleton:
    """The skeleton of that name; "unnamed-5" stands for any five keypoints.

    Raises:
        ValueError: naming those that there are.
    """
    count = name.removeprefix(_UNNAMED_PREFIX)
    if name.startswith(_UNNAMED_PREFIX) and count.isdecimal() and 1 <= int(count) <= _MOST_KEYPOINTS:
        return unnamed_skeleton(int(count))
    if name not in SKELETONS:
        raise ValueError(
            f"no skeleton {name!r}; there are {', '.join(SKELETONS)} and {_UNNAMED_PREFIX}N for N keypoints of any kind"
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
