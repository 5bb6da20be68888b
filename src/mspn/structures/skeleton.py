"""Skeletons: keypoint names, mirrored pairs, limbs, OKS sigmas; those that come with the package are in `SKELETONS`."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from pydantic import Field, PositiveFloat, ValidationInfo, field_validator, model_validator

from mspn.errors import InvalidValueError
from mspn.structures.settings import Settings
from mspn.structures.shapes import Float

DEFAULT_SIGMA = 0.079
"""Of a keypoint about which nothing is known: a COCO shoulder's."""
_MAX_KEYPOINTS = 1000
_PEOPLE = ("person", "people", "human", "pedestrian")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
"""In left_eye, LeftEye, LEFT-EYE, L_Eye and LEye alike, the side is a word of its own."""
_SIDES = {"l": "left", "left": "left", "r": "right", "right": "right"}


def is_person_category(name: str) -> bool:
    """Whether a category of labels or boxes is that of people, by its name."""
    return name.strip().casefold() in _PEOPLE


class Skeleton(Settings):
    """The keypoints of a labeling scheme, in the order in which its files write them.

    >>> Skeleton(name="arm", keypoints=("shoulder", "elbow", "wrist"), limbs=(("elbow", "wrist"),)).limb_indices
    [(1, 2)]
    """

    name: str = Field(min_length=1)
    keypoints: tuple[str, ...] = Field(min_length=1, max_length=_MAX_KEYPOINTS)
    pairs: tuple[tuple[str, str], ...] | None = None
    """(left, right) names that trade places in a mirror; null: those that differ in left and right alone."""
    limbs: tuple[tuple[str, str], ...] = ()
    """Names that a drawing joins with a line."""
    sigmas: tuple[PositiveFloat, ...] = Field((), validate_default=True)
    """Per-keypoint constants of the object keypoint similarity; none: the default for all."""
    upper: tuple[str, ...] = ()
    """Upper half for half-body augmentation; the other keypoints are the lower half."""
    category: str = ""
    """Whose skeleton it is, by the category's name in labels, such as person or fish; empty: unknown."""

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
        _check_unique(self.keypoints, "keypoints")
        _check_unique(in_pairs, "pairs")
        return self

    @property
    def is_of_people(self) -> bool:
        """Whether its boxes are those that a person detector finds."""
        return is_person_category(self.category)

    @property
    def category_of_boxes(self) -> str | None:
        """Category that boxes files must say; None for people, and where it is unknown."""
        return None if self.is_of_people or not self.category else self.category

    @property
    def mirrored_pairs(self) -> tuple[tuple[str, str], ...]:
        """(left, right) names that trade places in a mirror."""
        if self.pairs is not None:
            return self.pairs
        sides = [_side_and_rest(name) for name in self.keypoints]
        rights = {rest: name for name, (side, rest) in zip(self.keypoints, sides, strict=True) if side == "right"}
        lefts = {rest: name for name, (side, rest) in zip(self.keypoints, sides, strict=True) if side == "left"}
        return tuple((left, rights[rest]) for rest, left in lefts.items() if rest in rights)

    @property
    def mirror_order(self) -> list[int]:
        """Where each keypoint's value stands after mirroring: mirrored[k] = original[mirror_order[k]]."""
        partner = dict(self.mirrored_pairs) | {right: left for left, right in self.mirrored_pairs}
        return [self.keypoints.index(partner.get(name, name)) for name in self.keypoints]

    @property
    def pair_indices(self) -> list[tuple[int, int]]:
        """`mirrored_pairs` by their places among the keypoints."""
        return [(self.keypoints.index(left), self.keypoints.index(right)) for left, right in self.mirrored_pairs]

    @property
    def limb_indices(self) -> list[tuple[int, int]]:
        return [(self.keypoints.index(start), self.keypoints.index(end)) for start, end in self.limbs]


def _check_unique(names: Iterable[str], field: str) -> None:
    seen = set()
    for name in names:
        if name in seen:
            raise InvalidValueError(f"{field} names {name!r} twice")
        seen.add(name)


_UNNAMED_PREFIX = "unnamed-"


def unnamed_skeleton(num_keypoints: int) -> Skeleton:
    """Keypoints of which only the number is known: no pairs, no limbs, the default sigma."""
    return Skeleton(
        name=f"{_UNNAMED_PREFIX}{num_keypoints}",
        keypoints=tuple(f"keypoint_{index}" for index in range(num_keypoints)),
    )


def convert_keypoints(
    keypoints: Float[np.ndarray, "*people Ks 3"], source: Skeleton, target: Skeleton
) -> Float[np.ndarray, "*people Kt 3"]:
    """Rewrite (x, y, visibility) rows of one skeleton in another's order.

    Keypoints are matched by `match_keypoints`; those that the source does not have become (0, 0, 0), unlabeled.
    """
    converted = np.zeros((*keypoints.shape[:-2], len(target.keypoints), 3), dtype=keypoints.dtype)
    for name, source_name in match_keypoints(source.keypoints, target.keypoints).items():
        converted[..., target.keypoints.index(name), :] = keypoints[..., source.keypoints.index(source_name), :]
    return converted


def match_keypoints(source: Sequence[str], target: Sequence[str]) -> dict[str, str]:
    """The source's name of each keypoint that both have, by the target's name.

    Names are the same whatever their case, spaces, hyphens and underscores, and however they write left and right,
    unless two names of one side would then be the same.

    >>> match_keypoints(["L Eye", "RightEye", "chin"], ["nose", "left_eye", "right_eye"])
    {'left_eye': 'L Eye', 'right_eye': 'RightEye'}
    """
    by_source_key = _by_key(name for name in source if name not in target)
    by_target_key = _by_key(name for name in target if name not in source)
    alike = {by_target_key[key]: by_source_key[key] for key in by_target_key.keys() & by_source_key.keys()}
    return {name: name if name in source else alike[name] for name in target if name in source or name in alike}


def keypoint_key(name: str) -> str:
    """What all spellings of a keypoint's name have in common."""
    return "".join(_side_and_rest(name))


def _by_key(names: Iterable[str]) -> dict[str, str]:
    """Names by their keys, without those that share one."""
    keys = [(keypoint_key(name), name) for name in names]
    counts = Counter(key for key, _ in keys)
    return {key: name for key, name in keys if counts[key] == 1}


def _side_and_rest(name: str) -> tuple[str, str]:
    """Left, right or nothing, and the other words of a name, joined and in lower case."""
    words = [word.casefold() for word in _WORD.findall(name)]
    side = next((word for word in words if word in _SIDES), None)
    if side is None:
        return "", "".join(words)
    words.remove(side)
    return _SIDES[side], "".join(words)


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
    category="person",
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
    category="person",
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
    category="person",
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
    category="person",
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
    category="person",
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


def find_skeleton(name: str) -> Skeleton:
    """The skeleton of that name; "unnamed-5" stands for any five keypoints.

    Raises:
        ValueError: naming those that there are.
    """
    count = name.removeprefix(_UNNAMED_PREFIX)
    if name.startswith(_UNNAMED_PREFIX) and count.isdecimal() and 1 <= int(count) <= _MAX_KEYPOINTS:
        return unnamed_skeleton(int(count))
    if name not in SKELETONS:
        raise InvalidValueError(
            f"no skeleton {name!r}; there are {', '.join(SKELETONS)} and {_UNNAMED_PREFIX}N for N keypoints of any kind"
        )
    return SKELETONS[name]
