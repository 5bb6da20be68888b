"""Boxes from files: COCO results or tables, and folders of YOLO text files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mspn.detectors.selection import MAX_BOXES, BoxSelection, select_detections, select_indices
from mspn.errors import AnnotationError, DetectorError, InvalidValueError
from mspn.labels.reading import read_json
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.image import Image

_PERSON = 1


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

    def __init__(self, path: Path, rule: BoxSelection = "people") -> None:
        """Read the file.

        Raises:
            AnnotationError: if it is missing, no JSON, of none of the three forms, without people among its boxes, or
                without other categories that top-100 could count.
        """
        self.path = path
        self.rule = rule
        content = read_json(path)
        try:
            rows = list(_read_rows(content))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f"{path} is no boxes file ({type(error).__name__}: {error}); write a COCO results list, a COCO"
                ' annotation file, or {"file name": [[left, top, width, height, score], ...]}'
            ) from error
        if rows and not any(row.is_person for row in rows):
            raise AnnotationError(f"{path}: none of its {len(rows)} boxes is of a person (category_id {_PERSON})")
        if rule == "top-100" and rows and all(row.is_person for row in rows):
            raise AnnotationError(
                f"{path} has only boxes of people, so the top {MAX_BOXES} boxes of all categories are unknown;"
                " use the rule people, or the detector's whole output"
            )
        # A table may name images without people.
        self._rows: dict[str, list[_Row]] = {name: [] for name in content} if _is_table(content) else {}
        for row in rows:
            self._rows.setdefault(row.image, []).append(row)

    def detect(self, image: Image) -> list[Detection]:
        return self.find(image.source)

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
    parts, stem = Path(file_name).parts, Path(file_name).stem
    by_path = ["/".join(parts[first:]) for first in range(len(parts))]
    if image_id is not None:
        return [*by_path, str(image_id)]
    return [*by_path, stem, str(int(stem))] if stem.isdecimal() else [*by_path, stem]


def _is_table(content: Any) -> bool:
    return isinstance(content, dict) and "annotations" not in content


def _read_rows(content: Any) -> Iterator[_Row]:
    if isinstance(content, list):
        for row in content:
            name = row["file_name"] if "file_name" in row else row["image_id"]
            is_person = row.get("category_id", _PERSON) == _PERSON
            yield _Row(str(name), is_person, _detection([*row["bbox"], row.get("score", 1.0)]))
    elif _is_table(content):
        for name, rows in content.items():
            for row in rows:
                yield _Row(name, True, _detection(row))
    else:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        people = {row["id"] for row in content.get("categories", []) if row.get("name") == "person"} or {_PERSON}
        for row in content["annotations"]:
            if not row.get("iscrowd"):
                is_person = "category_id" not in row or row["category_id"] in people
                yield _Row(names[row["image_id"]], is_person, _detection(row["bbox"]))


def _detection(numbers: list[float]) -> Detection:
    left, top, width, height, *scores = (float(number) for number in numbers)
    if len(scores) > 1:
        raise InvalidValueError(f"a box has 4 numbers and perhaps a score, not {len(numbers)}")
    return Detection(Box(left, top, width, height), scores[0] if scores else 1.0)


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
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
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
