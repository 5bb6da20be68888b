"""Boxes that another detector, or a person, wrote to a file."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mspn.data.coco import AnnotationError, read_json
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
        self._detections: dict[str, list[Detection]] = defaultdict(list)
        try:
            for key, detection in _read_rows(read_json(path)):
                self._detections[key].append(detection)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, AnnotationError):
                raise
            raise AnnotationError(
                f"{path} is no boxes file ({type(error).__name__}: {error}); write a COCO results list, a COCO"
                ' annotation file, or {"file name": [[left, top, width, height, score], ...]}'
            ) from error

    def detect(self, picture: Picture) -> list[Detection]:
        return self.find(picture.source)

    def find(self, file_name: str, image_id: int | None = None) -> list[Detection]:
        """Detections of a picture.

        Looked up by path, with and without its leading folders, then by COCO's number, which may be the name's stem.
        """
        parts, stem = Path(file_name).parts, Path(file_name).stem
        number = image_id if image_id is not None else int(stem) if stem.isdecimal() else None
        for key in (*("/".join(parts[first:]) for first in range(len(parts))), stem, str(number)):
            if key in self._detections:
                return self._detections[key]
        return []


def _read_rows(content: Any) -> Iterator[tuple[str, Detection]]:
    """Pairs of a picture's name or number and a detection."""
    if isinstance(content, list):
        for row in content:
            if row.get("category_id", _PERSON) == _PERSON:
                yield str(row.get("file_name", row["image_id"])), _detection([*row["bbox"], row.get("score", 1.0)])
    elif "annotations" in content:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        for row in content["annotations"]:
            if not row.get("iscrowd") and row.get("category_id", _PERSON) == _PERSON:
                yield names[row["image_id"]], _detection(row["bbox"])
    else:
        for name, rows in content.items():
            for row in rows:
                yield name, _detection(row)


def _detection(numbers: list[float]) -> Detection:
    left, top, width, height, *rest = (float(number) for number in numbers)
    if len(rest) > 1:
        raise ValueError(f"a box has 4 numbers and perhaps a score, not {len(numbers)}")
    return Detection(Box(left, top, width, height), rest[0] if rest else 1.0)
