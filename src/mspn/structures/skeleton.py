"""Skeletons: keypoint names, mirrored pairs, limbs, OKS sigmas."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from pydantic import Field, PositiveFloat, ValidationInfo, field_validator, model_validator

from mspn.errors import InvalidValueError
from mspn.structures.settings import Settings

DEFAULT_SIGMA = 0.079
"""Of a keypoint about which nothing is known: a COCO shoulder's."""
_MAX_KEYPOINTS = 1000
_PEOPLE = ("person", "people", "human", "pedestrian")


class Skeleton(Settings):
    """The keypoints of a labeling scheme, in the order in which its files write them.

    >>> Skeleton(name="arm", keypoints=("shoulder", "elbow", "wrist"), limbs=(("elbow", "wrist"),)).limb_indices
    [(1, 2)]
    """

    name: str = Field(min_length=1)
    keypoints: tuple[str, ...] = Field(min_length=1, max_length=_MAX_KEYPOINTS)
    pairs: tuple[tuple[str, str], ...] | None = None
    """(left, right) names that trade places in a mirror; null: those that begin with left_ and right_."""
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
        return self.category.strip().lower() in _PEOPLE

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

    Keypoints are matched by name; those that the source does not have become (0, 0, 0), unlabeled.
    """
    converted = np.zeros((*keypoints.shape[:-2], len(target.keypoints), 3), dtype=keypoints.dtype)
    for index, name in enumerate(target.keypoints):
        if name in source.keypoints:
            converted[..., index, :] = keypoints[..., source.keypoints.index(name), :]
    return converted
