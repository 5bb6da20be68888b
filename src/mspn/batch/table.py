"""Results as Arrow tables with a row for each image: what `mspn batch` writes to Parquet."""

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from mspn.outputs.tables import round_seconds
from mspn.predict.pipeline import ImageResult
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
