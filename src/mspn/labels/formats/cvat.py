"""CVAT for images 1.1: an XML file of images with skeletons, boxes and points."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mspn.errors import AnnotationError
from mspn.io.files import write_text
from mspn.labels.label_set import (
    LabeledImage,
    LabeledPerson,
    LabeledSet,
    category_of,
    category_of_set,
    warn_dropped,
    warn_dropped_fields,
    with_categories,
    without_crowds,
)
from mspn.labels.reading import Id, image_size, skeleton_of_labels
from mspn.structures.boxes import Box
from mspn.structures.settings import first_problem
from mspn.structures.skeleton import Skeleton

_MAX_BYTES = 512 * 2**20
_ID: TypeAdapter[int] = TypeAdapter(Id)


@dataclass(frozen=True)
class _Point:
    label: str
    position: tuple[float, float]
    visibility: int


class _Shape(NamedTuple):
    """Somebody in an image."""

    category: str
    """Of the skeleton, or else of the box; empty: neither has one."""
    box: Box | None
    points: list[_Point]


def read_cvat(path: Path, skeleton: Skeleton | None = None) -> LabeledSet:
    """Read skeletons, and points outside skeletons that share a group; people are numbered from 1 on.

    What is marked as outside is unlabeled. A box belongs to the skeleton or points of its group; a box in no group,
    or without either, is a person without keypoints.

    Args:
        path: annotations.xml.
        skeleton: asked for the order of the keypoints, as those of ours, if it has the same; else they are listed as
            in the file's head, or as they first appear.

    Raises:
        AnnotationError: naming the image and what is wrong with it.
    """
    root = _parse(path)
    if root.tag != "annotations" or root.find("image") is None:
        raise AnnotationError(f'{path} has no images; export it from CVAT as "CVAT for images 1.1"')
    images: list[LabeledImage] = []
    found: list[tuple[int, _Shape]] = []
    unread: Counter[str] = Counter()
    for image in root.iter("image"):
        where = f"{path}: image {image.get('name')!r}"
        size = image_size(_number(image, "width", where), _number(image, "height", where), where)
        number = _id(image, where)
        images.append(LabeledImage(number, image.get("name", ""), size))
        found += [(number, shape) for shape in _people(image, where, unread)]
    warn_dropped(path, unread.total(), f"shapes of other types are not read: {', '.join(sorted(unread))}")
    used = [point.label for _, shape in found for point in shape.points]
    table = skeleton_of_labels(path, _labels(root, used), skeleton)
    people = [
        LabeledPerson(number, image_id, _keypoints(shape.points, table, f"{path}: image {image_id}"), shape.box)
        for number, (image_id, shape) in enumerate(found, start=1)
    ]
    return with_categories(LabeledSet(table, images, people), [shape.category for _, shape in found])


def write_cvat(labels: LabeledSet, path: Path) -> None:
    """Write an XML file that CVAT imports; skeleton and box of a person share a group.

    Raises:
        AnnotationError: if an image's size is not known.
    """
    labels = without_crowds(labels, path)
    warn_dropped_fields(labels, path, people=("category_id",))
    categories = dict.fromkeys([category_of(labels, person) for person in labels.people]) or [category_of_set(labels)]
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    listed = SubElement(SubElement(SubElement(root, "meta"), "task"), "labels")
    for name, kind, parent in (
        row
        for category in categories
        for row in (
            (category, "skeleton", None),
            *((name, "points", category) for name in labels.skeleton.keypoints),
        )
    ):
        label = SubElement(listed, "label")
        SubElement(label, "name").text = name
        SubElement(label, "type").text = kind
        SubElement(label, "attributes")
        if parent is not None:
            SubElement(label, "parent").text = parent
    images = {}
    for image in labels.images:
        size = image.known_size(path)
        fields = {"id": image.id, "name": image.file_name, "width": size.width, "height": size.height}
        images[image.id] = SubElement(root, "image", {key: str(value) for key, value in fields.items()})
    for person in labels.people:
        _add_person(images[person.image_id], person, category_of(labels, person), labels.skeleton.keypoints)
    ElementTree.indent(root)
    write_text(path, '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n")


def _parse(path: Path) -> Element:
    if not path.is_file():
        raise AnnotationError(f"no file at {path}; check the path")
    if path.stat().st_size > _MAX_BYTES:
        raise AnnotationError(f"{path} is larger than {_MAX_BYTES // 2**20} MiB; export fewer images at a time")
    try:
        text = path.read_text(encoding="utf-8-sig")
        # Entities can grow to gigabytes; CVAT writes none.
        if "<!DOCTYPE" in text or "<!ENTITY" in text:
            raise AnnotationError(f"{path} defines a document type, which CVAT does not; it is not read")
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path} is not XML in UTF-8 ({error}); is the file whole?") from error


def _people(image: Element, where: str, unread: Counter[str]) -> Iterator[_Shape]:
    """Box and points of everyone in an image: skeletons, then grouped points, then boxes that are left."""
    boxes: dict[str, _Shape] = {}
    lone: list[_Shape] = []
    grouped: dict[str, list[_Point]] = {}
    skeletons: list[tuple[str | None, str, list[_Point]]] = []
    for element in image:
        group = element.get("group_id")
        if element.tag == "skeleton":
            points = [_point(point, where) for point in element.iter("points")]
            skeletons.append((group, element.get("label", ""), points))
        elif element.tag == "points":
            grouped.setdefault(group or "", []).append(_point(element, where))
        elif element.tag == "box":
            left, top, right, bottom = (_number(element, name, where) for name in ("xtl", "ytl", "xbr", "ybr"))
            shape = _Shape(element.get("label", ""), Box(left, top, right - left, bottom - top), [])
            if group is None or group in boxes:
                lone.append(shape)
            else:
                boxes[group] = shape
        else:
            unread[element.tag] += 1
    without_box = _Shape("", None, [])
    for group, category, points in (*skeletons, *((group, "", points) for group, points in grouped.items())):
        shape = boxes.pop(group, without_box) if group is not None else without_box
        yield _Shape(category or shape.category, shape.box, points)
    yield from (*boxes.values(), *lone)


def _point(element: Element, where: str) -> _Point:
    label, text = element.get("label"), element.get("points", "")
    try:
        x, y = (float(number) for number in text.split(","))
        position = (x, y)
    except ValueError as error:
        raise AnnotationError(
            f"{where}: points {label!r} at {text[:40]!r} are not one x,y; label each point by itself, or use skeletons"
        ) from error
    if label is None or not np.isfinite(position).all():
        raise AnnotationError(f"{where} has a point without a label or a finite position")
    is_unlabeled = element.get("outside") == "1"
    return _Point(label, position, 0 if is_unlabeled else 1 if element.get("occluded") == "1" else 2)


def _labels(root: Element, used: Sequence[str]) -> Sequence[str]:
    """Of keypoints: those that the file's head lists as parts of a skeleton, if it lists all that are used."""
    listed = [label.findtext("name", "") for label in root.iter("label") if label.find("parent") is not None]
    return listed if set(used) <= set(listed) else used


