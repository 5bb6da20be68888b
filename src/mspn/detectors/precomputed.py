"""Boxes from files: COCO results or tables, and folders of YOLO text files."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import AliasChoices, BaseModel, Field

from mspn.detectors.base import MAX_BOXES, BoxSelection, select_detections, select_indices
from mspn.errors import AnnotationError, DetectorError
from mspn.labels.reading import Flag, check_form, read_json
from mspn.labels.units import suspect_units, warn_of_units
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.image import Image
from mspn.structures.skeleton import is_person_category

_PERSON = 1
_FORM = (
    'a COCO results list, a COCO annotation file, or {"file name": [[left, top, width, height, score], ...]}, of which'
    " the score may be left out"
)
_NUM_CHECKED = 50
"""So many boxes tell whether a file's boxes fit the images."""


class _Result(BaseModel):
    image: int | str = Field(validation_alias=AliasChoices("file_name", "image_id"))
    category_id: int = _PERSON
    bbox: tuple[float, float, float, float]
    score: float = 1.0


class _Image(BaseModel):
    id: int | str
    file_name: str


class _Annotation(BaseModel):
    image_id: int | str
    category_id: int | None = None
    bbox: tuple[float, float, float, float] | None = None
    iscrowd: Flag = 0


class _Category(BaseModel):
    id: int
    name: str | None = None


class _Annotations(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category] = []


_Table = dict[str, list[Annotated[list[float], Field(min_length=4, max_length=5)]]]


class _Row(NamedTuple):
    image: str
    """Name or number."""
    is_person: bool
    detection: Detection


class BoxesFile:
    """Detections read from JSON, looked up by image.

    Three forms are understood: a COCO results list (`image_id`, `bbox`, `score`; category 1 are people), a COCO
    annotation file, and a table {"file name": [[left, top, width, height, score], ...]} of people; the score may be
    left out.
    """

    def __init__(self, path: Path, rule: BoxSelection = "people", category: str | None = None) -> None:
        """Read the file; `category` is whose boxes are people's, by name or number, where the file has others.

        Raises:
            AnnotationError: if it is missing, no JSON, of none of the three forms, without people among its boxes, or
                without other categories that top-100 could count.
        """
        self.path = path
        self.rule = rule
        content = read_json(path)
        rows = list(_read_rows(path, content, category))
        if rows and not any(row.is_person for row in rows):
            raise AnnotationError(
                f"{path}: none of its {len(rows)} boxes is of category {category or _PERSON}; --category names another"
            )
        if rule == "top-100" and rows and all(row.is_person for row in rows):
            raise AnnotationError(
                f"{path} has only boxes of people, so the best {MAX_BOXES} boxes of all categories are unknown;"
                " use the rule people, or the detector's whole output"
            )
        boxes = np.array([row.detection.box for row in rows], np.float64).reshape(-1, 4)
        warn_of_units(path, suspect_units(boxes=boxes, scores=np.array([row.detection.score for row in rows])))
        # A table may name images without people.
        self._rows: dict[str, list[_Row]] = {name: [] for name in content} if _is_table(content) else {}
        for row in rows:
            self._rows.setdefault(row.image, []).append(row)
        self._checked: list[tuple[Box, Size]] = []

    def detect(self, image: Image) -> list[Detection]:
        detections = self.find(image.source)
        if len(self._checked) < _NUM_CHECKED:
            self._checked += [(detection.box, image.size) for detection in detections]
            boxes, sizes = (np.array([pair[part] for pair in self._checked], float) for part in (0, 1))
            if self._checked and warn_of_units(self.path, suspect_units(boxes=boxes, sizes=sizes[:, ::-1])):
                self._checked += self._checked[:1] * _NUM_CHECKED
        return detections

    def find(self, file_name: str, image_id: int | None = None) -> list[Detection]:
        """Detections of an image.

        Looked up by path, with and without its leading folders, then by COCO's number: the one given, or else the
        name without its suffix.
        """
        rows = next((self._rows[key] for key in _keys(file_name, image_id) if key in self._rows), [])
        people = select_indices([row.detection.score for row in rows], [row.is_person for row in rows], self.rule)
        return [rows[index].detection for index in people]

    def knows(self, file_name: str) -> bool:
        """Whether the file has an entry for an image, which may be an empty one."""
        return any(key in self._rows for key in _keys(file_name, None))


def _keys(file_name: str, image_id: int | None) -> list[str]:
    path = Path(file_name)
    stem = path.stem
    by_path = [file_name, path.as_posix(), *("/".join(path.parts[first:]) for first in range(1, len(path.parts)))]
    if image_id is not None:
        return [*by_path, str(image_id)]
    return [*by_path, stem, str(int(stem))] if stem.isdecimal() else [*by_path, stem]


def _is_table(content: Any) -> bool:
    return isinstance(content, dict) and "annotations" not in content


