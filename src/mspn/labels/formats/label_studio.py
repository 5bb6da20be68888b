"""Label Studio's JSON export: keypoint and rectangle regions, positions in percent of the image.

Pre-labels for it are tasks with predictions, and the labeling interface that shows them.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from pydantic import BaseModel, FiniteFloat, model_validator

from mspn.errors import AnnotationError
from mspn.io.files import write_text
from mspn.io.images import IMAGE_SUFFIXES
from mspn.labels.label_set import (
    LabeledImage,
    LabeledPerson,
    LabeledSet,
    category_of,
    category_of_set,
    warn_dropped,
    warn_dropped_fields,
    warn_occluded,
    with_categories,
    without_crowds,
)
from mspn.labels.reading import ImageSide, Text, check_form, read_json, skeleton_of_labels
from mspn.structures.boxes import Box, Size
from mspn.structures.skeleton import Skeleton

_ONLY_PERSON = ""
"""Owner of all keypoints in an image without rectangles."""


class _Value(BaseModel):
    x: FiniteFloat = 0
    y: FiniteFloat = 0
    width: FiniteFloat = 0
    height: FiniteFloat = 0
    rotation: FiniteFloat = 0
    keypointlabels: list[Text] = []
    rectanglelabels: list[str] = []


class _Region(BaseModel):
    id: str = ""
    type: str = ""
    value: _Value = _Value()
    original_width: ImageSide = 1
    original_height: ImageSide = 1
    image_rotation: FiniteFloat = 0
    parentID: str | None = None  # noqa: N815 (Label Studio's)

    @property
    def is_ours(self) -> bool:
        return bool(self.value.keypointlabels or self.value.rectanglelabels)

    @model_validator(mode="after")
    def _check_image(self) -> "_Region":
        if self.is_ours and not {"original_width", "original_height"} <= self.model_fields_set:
            raise ValueError("the region lacks original_width and original_height")
        if self.is_ours and (self.image_rotation or self.value.rotation):
            raise ValueError("the image or the rectangle is turned in Label Studio; set the rotation to 0")
        return self


class _Annotation(BaseModel):
    was_cancelled: bool = False
    result: list[_Region]


class _Task(BaseModel):
    id: int | None = None
    data: dict[str, Any]
    annotations: list[_Annotation]


def read_label_studio(path: Path, skeleton: Skeleton | None = None) -> LabeledSet:
    """Read an export in the format "JSON"; every keypoint in it is visible. People are numbered from 1 on.

    A keypoint belongs to the rectangle that is its parent region, else to the smallest rectangle around it. In a
    image without rectangles, all keypoints are one person's. A rectangle without keypoints is a person without.
    Of several annotations of a task the first that was not cancelled counts.

    Args:
        path: the file.
        skeleton: asked for the order of the keypoints, as those of ours, if it has the same; else they are listed as
            they first appear.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong.
    """
    tasks = check_form(path, read_json(path), list[_Task], "Label Studio's JSON export")
    unread: Counter[str] = Counter()
    found = [(task, _annotation(task, unread)) for task in tasks]
    names = [label for _, regions in found for region in regions for label in region.value.keypointlabels]
    table = skeleton_of_labels(path, names, skeleton)
    images: list[LabeledImage] = []
    people: list[LabeledPerson] = []
    categories: list[str] = []
    for number, (task, regions) in enumerate(found, start=1):
        size = Size(regions[0].original_height, regions[0].original_width) if regions else None
        images.append(LabeledImage(number, _file_name(task, path), size))
        for owner, keypoints in _people(regions, table, f"{path}: task {task.id or number}", unread):
            people.append(LabeledPerson(len(people) + 1, number, keypoints, None if owner is None else _box(owner)))
            categories.append("" if owner is None else owner.value.rectanglelabels[0])
    for what, count in unread.items():
        warn_dropped(path, count, what)
    return with_categories(LabeledSet(table, images, people), categories)


def write_label_studio(labels: LabeledSet, path: Path) -> None:
    """Write tasks with annotations, as an export has them; `data.image` is the file name, quoted as in an address.

    Raises:
        AnnotationError: if an image's size is not known.
    """
    labels = without_crowds(labels, path)
    warn_dropped_fields(labels, path, people=("category_id",))
    warn_occluded(labels, path)
    people = people_by_image(labels)
    tasks = []
    for image in labels.images:
        size = image.known_size(path)
        regions = [region for person in people[image.id] for region in make_regions(person, labels, size)]
        tasks.append(
            {
                "id": image.id,
                "data": {"image": _quote(image.file_name)},
                "annotations": [{"id": image.id, "was_cancelled": False, "result": regions}],
            }
        )
    write_text(path, json.dumps(tasks) + "\n")


def people_by_image(labels: LabeledSet) -> dict[int, list[LabeledPerson]]:
    """The people of each image, by its id."""
    people: dict[int, list[LabeledPerson]] = {image.id: [] for image in labels.images}
    for person in labels.people:
        people[person.image_id].append(person)
    return people


def _annotation(task: _Task, unread: Counter[str]) -> list[_Region]:
    usable = [annotation for annotation in task.annotations if not annotation.was_cancelled]
    unread["further annotations of a task are not read"] += max(0, len(usable) - 1)
    regions = usable[0].result if usable else []
    unread["regions of other types are not read"] += sum(not region.is_ours for region in regions)
    return [region for region in regions if region.is_ours]


def _file_name(task: _Task, path: Path) -> str:
    names = (_name_at(text) for text in task.data.values() if isinstance(text, str))
    found = next((name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES), None)
    if found is None:
        raise AnnotationError(f"{path}: task {task.id} names no image in its data")
    return found


def _name_at(text: str) -> str:
    """The path within local storage, the name of an uploaded or remote file; what is no address is a path itself."""
    address = _split_address(text)
    if stored := parse_qs(address.query).get("d"):
        return stored[0].lstrip("/")
    if "://" in text or text.startswith("/"):
        return PurePosixPath(unquote(address.path)).name
    return unquote(text, errors=_UNDECODABLE)


def _split_address(text: str) -> SplitResult:
    """The parts of an address; all empty for what is none."""
    try:
        return urlsplit(text)
    except ValueError:
        return urlsplit("")


_UNDECODABLE = "surrogateescape"
"""How Python has bytes of file names that are no UTF-8."""


def _quote(file_name: str) -> str:
    return quote(file_name, errors=_UNDECODABLE)


def _people(
    regions: Sequence[_Region], table: Skeleton, where: str, unread: Counter[str]
) -> Iterator[tuple[_Region | None, np.ndarray]]:
    """Rectangle and keypoints of everyone in an image."""
    rectangles = {region.id: region for region in regions if region.value.rectanglelabels}
    boxes = {owner: _box(region) for owner, region in rectangles.items()}
    rows = {owner: np.zeros((len(table.keypoints), 3)) for owner in boxes or [_ONLY_PERSON]}
    for region in regions:
        for label in region.value.keypointlabels:
            x = region.value.x / 100 * region.original_width
            y = region.value.y / 100 * region.original_height
            owner = _owner(region, x, y, boxes)
            if owner is None:
                unread["keypoints in no rectangle, which belong to nobody, are not read"] += 1
                continue
            row = rows[owner][table.keypoints.index(label)]
            if row[2]:
                raise AnnotationError(
                    f"{where} has two {label!r} for one person; draw a rectangle around each person, as their parent"
                )
            row[:] = x, y, 2
    for owner, keypoints in rows.items():
        if owner in boxes or keypoints.any():
            yield rectangles.get(owner), keypoints


def _owner(region: _Region, x: float, y: float, boxes: dict[str, Box]) -> str | None:
    if not boxes:
        return _ONLY_PERSON
    if region.parentID in boxes:
        return region.parentID
    around = [
        (box.width * box.height, owner)
        for owner, box in boxes.items()
        if box.left <= x <= box.left + box.width and box.top <= y <= box.top + box.height
    ]
    return min(around)[1] if around else None


def _box(region: _Region) -> Box:
    value = region.value
    width, height = region.original_width / 100, region.original_height / 100
    return Box(value.x * width, value.y * height, value.width * width, value.height * height)


class ControlNames(NamedTuple):
    """What a project's labeling interface calls its image, its keypoints and its rectangles."""

    image: str = "image"
    keypoints: str = "keypoints"
    rectangles: str | None = "people"
    """None: the interface has none, and boxes are left out."""