def _keypoints(points: Sequence[_Point], table: Skeleton, where: str) -> np.ndarray:
    keypoints = np.zeros((len(table.keypoints), 3))
    seen = set()
    for point in points:
        if point.label in seen:
            raise AnnotationError(
                f"{where} has two points {point.label!r} for one person; group each person's points, or use skeletons"
            )
        seen.add(point.label)
        keypoints[table.keypoints.index(point.label)] = *point.position, point.visibility
    return keypoints


def _add_person(image: Element, person: LabeledPerson, category: str, names: Sequence[str]) -> None:
    common = {"source": "file", "z_order": "0", "group_id": str(person.id)}
    if person.box is not None:
        left, top, width, height = person.box
        corners = {"xtl": left, "ytl": top, "xbr": left + width, "ybr": top + height}
        fields = {name: repr(float(value)) for name, value in corners.items()}
        SubElement(image, "box", {"label": category, "occluded": "0", **fields, **common})
    skeleton = SubElement(image, "skeleton", {"label": category, **common})
    for name, (x, y, visibility) in zip(names, person.keypoints_image.tolist(), strict=True):
        fields = {
            "label": name,
            "source": "file",
            "outside": str(int(visibility == 0)),
            "occluded": str(int(visibility == 1)),
            "points": f"{x!r},{y!r}",
        }
        SubElement(skeleton, "points", fields)


def _id(image: Element, where: str) -> int:
    try:
        return _ID.validate_python(image.get("id"))
    except ValidationError as error:
        raise AnnotationError(f"{where}: {first_problem(error, 'its id')}; write a whole number") from error


def _number(element: Element, name: str, where: str) -> float:
    try:
        value = float(element.get(name, ""))
    except ValueError as error:
        raise AnnotationError(f"{where}: {element.tag} has no number {name!r}") from error
    if not np.isfinite(value):
        raise AnnotationError(f"{where}: {element.tag} has no finite number {name!r}")
    return value
