"""The content of a COCO keypoint file, parsed and checked."""

import logging
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, BeforeValidator

from mspn.errors import AnnotationError
from mspn.labels.reading import FileName, Flag, Id, Text, check_form
from mspn.structures.skeleton import Skeleton

logger = logging.getLogger(__name__)

NO_BOX = (0.0, 0.0, 0.0, 0.0)
"""Of a person without a box."""


class CocoImage(BaseModel):
    """What is read of an image's entry."""

    id: Id
    file_name: FileName
    width: int | None = None
    height: int | None = None


class CocoAnnotation(BaseModel):
    """What is read of a person's entry."""

    id: Id
    image_id: Id
    category_id: Id | None = None
    bbox: Annotated[tuple[float, float, float, float], BeforeValidator(lambda box: box or NO_BOX)] = NO_BOX
    """All 0 where there is none."""
    keypoints: list[float] | None = None
    num_keypoints: int | None = None
    area: float | None = None
    iscrowd: Flag = 0


class CocoCategory(BaseModel):
    """What is read of a category's entry."""

    id: Id
    name: Text | None = None
    keypoints: Annotated[tuple[Text, ...], BeforeValidator(lambda names: names or ())] = ()
    skeleton: list[tuple[int, int]] | None = None
    """Numbers of the keypoints that a line joins, from 1 on."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or str(self.id)


class _CocoFile(BaseModel):
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


class CocoContent(NamedTuple):
    """What is read of a file."""

    raw: dict[str, Any]
    images: list[CocoImage]
    categories: list[CocoCategory]
    """Those that are read; all have the same keypoints."""
    people: list[int]
    """Positions of the people among the annotations."""
    annotations: list[CocoAnnotation]
    """One for each of N people."""
    keypoints_image: Float[np.ndarray, "N Ks 3"]
    """In the order of `names`."""
    names: tuple[str, ...]


def parse_content(path: Path, raw: Any, unnamed: Skeleton, category: str | None) -> CocoContent:
    """Check the parsed JSON of a file; `unnamed` is the skeleton of a category without names."""
    file = check_form(path, raw, _CocoFile, "a COCO keypoint file (`mspn data convert` writes one)")
    if not file.categories:
        raise AnnotationError(f"{path} has no category; it must be a COCO keypoint file")
    categories = _choose_categories(path, file, category)
    ids = {None, *(chosen.id for chosen in categories)}
    chosen = [position for position, row in enumerate(file.annotations) if row.category_id in ids and row.keypoints]
    left_out = Counter(row.category_id for row in file.annotations if row.category_id not in ids and row.keypoints)
    if left_out:
        names_by_id = {other.id: other.label for other in file.categories}
        listed = ", ".join(f"{count} of {names_by_id.get(number or 0, number)}" for number, count in left_out.items())
        logger.warning(
            "%s: read are annotations of %s, not %s; --category chooses",
            path,
            ", ".join(read.label for read in categories),
            listed,
        )
    if not chosen:
        raise AnnotationError(f"{path} has no annotation with keypoints; a keypoint file is needed, not boxes only")
    people = [file.annotations[position] for position in chosen]
    names = categories[0].keypoints or unnamed.keypoints
    for row in people:
        if len(row.keypoints or ()) != 3 * len(names):
            raise AnnotationError(
                f"{path}: annotation {row.id} has {len(row.keypoints or ())} keypoint numbers, not 3 x {len(names)}"
            )
    keypoints = np.array([row.keypoints for row in people], np.float64).reshape(len(people), len(names), 3)
    return CocoContent(raw, file.images, categories, chosen, people, keypoints, names)


def _choose_categories(path: Path, file: _CocoFile, wanted: str | None) -> list[CocoCategory]:
    """Categories with the same keypoints: those called `wanted`, else the first that has keypoints, and its like."""
    if wanted is not None:
        named = [row for row in file.categories if wanted.casefold() in (row.label.casefold(), str(row.id))]
        if not named:
            there = ", ".join(row.label for row in file.categories)
            raise AnnotationError(f"{path} has no category {wanted!r}; it has {there}")
        return [row for row in named if row.keypoints == named[0].keypoints]
    first = next((row for row in file.categories if row.keypoints), file.categories[0])
    return [row for row in file.categories if row == first or (row.keypoints and row.keypoints == first.keypoints)]
