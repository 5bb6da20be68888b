"""COCO's splits, and whether a file that claims to be one is it."""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Split:
    """A split of COCO 2017."""

    name: str
    num_images: int
    claims: tuple[str, ...]
    """Parts of file names that mean this split."""
    some_ids: frozenset[int] = frozenset()
    """A sample of its images' numbers, which no other split has."""


SPLITS = (
    Split(
        "train2017",
        118_287,
        ("train2017", "minus_minival", "minusminival", "trainval35k"),
        frozenset((36, 49, 77, 86, 110, 113, 136, 151, 165, 192, 241, 257, 260, 294, 538113, 544238, 551757)),
    ),
    Split(
        "val2017",
        5000,
        ("val2017", "minival"),
        frozenset((40036, 137294, 205289, 288042, 290248, 321790, 332901, 349594, 364126, 411817, 432085, 449432))
        | frozenset((459437, 465180, 559160, 581062)),
    ),
    Split("test-dev2017", 20_288, ("test-dev",)),
    Split("test2017", 40_670, ("test2017", "test-challenge")),
)
"""The paper's trainval-minus-minival is train2017, its minival is val2017. A name is the first one's that it fits."""


def claimed_split(file_name: str) -> Split | None:
    """The split that a file's name speaks of."""
    return next((split for split in SPLITS if any(claim in file_name.lower() for claim in split.claims)), None)


def confirm_split(path: Path, image_ids: Collection[int]) -> str | None:
    """The name of the split that the images are, by their number and numbers; None, and a warning, for a false claim.

    Args:
        path: of the file that names the images; its name may claim a split, and so does their number.
        image_ids: of the images.
    """
    ids = set(image_ids)
    claimed = claimed_split(path.name) or next((split for split in SPLITS if split.num_images == len(ids)), None)
    if claimed is None:
        return None
    strangers = [split for split in SPLITS if split is not claimed and split.some_ids & ids]
    if len(ids) != claimed.num_images:
        problem = f"it has {len(ids)} images, not {claimed.num_images}"
    elif strangers:
        problem = f"image {min(strangers[0].some_ids & ids)} in it belongs to {strangers[0].name}"
    elif not claimed.some_ids <= ids:
        problem = f"image {min(claimed.some_ids - ids)} is missing"
    else:
        return claimed.name
    logger.warning("%s: not the images of COCO's %s (%s)", path, claimed.name, problem)
    return None
