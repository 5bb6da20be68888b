"""Checks of a labeled set: mistakes in labels and images."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from mspn.labels.checks.bodies import check_bodies
from mspn.labels.checks.findings import Finding
from mspn.labels.checks.images import ImageFile, check_images
from mspn.labels.checks.label_table import LabelTable, make_table
from mspn.labels.checks.people import check_boxes, check_keypoints, check_repeats
from mspn.labels.checks.whole_set import check_whole_set
from mspn.labels.label_set import LabeledSet


def check_entries(table: LabelTable) -> Iterator[Finding]:
    """Ids and file names of images and people."""
    labels = table.labels
    by_id, by_name = defaultdict(list), defaultdict(list)
    for image in labels.images:
        by_id[image.id].append(image)
        by_name[image.file_name].append(image)
    for number, images in by_id.items():
        if len(images) > 1:
            names = ", ".join(image.file_name for image in images)
            yield Finding("duplicate_image_id", f"id {number} is of {names}", images[0].file_name, number)
    for name, images in by_name.items():
        if len(images) > 1:
            numbers = ", ".join(str(image.id) for image in images)
            yield Finding("same_file", f"images {numbers} name this one file", name, images[0].id)
    unknown = np.array([person.image_id not in by_id for person in labels.people], bool)
    yield from table.find(
        "unknown_image", unknown, lambda index: f"its image {labels.people[index].image_id} is not in the labels"
    )
    image_ids = defaultdict(list)
    for person in labels.people:
        image_ids[person.id].append(person.image_id)
    _, first = np.unique([person.id for person in labels.people], return_index=True)
    is_first = np.isin(np.arange(len(labels.people)), first)
    is_repeated = np.array([len(image_ids[person.id]) > 1 for person in labels.people], bool)
    yield from table.find(
        "duplicate_person_id",
        is_first & is_repeated,
        lambda index: f"people in images {', '.join(map(str, image_ids[labels.people[index].id]))} have this id",
    )


_RULES = (check_whole_set, check_entries, check_boxes, check_keypoints, check_repeats, check_bodies)


def check_labels(labels: LabeledSet, files: Sequence[ImageFile] = ()) -> list[Finding]:
    """Find mistakes in labels, and labels that look wrong; the kinds are `mspn.labels.checks.findings.KINDS`.

    Args:
        labels: as they were read.
        files: what `mspn.labels.checks.images.scan_images` found of the images; without them only the labels are
            checked, and image sizes are those in the labels.
    """
    sizes = {file.image.id: file.size for file in files if file.size is not None}
    # Rules divide by sizes of people that may be 0 or NaN; a NaN is not greater than any threshold.
    with np.errstate(all="ignore"):
        table = make_table(labels, sizes)
        return [*check_images(files), *(finding for rule in _RULES for finding in rule(table))]
