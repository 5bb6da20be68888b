"""Files that predictions are written to."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import cv2

from mspn.draw import draw_poses
from mspn.files import replacing, write_text
from mspn.predict.pipeline import PictureResult
from mspn.records import Pose

_COORDINATE_DIGITS = 2
_SCORE_DIGITS = 4


class Writer(Protocol):
    """Takes results one by one; `close` must be called, also after an error, so that nothing is lost."""

    def write(self, result: PictureResult) -> None: ...

    def close(self) -> None: ...


class JsonWriter:
    """`predictions.json`: named keypoints, a list over pictures."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "predictions.json"
        self._rows: list[dict[str, Any]] = []

    def write(self, result: PictureResult) -> None:
        if result.picture is not None:
            size = result.picture.size
            people = [_person(pose) for pose in result.poses]
            self._rows.append({"source": result.source, "width": size.width, "height": size.height, "people": people})

    def close(self) -> None:
        write_text(self._path, json.dumps(self._rows, indent=1) + "\n")


class CocoWriter:
    """`coco.json`: a COCO results list.

    Image ids are the files' numbers where each has one of its own, else their places in the run from 1 on.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "coco.json"
        self._results: list[tuple[Path, list[Pose]]] = []

    def write(self, result: PictureResult) -> None:
        self._results.append((Path(result.source), result.poses))

    def close(self) -> None:
        stems = [path.stem for path, _ in self._results]
        are_numbers = all(stem.isdecimal() for stem in stems) and len({int(stem) for stem in stems}) == len(stems)
        rows = []
        for place, (path, poses) in enumerate(self._results, start=1):
            image_id = int(path.stem) if are_numbers else place
            rows += [coco_result(pose, image_id) | {"file_name": path.name} for pose in poses]
        write_text(self._path, json.dumps(rows) + "\n")


class CsvWriter:
    """`predictions.csv`: a row for each keypoint."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "predictions.csv").open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerow(["source", "person", "person_score", "keypoint", "x", "y", "score"])

    def write(self, result: PictureResult) -> None:
        for number, pose in enumerate(result.poses):
            for name, (x, y, score) in pose.keypoints.items():
                person_score = round(pose.score, _SCORE_DIGITS)
                self._rows.writerow(
                    [result.source, number, person_score, name, *_rounded(x, y), round(score, _SCORE_DIGITS)]
                )
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class ImageWriter:
    """`images/`: each picture with its skeletons drawn."""

    FOLDER = "images"

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.FOLDER
        self._taken: set[str] = set()

    def write(self, result: PictureResult) -> None:
        if result.picture is None:
            return
        drawn = draw_poses(result.picture.pixels, result.poses)
        with replacing(self.folder / self._free_name(Path(result.source).stem)) as temporary:
            if not cv2.imwrite(str(temporary), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)):
                raise OSError(f"could not write a drawn picture to {self.folder}; is there room on the disk?")

    def close(self) -> None:
        pass

    def _free_name(self, stem: str) -> str:
        """Pictures of the same name from several folders get numbers."""
        name, number = f"{stem}.jpg", 1
        while name in self._taken:
            number += 1
            name = f"{stem}-{number}.jpg"
        self._taken.add(name)
        return name


WRITERS: dict[str, Callable[[Path], Writer]] = {
    "json": JsonWriter,
    "coco": CocoWriter,
    "csv": CsvWriter,
    "images": ImageWriter,
}


def coco_result(pose: Pose, image_id: int, category_id: int = 1) -> dict[str, Any]:
    """A row of a COCO results list; its score is the one that average precision sorts by."""
    keypoints: list[float] = []
    for point, score in zip(pose.keypoints_image.tolist(), pose.keypoint_scores.tolist(), strict=True):
        keypoints += [*_rounded(*point), round(score, _SCORE_DIGITS)]
    return {"image_id": image_id, "category_id": category_id, "keypoints": keypoints, "score": pose.ranking_score}


def _person(pose: Pose) -> dict[str, Any]:
    return {
        "box": _rounded(*pose.box),
        "box_score": round(pose.box_score, _SCORE_DIGITS),
        "score": round(pose.score, _SCORE_DIGITS),
        "keypoints": {
            name: [*_rounded(x, y), round(score, _SCORE_DIGITS)] for name, (x, y, score) in pose.keypoints.items()
        },
    }


def _rounded(*coordinates: float) -> list[float]:
    return [round(value, _COORDINATE_DIGITS) for value in coordinates]
