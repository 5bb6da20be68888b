"""Results as annotations: a COCO results list; YOLO-pose labels, to review and train on."""

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mspn.errors import AnnotationError
from mspn.io.files import explain_failures, replacing, write_text
from mspn.labels.reading import read_json
from mspn.outputs.names import FileNames, relative_name
from mspn.outputs.tables import JsonListFile, RowFile, round_seconds
from mspn.predict.pipeline import ImageResult
from mspn.sources.resolve import WHOLE, Shard
from mspn.structures.boxes import Box, Size
from mspn.structures.pose import Pose, round_coordinates, round_score

logger = logging.getLogger(__name__)


class CocoWriter:
    """`coco.json`: a COCO results list.

    Image ids are those of an annotation file if it is given; else the numbers that the files are named by if all are
    different, else places among the images and frames of the run, from 1 on. That is known only at the end; until then
    the rows wait on the disk.
    """

    def __init__(
        self,
        folder: Path,
        source_folder: Path | None = None,
        image_ids: Mapping[str, int] | None = None,
        shard: Shard = WHOLE,
    ) -> None:
        """Start the file.

        Args:
            folder: of the results.
            source_folder: what file names are relative to; None: they have no folders.
            image_ids: of an annotation file, by file name; what it does not have is left out and reported.
            shard: part of the run, whose places are different from those of the other parts.
        """
        self._path = folder / "coco.json"
        self._source_folder = source_folder
        self._image_ids = image_ids
        self._unknown: set[str] = set()
        self._shard = shard
        self._stems: list[str] = []
        self._open = ExitStack()
        self._temporary = self._open.enter_context(replacing(self._path))
        self._waiting_path = self._temporary.with_name("waiting.jsonl")
        self._waiting = self._open.enter_context(closing(RowFile(self._waiting_path, self._path)))

    def write(self, result: ImageResult) -> None:
        if result.image is None:
            return
        name = relative_name(result.source, self._source_folder)
        image_id = self._find_id(result, name)
        if image_id is not None:
            frame = result.image.frame
            frame_fields = {} if frame is None else {"frame": frame.index, "seconds": round_seconds(frame.seconds)}
            for pose in result.poses:
                category = {"category": pose.skeleton.category} if pose.skeleton.category else {}
                track = {} if pose.track_id is None else {"track_id": pose.track_id}
                row = coco_result(pose, image_id) | {"file_name": str(name)} | category | frame_fields | track
                self._waiting.append(json.dumps(row) + "\n")
        self._stems.append(name.stem)

    def close(self) -> None:
        with explain_failures(self._path), self._open:
            image_ids = None if self._image_ids is not None else _choose_ids(self._stems, self._shard)
            written = self._open.enter_context(closing(JsonListFile(self._temporary, self._path)))
            for line in self._open.enter_context(self._waiting_path.open(encoding="utf-8")):
                row = json.loads(line)
                written.append(row if image_ids is None else row | {"image_id": image_ids[row["image_id"]]})

    def _find_id(self, result: ImageResult, name: PurePosixPath) -> int | None:
        """The annotation file's id, or else the place among the images from 0 on; None where that file has no id."""
        if self._image_ids is None:
            return len(self._stems)
        assert result.image is not None
        parts = name.parts if result.image.frame is None else ()
        by_name = ("/".join(parts[first:]) for first in range(len(parts)))
        candidates = (result.source, Path(result.source).as_posix(), *by_name) if parts else ()
        found = next((self._image_ids[key] for key in candidates if key in self._image_ids), None)
        if found is None and result.source not in self._unknown:
            self._unknown.add(result.source)
            logger.warning("%s is not among the images of the annotation file; coco.json is without it", result.source)
        return found


def find_image_ids(path: Path) -> dict[str, int] | None:
    """Image ids of a COCO annotation file, by file name; None for a file of any other form.

    Raises:
        AnnotationError: if it is missing, no JSON, or has images without id or name.
    """
    content = read_json(path)
    if not (isinstance(content, dict) and isinstance(content.get("images"), list)):
        return None
    try:
        return {str(image["file_name"]): int(image["id"]) for image in content["images"]}
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"{path}: one of its images has no id or no file_name; each needs both") from error


def read_image_ids(path: Path) -> dict[str, int]:
    """As `find_image_ids`.

    Raises:
        AnnotationError: also if it is no annotation file.
    """
    image_ids = find_image_ids(path)
    if image_ids is None:
        raise AnnotationError(f"{path} is no COCO annotation file, which has images, each with an id and a file_name")
    return image_ids


def coco_result(pose: Pose, image_id: int, category_id: int = 1) -> dict[str, Any]:
    """A row of a COCO results list; its score is the one that average precision sorts by."""
    keypoints: list[float] = []
    for point, score in zip(pose.keypoints_image.tolist(), pose.keypoint_scores.tolist(), strict=True):
        keypoints += [*round_coordinates(*point), round_score(score)]
    return {"image_id": image_id, "category_id": category_id, "keypoints": keypoints, "score": pose.ranking_score}


def _choose_ids(stems: list[str], shard: Shard) -> list[int]:
    """The numbers of the file names if all are different, else the order of the run, as for frames of a video."""
    if all(stem.isdecimal() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return [place * shard.total + shard.number for place in range(len(stems))]


_MIN_SCORE = 0.3
"""Keypoints below it are written as unlabeled."""


class YoloWriter:
    """`yolo/`: one text file per image in `labels`, and data.yaml; put the images themselves into `images`.

    Labels are named as the images are, with their sub-folders below `source_folder`, since names are what links them.
    Those of an image in a sub-folder `images` are in one called `labels` beside it, where trainers look for them.
    Trainers refuse what is outside the image: boxes are cut off at its border, and keypoints beyond it, like those
    with a low score, are unlabeled. All others are written as visible.
    """

    FOLDER = "yolo"

    def __init__(self, folder: Path, source_folder: Path | None = None) -> None:
        self._folder = folder / self.FOLDER
        self._names = FileNames(source_folder)
        self._has_settings = False

    def write(self, result: ImageResult) -> None:
        if result.image is None:
            return
        from mspn.labels.formats.yolo import (  # noqa: PLC0415 (all formats of labels)
            IMAGES,
            SETTINGS_FILE,
            label_file_in,
            write_settings,
        )

        rows = [_format_pose(pose, result.image.size) for pose in result.poses]
        image = self._folder / IMAGES / f"{self._names.choose(result.image)}.jpg"  # or of any other suffix
        path = label_file_in(self._folder, image)
        with explain_failures(path):
            write_text(path, "".join(f"{row}\n" for row in rows))
            if result.poses and not self._has_settings:
                write_settings(self._folder / SETTINGS_FILE, result.poses[0].skeleton)
                self._has_settings = True

    def close(self) -> None:
        pass


def _format_pose(pose: Pose, size: Size) -> str:
    from mspn.labels.formats.yolo import format_row  # noqa: PLC0415 (all formats of labels)

    limits = (size.width, size.height)
    points = pose.keypoints_image
    is_labeled = (points >= 0).all(1) & (points <= limits).all(1) & (pose.keypoint_scores >= _MIN_SCORE)
    labels = np.column_stack([points, np.full(len(points), 2)]) * is_labeled[:, None]
    left, top = max(pose.box.left, 0), max(pose.box.top, 0)
    right, bottom = min(pose.box.left + pose.box.width, size.width), min(pose.box.top + pose.box.height, size.height)
    return format_row(labels, Box(left, top, right - left, bottom - top), size)
