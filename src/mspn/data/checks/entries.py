"""Rules about entries: ids that are taken twice or lead nowhere, pictures that stand there twice."""

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from mspn.data.checks.findings import Finding
from mspn.data.checks.table import LabelTable


def check_entries(table: LabelTable) -> Iterator[Finding]:
    """Ids and file names of pictures and people."""
    labels = table.labels
    by_id, by_name = defaultdict(list), defaultdict(list)
    for picture in labels.pictures:
        by_id[picture.id].append(picture)
        by_name[picture.file_name].append(picture)
    for number, pictures in by_id.items():
        if len(pictures) > 1:
            names = ", ".join(picture.file_name for picture in pictures)
            yield Finding("duplicate_picture_id", f"id {number} is of {names}", pictures[0].file_name, number)
    for name, pictures in by_name.items():
        if len(pictures) > 1:
            numbers = ", ".join(str(picture.id) for picture in pictures)
            yield Finding("same_file", f"pictures {numbers} name this one file", name, pictures[0].id)
    unknown = np.array([person.picture_id not in by_id for person in labels.people], bool)
    yield from table.find(
        "unknown_picture", unknown, lambda index: f"its picture {labels.people[index].picture_id} is not in the labels"
    )
    places = defaultdict(list)
    for person in labels.people:
        places[person.id].append(person.picture_id)
    _, first = np.unique([person.id for person in labels.people], return_index=True)
    is_first = np.isin(np.arange(len(labels.people)), first)
    is_repeated = np.array([len(places[person.id]) > 1 for person in labels.people], bool)
    yield from table.find(
        "duplicate_person_id",
        is_first & is_repeated,
        lambda index: f"people in pictures {', '.join(map(str, places[labels.people[index].id]))} have this id",
    )
