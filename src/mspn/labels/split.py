"""Split a labeled set into two by image."""

import random
from dataclasses import replace

from mspn.errors import AnnotationError
from mspn.labels.label_set import LabeledSet


def split_by_image(labels: LabeledSet, share: float, seed: int) -> tuple[LabeledSet, LabeledSet]:
    """Draw images for a second set; everybody in an image goes where it goes.

    Images are drawn by file, so that two entries of one file stay together, and in the order of their names, so that
    the same images are drawn from the same set in any order or format.

    Args:
        labels: the set.
        share: of the files that the second set gets, 0 to 1; at least one file is left in each.
        seed: of the drawing.

    Raises:
        AnnotationError: if there are fewer than two files, or somebody's image is not among the images.
    """
    files = sorted({image.file_name for image in labels.images})
    if len(files) < 2:
        raise AnnotationError(f"{len(files)} image cannot be split; a set of two images or more can")
    known = {image.id: image.file_name for image in labels.images}
    for person in labels.people:
        if person.image_id not in known:
            raise AnnotationError(
                f"person {person.id} is in image {person.image_id}, which is not in the labels; see `mspn data check`"
            )
    count = min(max(round(share * len(files)), 1), len(files) - 1)
    chosen = set(random.Random(seed).sample(files, count))  # no secret

    def part(is_chosen: bool) -> LabeledSet:
        return replace(
            labels,
            images=[image for image in labels.images if (image.file_name in chosen) == is_chosen],
            people=[person for person in labels.people if (known[person.image_id] in chosen) == is_chosen],
        )

    return part(is_chosen=False), part(is_chosen=True)
