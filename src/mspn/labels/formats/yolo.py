"""YOLO-pose: a data.yaml, and beside each image's folder `images` one `labels` with a text file an image."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import yaml
from pydantic import BaseModel

from mspn.errors import AnnotationError, ImageError, YamlError
from mspn.io.files import read_yaml, write_text
from mspn.io.image_headers import read_size
from mspn.io.images import IMAGE_SUFFIXES
from mspn.labels.label_set import (
    LabeledImage,
    LabeledPerson,
    LabeledSet,
    box_around,
    warn_dropped,
    warn_dropped_fields,
    without_crowds,
)
from mspn.labels.reading import check_form, field_of, path_inside, skeleton_of
from mspn.structures.boxes import Box, Size
from mspn.structures.shapes import Float
from mspn.structures.skeleton import COCO_17, Skeleton

_SPLITS = ("train", "val", "test")
_DIGITS = 8
"""After the point: a thousandth of a pixel in any image."""
SETTINGS_FILE = "data.yaml"
IMAGES, _LABELS = "images", "labels"
"""Folders. As for trainers, the last one called images is replaced in an image's path to find its labels."""
PERSON_ALONE = {0: "person"}
"""Classes by number."""


class _DataYaml(BaseModel):
    path: str | None = None
    train: str | list[str] | None = None
    val: str | list[str] | None = None
    test: str | list[str] | None = None
    kpt_shape: tuple[int, int]
    flip_idx: list[int] | None = None
    kpt_names: dict[int, list[str]] | list[list[str]] | None = None
    names: dict[int, str] | list[str] = ["person"]


def read_yolo(
    path: Path, skeleton: Skeleton | None = None, category: str | None = None, *, allow_outside: bool = False
) -> LabeledSet:
    """Read a YOLO-pose set; images, by their paths, and people are numbered from 1 on.

    Everyone of every class is read, or of one; the class stays in `extra`. Without visibility in the rows, keypoints at
    (0, 0) or left of or above it are unlabeled. The sizes come from the images' headers: the images must be there.
    File names are relative to `images` beside data.yaml, or to data.yaml's folder where there is none.

    Args:
        path: data.yaml, its folder, or one of its folders of labels (only those are read then).
        skeleton: what the keypoints are if data.yaml has no kpt_names; COCO's for 17 if None.
        category: name or number of the class to read; None: all.
        allow_outside: whether the images may lie outside the folder of data.yaml.

    Raises:
        AnnotationError: naming the first thing that is missing or wrong, with its line, or the classes that there are.
    """
    settings_path = _find_settings(path)
    settings = _read_settings(settings_path)
    table = _skeleton(settings, settings_path, skeleton)
    root = settings_path.parent if settings.path is None else settings_path.parent / settings.path
    root = root if root.is_dir() else settings_path.parent
    if path.is_dir() and path.absolute() != settings_path.parent:
        files = sorted(_images_in(_swap(path, _LABELS, IMAGES), settings_path))
    else:
        entries = [entry for split in _SPLITS for entry in _as_list(getattr(settings, split))]
        places = [_locate(root, entry) for entry in entries]
        if not allow_outside:
            _refuse_outside(settings_path, places)
        files = sorted({file for place in places for file in _images_in(place, settings_path)})
    if not allow_outside:  # a list of images names any file
        _refuse_outside(settings_path, files)
    if not files:
        raise AnnotationError(f"{settings_path}: its train, val and test name no images; are they there?")
    classes = settings.names if isinstance(settings.names, dict) else dict(enumerate(settings.names))
    wanted = _chosen_classes(settings_path, classes, category)
    base = root / IMAGES if all((root / IMAGES) in file.parents for file in files) else root
    images: list[LabeledImage] = []
    people: list[LabeledPerson] = []
    for number, file in enumerate(files, start=1):
        try:
            size = read_size(file)
        except ImageError as error:
            raise AnnotationError(f"{settings_path}: {error}") from error
        name = file.relative_to(base).as_posix() if base in file.parents else str(file)
        images.append(LabeledImage(number, name, size))
        for keypoints, box, kind in _read_rows(_label_file(file), size, settings.kpt_shape):
            if category is None or kind in wanted:
                people.append(LabeledPerson(len(people) + 1, number, keypoints, box, extra={"class": kind}))
    name = next(iter(wanted.values())) if len(wanted) == 1 else ""
    return LabeledSet(table, images, people, extra={"names": classes}, category=name)