OUR_NAMES = ControlNames()


def make_regions(
    person: LabeledPerson, labels: LabeledSet, size: Size, names: ControlNames = OUR_NAMES
) -> Iterator[dict[str, Any]]:
    """The regions of a person in an image of that size: a rectangle if there is a box, and the labeled keypoints."""
    owner = f"person-{person.id}"
    common = {
        "to_name": names.image,
        "original_width": size.width,
        "original_height": size.height,
        "image_rotation": 0,
    }
    across, down = 100 / size.width, 100 / size.height
    value: dict[str, Any]
    has_rectangle = person.box is not None and names.rectangles is not None
    if person.box is not None and has_rectangle:
        left, top, width, height = person.box
        value = {"x": left * across, "y": top * down, "width": width * across, "height": height * down, "rotation": 0}
        value["rectanglelabels"] = [category_of(labels, person)]
        yield {**common, "from_name": names.rectangles, "id": owner, "type": "rectanglelabels", "value": value}
    parent = {"parentID": owner} if has_rectangle else {}
    for name, (x, y, visibility) in zip(labels.skeleton.keypoints, person.keypoints_image.tolist(), strict=True):
        if visibility > 0:
            value = {"x": x * across, "y": y * down, "width": 0.5, "keypointlabels": [name]}
            region = {"from_name": names.keypoints, "id": f"{owner}-{name}", "type": "keypointlabels", "value": value}
            yield {**common, **parent, **region}