def _read_rows(path: Path, content: Any, category: str | None) -> Iterator[_Row]:
    if isinstance(content, list):
        for result in check_form(path, content, list[_Result], _FORM):
            # A list has numbers alone; names are those of annotation files.
            wanted = category if category and category.isdecimal() else str(_PERSON)
            is_person = str(result.category_id) == wanted
            yield _Row(str(result.image), is_person, Detection(Box(*result.bbox), result.score))
    elif _is_table(content):
        for name, boxes in check_form(path, content, _Table, _FORM).items():
            for left, top, width, height, *scores in boxes:
                yield _Row(name, True, Detection(Box(left, top, width, height), scores[0] if scores else 1.0))
    else:
        file = check_form(path, content, _Annotations, _FORM)
        names = {str(image.id): image.file_name for image in file.images}
        people = _people_of(path, file.categories, category)
        for row in file.annotations:
            if str(row.image_id) not in names:
                raise AnnotationError(f"{path}: a box is of image_id {row.image_id}, which is not among its images")
            if not row.iscrowd and row.bbox is not None:
                is_person = row.category_id is None or row.category_id in people
                yield _Row(names[str(row.image_id)], is_person, Detection(Box(*row.bbox), 1.0))


def _people_of(path: Path, categories: Sequence[_Category], wanted: str | None) -> set[int]:
    """Ids of the wanted categories, else of those that are called people; 1 where none has a name."""
    if wanted is not None:
        chosen = {row.id for row in categories if wanted.casefold() in ((row.name or "").casefold(), str(row.id))}
    elif any(row.name for row in categories):
        chosen = {row.id for row in categories if is_person_category(row.name or "")}
    else:
        chosen = {_PERSON}
    if not chosen:
        there = ", ".join(row.name or str(row.id) for row in categories)
        raise AnnotationError(
            f"{path} has no category {wanted or 'person'!r}; it has {there or 'none'}: choose with --category"
        )
    return chosen


_YOLO_PERSON = 0
_MAX_BYTES = 2**24


class BoxesFolder:
    """Detections looked up by image: those of `a/b.jpg` are in `a/b.txt` or `b.txt` of the folder.

    A line is a box: category, x and y of its middle, width, height, and perhaps a score, all but the first and the last
    as shares of the image. Category 0 are people. An image without a file has no people.
    """

    def __init__(self, folder: Path) -> None:
        """Look into the folder.

        Raises:
            DetectorError: if there are no text files in it.
        """
        if next(folder.rglob("*.txt"), None) is None:
            raise DetectorError(f"no .txt files in {folder}; name a boxes file, or a folder of one text file an image")
        self.folder = folder

    def detect(self, image: Image) -> list[Detection]:
        """Everyone in the image's file.

        Raises:
            DetectorError: if it cannot be read, naming the line that is no box.
        """
        path = self._file_of(image.source)
        return [] if path is None else self._read(path, image.size)

    def knows(self, file_name: str) -> bool:
        """Whether there is a file of an image."""
        return self._file_of(file_name) is not None

    def _file_of(self, file_name: str) -> Path | None:
        path = Path(file_name)
        parts = [part for part in path.parts if part not in (path.anchor, "..")]
        candidates = (self.folder.joinpath(*parts[first:]).with_suffix(".txt") for first in range(len(parts)))
        return next((candidate for candidate in candidates if candidate.is_file()), None)

    def _read(self, path: Path, size: Size) -> list[Detection]:
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise DetectorError(f"{path} is larger than {_MAX_BYTES // 2**20} MiB; is it a file of boxes?")
            lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except OSError as error:
            raise DetectorError(f"{path} cannot be read ({error.strerror}); check its rights") from error
        rows = [_numbers(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
        values = np.array(rows).reshape(-1, 6)
        middle, half = values[:, 1:3], values[:, 3:5] / 2
        limits = np.array([size.width, size.height] * 2)
        boxes_xyxy_image = np.concatenate([middle - half, middle + half], axis=1) * limits
        return select_detections(
            np.clip(boxes_xyxy_image, 0, limits), values[:, 5], values[:, 0] == _YOLO_PERSON, "people"
        )


def open_boxes(path: Path, category: str | None, images: Sequence[Path]) -> BoxesFile | BoxesFolder:
    """A boxes file, or a folder of text files.

    Args:
        path: of the file or folder.
        category: whose boxes of a file to use, by name or id.
        images: that are to be looked up; empty if they are not known yet.

    Raises:
        DetectorError: if it cannot be read, or says nothing about any of the images.
    """
    boxes = BoxesFolder(path) if path.is_dir() else BoxesFile(path, category=category)
    if images and not any(boxes.knows(str(image)) for image in images):
        raise DetectorError(
            f"{path} says nothing about any of the {len(images)} images; do its file names match theirs?"
        )
    return boxes


def _numbers(line: str, where: str) -> list[float]:
    """Category, middle, extent and score."""
    try:
        numbers = [float(text) for text in line.split()]
    except ValueError as error:
        raise DetectorError(f"{where}: {error}; write numbers only") from error
    if len(numbers) not in (5, 6) or not np.isfinite(numbers).all():
        raise DetectorError(f"{where} is no box; write category, x, y, width, height as shares, and perhaps a score")
    if not all(-1 <= number <= 2 for number in numbers[1:]):
        raise DetectorError(f"{where} has numbers far above 1; write shares of the image's width and height")
    return [*numbers, 1.0][:6]