def _refuse_outside(settings_path: Path, places: Iterable[Path]) -> None:
    """Refuse files and folders that are not below data.yaml's own: it may come from others."""
    for place in places:
        if settings_path.parent not in (normal := Path(os.path.normpath(place)), *normal.parents):
            raise AnnotationError(
                f"{settings_path} leads to {place}, which is outside its folder; if you trust it, --allow-outside reads"
                " it (in a recipe: allow_outside of the set)"
            )


def _chosen_classes(path: Path, classes: Mapping[int, str], category: str | None) -> dict[int, str]:
    """By number, the classes of a name or number; all for None."""
    if category is None:
        return dict(classes)
    wanted = category.casefold()
    chosen = {number: name for number, name in classes.items() if wanted in (name.casefold(), str(number))}
    if not chosen:
        raise AnnotationError(f"{path} has no class {category!r}; it has {', '.join(classes.values())}")
    return chosen


def write_yolo(labels: LabeledSet, path: Path) -> None:
    """Write data.yaml and labels/ into a folder; the images belong into its images/.

    Raises:
        AnnotationError: if an image's size is not known, its name leads out of the folder, or two have the same file of
            labels.
    """
    labels = without_crowds(labels, path)
    warn_dropped_fields(labels, path, people=("class",), file=("names",))
    rows: dict[int, list[str]] = {image.id: [] for image in labels.images}
    sizes = {image.id: image.known_size(path) for image in labels.images}
    without_box = 0
    for person in labels.people:
        box = person.box or box_around(person.keypoints_image)
        without_box += box is None
        if box is not None:
            kind = field_of(person.extra, "class", int) or 0
            rows[person.image_id].append(format_row(person.keypoints_image, box, sizes[person.image_id], kind))
    warn_dropped(path, without_box, "people without a box and with too few keypoints for one are left out")
    for file, image in _files_to_write(labels, path).items():
        write_text(file, "".join(f"{row}\n" for row in rows[image.id]))
    classes = field_of(labels.extra, "names", dict[int, str]) or PERSON_ALONE
    write_settings(path / SETTINGS_FILE, labels.skeleton, classes)


def _files_to_write(labels: LabeledSet, path: Path) -> dict[Path, LabeledImage]:
    files: dict[Path, LabeledImage] = {}
    for image in labels.images:
        file = label_file_in(path, path_inside(path / IMAGES, image.file_name))
        if file in files:
            raise AnnotationError(
                f"{files[file].file_name} and {image.file_name} would both have their labels in {file}; rename one"
            )
        files[file] = image
    return files


def label_file_in(folder: Path, image: Path) -> Path:
    """The file to write the labels of an image to that is below a set's `images`, or will be.

    Raises:
        AnnotationError: if a link leads elsewhere, where labels of somebody else may be.
    """
    file = _label_file(image)
    if (folder / IMAGES).absolute() in file.parents and not file.resolve().is_relative_to(folder.resolve()):
        raise AnnotationError(
            f"the labels of {image} would be written through a link, to {file.resolve()}; copy the images there instead"
        )
    return file


def write_settings(path: Path, skeleton: Skeleton, classes: Mapping[int, str] = PERSON_ALONE) -> None:
    """Write a data.yaml: where images are, the classes by number, and what each keypoint of the rows is."""
    settings = {
        "train": IMAGES,
        "val": IMAGES,
        "kpt_shape": [len(skeleton.keypoints), 3],
        "flip_idx": skeleton.mirror_order,
        "names": dict(classes),
        "kpt_names": {number: list(skeleton.keypoints) for number in classes},
    }
    write_text(path, yaml.safe_dump(settings, sort_keys=False))


def format_row(keypoints_image: Float[np.ndarray, "K 3"], box: Box, size: Size, kind: int = 0) -> str:
    """Somebody's line in a text file of labels.

    Args:
        keypoints_image: (x, y, visibility) in image pixels.
        box: in image pixels.
        size: of the image.
        kind: number of the class.
    """
    scale = (size.width, size.height)
    numbers = [*np.divide(box.center, scale), box.width / size.width, box.height / size.height]
    words = [str(kind), *(f"{number:.{_DIGITS}f}" for number in numbers)]
    for x, y, visibility in keypoints_image.tolist():
        words += [f"{x / size.width:.{_DIGITS}f}", f"{y / size.height:.{_DIGITS}f}", str(int(visibility))]
    return " ".join(words)