def write_predictions(labels: LabeledSet, path: Path, scores: Mapping[int, float], *, model: str, address: str) -> None:
    """Write tasks with predictions, which Label Studio shows as pre-labels and sorts by their scores.

    Args:
        labels: what is predicted; the tasks come in the order of the images.
        path: file to write.
        scores: how sure the network is of each image, by its id; 0 to 1.
        model: name of the network.
        address: what stands before each image's name in its address, such as /data/local-files/?d=photos/.

    Raises:
        AnnotationError: if an image's size is not known.
    """
    people = people_by_image(labels)
    tasks = []
    for image in labels.images:
        size = image.known_size(path)
        regions = [region for person in people[image.id] for region in make_regions(person, labels, size)]
        prediction = {"model_version": model, "score": scores[image.id], "result": regions}
        tasks.append({"data": {"image": address + _quote(image.file_name)}, "predictions": [prediction]})
    write_text(path, json.dumps(tasks) + "\n")


def write_label_config(labels: LabeledSet, path: Path) -> None:
    """Write the labeling interface (XML) of a project for these keypoints, with rectangles where there are boxes."""
    view = Element("View")
    SubElement(view, "Image", {"name": OUR_NAMES.image, "value": "$image"})
    controls = [("KeyPointLabels", OUR_NAMES.keypoints, labels.skeleton.keypoints)]
    if OUR_NAMES.rectangles is not None and any(person.box is not None for person in labels.people):
        controls.append(("RectangleLabels", OUR_NAMES.rectangles, (category_of_set(labels),)))
    for tag, name, values in controls:
        control = SubElement(view, tag, {"name": name, "toName": OUR_NAMES.image})
        for value in values:
            SubElement(control, "Label", {"value": value})
    indent(view)
    write_text(path, tostring(view, encoding="unicode") + "\n")
