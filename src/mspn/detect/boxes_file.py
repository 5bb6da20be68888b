"""Boxes that another detector, or a person, wrote to a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mspn.data.label_files import AnnotationError, read_json
from mspn.detect.boxes_rule import BEST, BoxesRule, select_people
from mspn.picture import Picture
from mspn.records import Box, Detection

_PERSON = 1


class _Row(NamedTuple):
    picture: str
    """Name or number."""
    is_person: bool
    detection: Detection


class BoxesFile:
    """Detections read from JSON, looked up by picture.

    Three forms are understood: a COCO results list (`image_id`, `bbox`, `score`; category 1 are people), a COCO
    annotation file, and a table {"file name": [[left, top, width, height, score], ...]} of people; the score may be
    left out.
    """

    def __init__(self, path: Path, rule: BoxesRule = "people") -> None:
        """Read the file.

        Raises:
            AnnotationError: if it is missing, no JSON, of none of the three forms, without people among its boxes, or
                without other categories that best-100 could count.
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
        if rule == "best-100" and rows and all(row.is_person for row in rows):
            raise AnnotationError(
                f"{path} has boxes of people alone, so nobody can tell who is among the best {BEST} of all categories;"
                " use the rule people, or the detector's whole output"
            )
        # A table may name pictures without people.
        self._rows: dict[str, list[_Row]] = {name: [] for name in content} if _is_table(content) else {}
        for row in rows:
            self._rows.setdefault(row.picture, []).append(row)

    def detect(self, picture: Picture) -> list[Detection]:
        return self.find(picture.source)

    def find(self, file_name: str, image_id: int | None = None) -> list[Detection]:
        """Detections of a picture.

        Looked up by path, with and without its leading folders, then by COCO's number: the one given, or else the
        name without its suffix.
        """
        rows = next((self._rows[key] for key in _keys(file_name, image_id) if key in self._rows), [])
        people = select_people([row.detection.score for row in rows], [row.is_person for row in rows], self.rule)
        return [rows[place].detection for place in people]

    def knows(self, file_name: str) -> bool:
        """Whether the file says anything about a picture, be it that nobody is there."""
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
    left, top, width, height, *rest = (float(number) for number in numbers)
    if len(rest) > 1:
        raise ValueError(f"a box has 4 numbers and perhaps a score, not {len(numbers)}")
    return Detection(Box(left, top, width, height), rest[0] if rest else 1.0)