def _find_settings(path: Path) -> Path:
    if path.suffix.lower() in (".yaml", ".yml"):
        candidates = [path]
    else:
        candidates = [folder / SETTINGS_FILE for folder in (path, *list(path.absolute().parents)[:3])]
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise AnnotationError(f"no data.yaml at {path} or above; name the one of the YOLO-pose set")
    return found.absolute()


def _read_settings(path: Path) -> _DataYaml:
    try:
        values = read_yaml(path)
    except YamlError as error:
        raise AnnotationError(str(error)) from error
    return check_form(path, values, _DataYaml, "a YOLO-pose data.yaml")


def _skeleton(settings: _DataYaml, path: Path, given: Skeleton | None) -> Skeleton:
    count, numbers = settings.kpt_shape
    if count < 1 or numbers not in (2, 3):
        raise AnnotationError(f"{path}: kpt_shape is {[count, numbers]}; write [keypoints, 2] or [keypoints, 3]")
    named = settings.kpt_names.values() if isinstance(settings.kpt_names, dict) else settings.kpt_names
    names = next(iter(named or []), None)
    if names is not None:
        order = settings.flip_idx or range(count)
        pairs = [(names[left], names[right]) for left, right in enumerate(order) if left < right < len(names)]
        table = skeleton_of(path, names, known=given, pairs=pairs)
    else:
        table = given or COCO_17
    if len(table.keypoints) != count:
        raise AnnotationError(
            f"{path}: kpt_shape says {count} keypoints, {table.name} has {len(table.keypoints)};"
            " say with --skeleton, or in kpt_names, what they are"
        )
    return table


def _as_list(entry: str | list[str] | None) -> list[str]:
    return [] if entry is None else [entry] if isinstance(entry, str) else entry


def _locate(root: Path, entry: str) -> Path:
    """Exports of some services say ../train/images where they mean train/images."""
    beside = root / entry.removeprefix("../")
    return beside if beside.exists() and not (root / entry).exists() else root / entry


def _images_in(place: Path, settings_path: Path) -> Iterator[Path]:
    if place.is_dir():
        found = (file for file in place.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
        yield from (file for file in found if not file.name.startswith("."))  # as macOS leaves beside images
    elif place.suffix == ".txt" and place.is_file():
        for line in _read_lines(place):
            if line.strip():
                yield place.parent / line.strip()
    else:
        raise AnnotationError(f"{settings_path}: there is no {place}; copy or link the images to that place")


def _label_file(image: Path) -> Path:
    return _swap(image.parent, IMAGES, _LABELS) / image.with_suffix(".txt").name


def _swap(path: Path, old: str, new: str) -> Path:
    """The path with the last folder of one name replaced by the other."""
    parts = list(path.absolute().parts)
    if old in parts:
        parts[len(parts) - 1 - parts[::-1].index(old)] = new
    return Path(*parts)


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path} is not UTF-8 ({error.reason}); save it in that encoding") from error


def _read_rows(path: Path, size: Size, shape: tuple[int, int]) -> Iterator[tuple[np.ndarray, Box, int]]:
    """Keypoints, box and class of each line; nothing where an image has no file."""
    if not path.is_file():
        return
    scale = np.array([size.width, size.height])
    expected = 5 + shape[0] * shape[1]
    for number, line in enumerate(_read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            values = np.array([float(word) for word in line.split()])
        except ValueError as error:
            raise AnnotationError(f"{path}, line {number}: {error}; write numbers only") from error
        if len(values) != expected:
            raise AnnotationError(f"{path}, line {number} has {len(values)} numbers, not {expected}")
        if not np.isfinite(values).all():
            raise AnnotationError(f"{path}, line {number} has a number that is not finite")
        center, extent = values[1:3] * scale, values[3:5] * scale
        rows = values[5:].reshape(shape)
        points = rows[:, :2] * scale
        nowhere = (rows < 0).any(1) | (rows == 0).all(1)
        visibility = rows[:, 2] if shape[1] == 3 else np.where(nowhere, 0, 2)
        if not np.isin(visibility, (0, 1, 2)).all():
            raise AnnotationError(f"{path}, line {number} has a visibility that is none of 0, 1, 2")
        yield (
            np.column_stack([points, visibility]),
            Box(*(center - extent / 2).tolist(), *extent.tolist()),
            int(values[0]),
        )
