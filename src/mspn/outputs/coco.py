"""A COCO results list."""

import json
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from mspn.io.files import explain_failures, replacing
from mspn.outputs.rows import JsonListFile, RowFile, round_seconds
from mspn.predict.pipeline import ImageResult
from mspn.structures.pose import Pose, round_coordinates, round_score


class CocoWriter:
    """`coco.json`: a COCO results list.

    Image ids are the numbers that the files are named by if all are different, else images and frames are numbered from
    1 in the order of the run. That is known only at the end; until then the rows wait on the disk.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "coco.json"
        self._stems: list[str] = []
        self._open = ExitStack()
        self._temporary = self._open.enter_context(replacing(self._path))
        self._waiting_path = self._temporary.with_name("waiting.jsonl")
        self._waiting = self._open.enter_context(closing(RowFile(self._waiting_path, self._path)))

    def write(self, result: ImageResult) -> None:
        path = Path(result.source)
        frame = result.image.frame if result.image else None
        frame_fields = {} if frame is None else {"frame": frame.index, "seconds": round_seconds(frame.seconds)}
        for pose in result.poses:
            category = {"category": pose.skeleton.category} if pose.skeleton.category else {}
            row = coco_result(pose, len(self._stems)) | {"file_name": path.name} | category | frame_fields
            self._waiting.append(json.dumps(row) + "\n")
        self._stems.append(path.stem)

    def close(self) -> None:
        with explain_failures(self._path), self._open:
            image_ids = _choose_ids(self._stems)
            written = self._open.enter_context(closing(JsonListFile(self._temporary, self._path)))
            for line in self._open.enter_context(self._waiting_path.open(encoding="utf-8")):
                row = json.loads(line)
                written.append(row | {"image_id": image_ids[row["image_id"]]})


def coco_result(pose: Pose, image_id: int, category_id: int = 1) -> dict[str, Any]:
    """A row of a COCO results list; its score is the one that average precision sorts by."""
    keypoints: list[float] = []
    for point, score in zip(pose.keypoints_image.tolist(), pose.keypoint_scores.tolist(), strict=True):
        keypoints += [*round_coordinates(*point), round_score(score)]
    return {"image_id": image_id, "category_id": category_id, "keypoints": keypoints, "score": pose.ranking_score}


def _choose_ids(stems: list[str]) -> list[int]:
    """The numbers of the file names if all are different, else the order of the run, as for frames of a video."""
    if all(stem.isdecimal() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(stems) + 1))
