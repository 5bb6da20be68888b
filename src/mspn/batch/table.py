"""Results as Arrow tables with a row for each image, and where a run writes them, with what is done and settings."""

import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as datasets
from pyarrow import compute
from ray.data.checkpoint.checkpoint_writer import PENDING_CHECKPOINT_SUFFIX

from mspn.errors import InvalidValueError
from mspn.io.storage import Storage, explained
from mspn.outputs.journal import check_settings
from mspn.outputs.tables import round_seconds
from mspn.predict.pipeline import ImageResult
from mspn.sources.resolve import WHOLE, Shard
from mspn.structures.pose import Pose, round_coordinates, round_score

SOURCE = "source"
"""Column of the name of a file, by which Ray knows what is done."""

_KEYPOINT = pa.struct([("name", pa.string()), ("x", pa.float64()), ("y", pa.float64()), ("score", pa.float64())])
_PERSON = pa.struct(
    [
        ("track_id", pa.int64()),
        ("box_left", pa.float64()),
        ("box_top", pa.float64()),
        ("box_width", pa.float64()),
        ("box_height", pa.float64()),
        ("box_score", pa.float64()),
        ("score", pa.float64()),
        ("keypoints", pa.list_(_KEYPOINT)),
    ]
)
SCHEMA = pa.schema(
    [
        (SOURCE, pa.string()),
        ("member", pa.string()),
        ("frame", pa.int64()),
        ("seconds", pa.float64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("num_people", pa.int64()),
        ("people", pa.list_(_PERSON)),
        ("problems", pa.list_(pa.string())),
    ]
)
"""Of a row: `member` is null but in tars, `frame` and `seconds` but in videos; size and `people` are null where nothing
could be read."""


def as_text(name: str) -> str:
    """A name as columns can hold it: names of files need not be UTF-8, tables are."""
    return name.encode(errors="backslashreplace").decode()


def describe_image(source: str, member: str | None, result: ImageResult) -> dict[str, Any]:
    """The row of an image, by column.

    Args:
        source: the name of its file.
        member: its name in that file, if that is a tar.
        result: what was found.
    """
    image = result.image
    frame = image.frame if image else None
    return {
        SOURCE: as_text(source),
        "member": member and as_text(member),
        "frame": frame and frame.index,
        "seconds": frame and round_seconds(frame.seconds),
        "width": image and image.size.width,
        "height": image and image.size.height,
        "num_people": len(result.poses),
        "people": image and [_describe_pose(pose) for pose in result.poses],
        "problems": [as_text(problem) for problem in result.problems],
    }


def make_table(rows: Iterable[dict[str, Any]]) -> pa.Table:
    """A table of rows of `describe_image`."""
    return pa.Table.from_pylist(list(rows), SCHEMA)


def _describe_pose(pose: Pose) -> dict[str, Any]:
    left, top, width, height = round_coordinates(*pose.box)
    return {
        "track_id": pose.track_id,
        "box_left": left,
        "box_top": top,
        "box_width": width,
        "box_height": height,
        "box_score": round_score(pose.box_score),
        "score": round_score(pose.score),
        "keypoints": [
            dict(zip(("name", "x", "y", "score"), (name, *round_coordinates(x, y), round_score(score)), strict=True))
            for name, (x, y, score) in pose.keypoints.items()
        ],
    }


POSES = "poses"
_PROGRESS = "_progress"
"""Readers of Parquet leave out folders that begin so."""
_WHOLE = "whole"
_PARTS = re.compile(rf"{_WHOLE}|[0-9]+-of-([0-9]+)")
"""Names in it: of a whole run, and of shards with their total."""
_PENDING = f"{PENDING_CHECKPOINT_SUFFIX}.parquet"
"""How Ray names its note of what it is about to write; then comes the file, and then the note's last name."""


@dataclass(frozen=True)
class Counts:
    """Of the rows that are written."""

    images: int = 0
    people: int = 0
    images_with_problems: int = 0


class Destination:
    """The folder of the results of a run, or of one shard of it, which may share the folder with the others.

    Attributes:
        storage: of the folder.
        poses: path of the folder of Parquet files.
        done: path of the folder of Ray's checkpoints.
    """

    def __init__(self, address: str, shard: Shard = WHOLE) -> None:
        """Find the file system of an address.

        Raises:
            FileError: if there is none for such addresses.
        """
        self.storage = Storage.of(address)
        part = _WHOLE if shard == WHOLE else f"{shard.number:03}-of-{shard.total:03}"
        # Hive's way to name a partition: readers make a column of it.
        self.poses = self.storage.join(POSES) if shard == WHOLE else self.storage.join(POSES, f"shard={part}")
        self._total = shard.total
        self._progress = self.storage.join(_PROGRESS, part)
        self.done = f"{self._progress}/done"
        self._settings = f"{self._progress}/run.json"
        self.summary = self.storage.join("summary.json" if shard == WHOLE else f"summary-{part}.json")

    def prepare(self, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Refuse a folder that holds results of another run, or remove them, and note the settings of this one.

        Args:
            settings: what results depend on, as values that JSON has.
            resume: go on with the results that are there, if any.
            overwrite: remove them first.

        Raises:
            ValueError: for results that are neither to be continued nor removed, have other settings, or are of
                another division into shards.
            FileError: if the folder cannot be read or written.
        """
        with explained(self.storage.name):
            self._check_other_parts()
            earlier = self._read_settings()
            if self._has_results() and not (resume and earlier is not None):
                if earlier is None:
                    raise InvalidValueError(
                        f"{self.storage.name} holds a folder {POSES} that no run has written; choose another --out"
                    )
                if not overwrite:
                    raise InvalidValueError(
                        f"{self.storage.name} already holds results; --resume goes on with them, --overwrite removes"
                        " them first; or choose another --out"
                    )
            if resume and earlier is not None:
                check_settings(self.storage.name, earlier, settings)
            elif earlier is not None:
                for folder in (self.poses, self._progress):
                    self.storage.remove_folder(folder)
            self.storage.write(self._settings, json.dumps(settings).encode())

    def count(self) -> Counts:
        """Count the rows that are written and count as done, in bounded memory.

        Raises:
            FileError: if they cannot be read.
        """
        images = people = with_problems = 0
        with explained(self.storage.name):
            rows = datasets.dataset(self._done_files(), SCHEMA, format="parquet", filesystem=self.storage.files)
            for batch in rows.to_batches(columns=["num_people", "problems"]):
                images += batch.num_rows
                people += compute.sum(batch["num_people"]).as_py() or 0
                has_problems = compute.greater(compute.list_value_length(batch["problems"]), 0)
                with_problems += compute.sum(has_problems).as_py() or 0
        return Counts(images, people, with_problems)

    def _done_files(self) -> list[str]:
        """Files of rows, but for those that Ray removes when it goes on, since they may not be whole."""
        names = [posixpath.basename(path) for path in self.storage.list_files(self.done)]
        pending = tuple(name.removesuffix(_PENDING) for name in names if name.endswith(_PENDING))
        paths = self.storage.list_files(self.poses)
        return [path for path in paths if not pending or not posixpath.basename(path).startswith(pending)]

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write the counts and times of a run as JSON.

        Raises:
            FileError: if there is no room for it.
        """
        with explained(self.storage.name):
            self.storage.write(self.summary, (json.dumps(summary, indent=1) + "\n").encode())

    def _check_other_parts(self) -> None:
        """Refuse parts of another division, which would hold the same images, and which `overwrite` leaves alone."""
        for name in self.storage.list_folders(self.storage.join(_PROGRESS)):
            match = _PARTS.fullmatch(name)
            if match and (total := int(match[1] or 1)) != self._total:
                raise InvalidValueError(
                    f"{self.storage.name} holds results of {_describe(total)}; those of {_describe(self._total)} would"
                    f" have the same images again; choose another --out, or remove its folders {POSES} and {_PROGRESS}"
                    " first"
                )

    def _has_results(self) -> bool:
        return bool(self.storage.list_files(self.poses))

    def _read_settings(self) -> dict[str, Any] | None:
        content = self.storage.read(self._settings)
        if content is None:
            return None
        try:
            settings = json.loads(content)
        except ValueError:
            settings = None
        if not isinstance(settings, dict):
            raise InvalidValueError(
                f"{self._settings} does not say what was done; move it away, or choose another --out"
            )
        return settings


def _describe(total: int) -> str:
    return "a whole run" if total == 1 else f"{total} shards"
