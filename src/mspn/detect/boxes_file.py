"""Boxes that another detector, or a person, wrote to a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mspn.data.label_files import AnnotationError, read_json
from mspn.detect.protocol import Picture
from mspn.records import Box, Detection

_PERSON = 1


class BoxesFile:
    """Detections read from JSON, looked up by picture.

    Three forms are understood: a COCO results list (`image_id`, `bbox`, `score`; only category 1), a COCO
    annotation file, and a table {"file name": [[left, top, width, height, score], ...]}; the score may be left out.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            AnnotationError: if it is missing, no JSON, or of none of the three forms.
        """
        content = read_json(path)
        self._detections: dict[str, list[Detection]] = {}
        try:
            for key, detections in _read_rows(content):
                self._detections.setdefault(key, []).extend(detections)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AnnotationError(
                f"{path} is no boxes file ({type(error).__name__}: {error}); write a COCO results list, a COCO"
                ' annotation file, or {"file name": [[left, top, width, height, score], ...]}'
            ) from error

    def detect(self, picture: Picture) -> list[Detection]:
        return self.find(picture.source)

    def find(self, file_name: str, image_id: int | None = None) -> list[Detection]:
        """Detections of a picture.

        Looked up by path, with and without its leading folders, then by COCO's number: the one given, or else the
        name without its suffix.
        """
        return next((self._detections[key] for key in _keys(file_name, image_id) if key in self._detections), [])

    def knows(self, file_name: str) -> bool:
        """Whether the file says anything about a picture, be it that nobody is there."""
        return any(key in self._detections for key in _keys(file_name, None))


def _keys(file_name: str, image_id: int | None) -> list[str]:
    parts, stem = Path(file_name).parts, Path(file_name).stem
    by_path = ["/".join(parts[first:]) for first in range(len(parts))]
    if image_id is not None:
        return [*by_path, str(image_id)]
    return [*by_path, stem, str(int(stem))] if stem.isdecimal() else [*by_path, stem]


def _read_rows(content: Any) -> Iterator[tuple[str, list[Detection]]]:
    """Pairs of a picture's name or number and people in it."""
    if isinstance(content, list):
        for row in content:
            if row.get("category_id", _PERSON) == _PERSON:
                name = row["file_name"] if "file_name" in row else row["image_id"]
                yield str(name), [_detection([*row["bbox"], row.get("score", 1.0)])]
    elif "annotations" in content:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        for row in content["annotations"]:
            if not row.get("iscrowd") and row.get("category_id", _PERSON) == _PERSON:
                yield names[row["image_id"]], [_detection(row["bbox"])]
    else:
        for name, rows in content.items():
            yield name, [_detection(row) for row in rows]


def _detection(numbers: list[float]) -> Detection:
    left, top, width, height, *rest = (float(number) for number in numbers)
    if len(rest) > 1:
        raise ValueError(f"a box has 4 numbers and perhaps a score, not {len(numbers)}")
    return Detection(Box(left, top, width, height), rest[0] if rest else 1.0)
