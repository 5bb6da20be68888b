"""Results as a table with a row for each keypoint: what CSV, Parquet and data frames have in common."""

from collections.abc import Iterator
from typing import NamedTuple

from mspn.predict.pipeline import PictureResult
from mspn.predict.rounding import round_coordinates, round_score, round_seconds


class KeypointRow(NamedTuple):
    """A keypoint of somebody in a picture."""

    source: str
    frame: int | None
    """Number in its video from 0 on; None in a picture."""
    seconds: float | None
    """Time stamp in its video; None in a picture."""
    person: int
    """Place in the picture, from 0 on, best first."""
    person_score: float
    box_left: float
    box_top: float
    box_width: float
    box_height: float
    box_score: float
    keypoint: str
    x: float
    """As y and the box in image pixels."""
    y: float
    score: float


def list_keypoints(result: PictureResult) -> Iterator[KeypointRow]:
    """Rows of everyone in a picture; none where nobody was found, or nothing could be read."""
    moment = result.picture.moment if result.picture else None
    frame, seconds = (None, None) if moment is None else (moment.frame, round_seconds(moment.seconds))
    # Names of files need not be UTF-8, tables are.
    source = result.source.encode(errors="backslashreplace").decode()
    for person, pose in enumerate(result.poses):
        score, box_score = round_score(pose.score), round_score(pose.box_score)
        box = round_coordinates(*pose.box)
        for name, (x, y, keypoint_score) in pose.keypoints.items():
            values = (*box, box_score, name, *round_coordinates(x, y), round_score(keypoint_score))
            yield KeypointRow._make((source, frame, seconds, person, score, *values))
