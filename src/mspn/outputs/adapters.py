"""Results for other libraries: data frames of pandas, keypoints and boxes of supervision, what notebooks show."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mspn.errors import InvalidValueError, import_extra
from mspn.io.images import encode_jpeg, fit_within
from mspn.outputs.tables import TEXT_COLUMNS, WHOLE_NUMBER_COLUMNS, KeypointRow, list_keypoints, list_pose_keypoints
from mspn.predict.pipeline import ImageResult
from mspn.sources import read_single_image
from mspn.sources.in_memory import InMemoryImage
from mspn.structures.image import FrameInfo, Video
from mspn.structures.pose import Pose
from mspn.structures.shapes import Int, UInt8
from mspn.visualize.draw import draw_poses
from mspn.visualize.themes import DEFAULT_THEME, Theme

if TYPE_CHECKING:
    import pandas as pd
    import supervision as sv


def to_dataframe(results: Iterable[ImageResult | Pose]) -> "pd.DataFrame":
    """A pandas table with a row for each keypoint, with the columns of `KeypointRow`; one for an image without people.

    >>> import mspn, numpy as np
    >>> estimator = mspn.PoseEstimator("mspn-tiny", "none")
    >>> poses = estimator(np.zeros((64, 48, 3), np.uint8))
    >>> table = mspn.to_dataframe(poses)
    >>> table.keypoint[0], len(table)
    ('nose', 17)

    Args:
        results: of images and frames, as `PoseEstimator.stream` gives them; or the poses of one image, whose source is
            then empty, and frame and seconds missing.

    Raises:
        ImportError: if pandas is not installed.
    """
    frame: pd.DataFrame = _load("pandas").DataFrame(_list_rows(results), columns=list(KeypointRow._fields))
    numbers = [name for name in frame.columns if name not in TEXT_COLUMNS]
    return frame.astype({name: "Int64" if name in WHOLE_NUMBER_COLUMNS else "float64" for name in numbers})


def _list_rows(results: Iterable[ImageResult | Pose]) -> Iterator[KeypointRow]:
    poses = []
    for result in results:
        if isinstance(result, Pose):
            poses.append(result)
        else:
            yield from list_keypoints(result)
    yield from list_pose_keypoints(poses, KeypointRow("", None, None))


def poses_to_supervision_keypoints(poses: Sequence[Pose]) -> "sv.KeyPoints":
    """The poses of one image, in image pixels; a detection's confidence is the score of the pose.

    Raises:
        ImportError: if supervision is not installed.
    """
    supervision = _load("supervision")
    keypoints: sv.KeyPoints = supervision.KeyPoints.empty()
    if poses:
        keypoints = supervision.KeyPoints(
            xy=np.stack([pose.keypoints_image for pose in poses]).astype(np.float32),
            keypoint_confidence=np.stack([pose.keypoint_scores for pose in poses]).astype(np.float32),
            detection_confidence=np.array([pose.score for pose in poses], np.float32),
            **_class_of(poses),
        )
    return keypoints


def poses_to_supervision_detections(poses: Sequence[Pose]) -> "sv.Detections":
    """The boxes of one image, in image pixels, with the scores of the detector, and the tracks if all have one.

    Raises:
        ImportError: if supervision is not installed.
    """
    supervision = _load("supervision")
    left, top, width, height = np.array([pose.box for pose in poses], np.float32).reshape(-1, 4).T
    detections: sv.Detections = supervision.Detections(
        xyxy=np.stack([left, top, left + width, top + height], axis=1),
        confidence=np.array([pose.box_score for pose in poses], np.float32),
        tracker_id=_track_ids(poses),
        **_class_of(poses),
    )
    return detections


class SupervisionTracker:
    """A tracker of boxes of another library for `PoseEstimator.stream`, such as those of the package `trackers`.

    `stream(video, track=SupervisionTracker(trackers.ByteTrackTracker()))`; people whom it gives no id have none.
    """

    def __init__(self, tracker: Any) -> None:
        """Take a tracker that has `reset` and `update`, which gives `sv.Detections` their `tracker_id`."""
        self._tracker = tracker
        self._video: Video | None = None
        self._highest_id = self._num_ended_ids = 0

    def update(self, poses: Sequence[Pose], frame: FrameInfo) -> list[Pose]:
        """The poses of the next frame with their ids, in the same order; those of another video begin anew.

        Raises:
            ImportError: if supervision is not installed.
        """
        if frame.video is not self._video:
            self._tracker.reset()
            self._video, self._highest_id, self._num_ended_ids = frame.video, 0, 0
        detections = poses_to_supervision_detections([replace(pose, track_id=None) for pose in poses])
        detections.data[_PLACE] = np.arange(len(poses))
        tracked = self._tracker.update(detections)
        ids: dict[int, int] = {}
        if len(tracked):
            places = np.asarray(tracked.data[_PLACE]).tolist()
            for place, track_id in zip(places, np.asarray(tracked.tracker_id).tolist(), strict=True):
                if track_id is not None and track_id >= 0:
                    ids[place] = self._num_ended_ids + track_id + 1  # some count from 0
        self._highest_id = max([self._highest_id, *ids.values()])
        return [replace(pose, track_id=ids.get(place)) for place, pose in enumerate(poses)]

    def end_tracks(self) -> None:
        """Follow nobody any longer; the ids that come are new."""
        self._tracker.reset()
        self._num_ended_ids = self._highest_id


_PLACE = "place"
"""Of a pose among those of its image, in the data of its detection: trackers may change the order."""


def _class_of(poses: Sequence[Pose]) -> dict[str, Any]:
    """All detections are of the class person, number 0."""
    names = np.full(len(poses), "person")
    return {"class_id": np.zeros(len(poses), int), "data": {"class_name": names}}


def _track_ids(poses: Sequence[Pose]) -> Int[np.ndarray, " N"] | None:
    track_ids = [pose.track_id for pose in poses if pose.track_id is not None]
    return np.array(track_ids) if poses and len(track_ids) == len(poses) else None


def _load(library: str) -> Any:
    return import_extra(library, ImportError(f"results for {library} need it; pip install {library}"))


_MAX_SIDE_PX = 1024


@dataclass(frozen=True, eq=False)
class DrawnImage:
    """An image that a notebook shows when it is the last value of a cell."""

    pixels: UInt8[np.ndarray, "H W 3"]
    """RGB."""

    def _repr_jpeg_(self) -> bytes:
        """The image as JPEG, which Jupyter displays."""
        return encode_jpeg(self.pixels)


def show_poses(
    image: InMemoryImage | str | Path,
    poses: Sequence[Pose],
    theme: Theme | str = DEFAULT_THEME,
    *,
    with_boxes: bool = False,
) -> DrawnImage:
    """Draw poses for a notebook, at most 1024 pixels long.

    >>> import mspn, numpy as np
    >>> image = np.zeros((64, 48, 3), np.uint8)
    >>> show_poses(image, mspn.PoseEstimator("mspn-tiny", "none")(image)).pixels.shape
    (64, 48, 3)

    Args:
        image: as `PoseEstimator` takes it: the path of an image file, an array, a tensor or a Pillow image.
        poses: in its pixels.
        theme: as `draw_poses` takes it.
        with_boxes: draw boxes too.

    Raises:
        ImageError: if the file cannot be read.
        SourceError: if it is no image, as in `PoseEstimator`.
        TypeError: for any other value.
        ValueError: if there is no theme of that name.
    """
    drawn = draw_poses(read_single_image(image).pixels, poses, theme, with_boxes=with_boxes)
    return DrawnImage(fit_within(drawn, _MAX_SIDE_PX))


def browse(results: Iterable[ImageResult], theme: Theme | str = DEFAULT_THEME) -> Any:
    """A widget for Jupyter that draws a result; one slider chooses it, another the lowest score of people.

    >>> import mspn, numpy as np
    >>> frames = [np.zeros((64, 48, 3), np.uint8)] * 2
    >>> widget = mspn.browse(mspn.PoseEstimator("mspn-tiny", "none").stream(frames))
    >>> [control.description for control in widget.children[0].children]
    ['image', 'score from']

    Args:
        results: of `PoseEstimator.stream`, at least one; all are kept, with their pixels.
        theme: as `draw_poses` takes it.

    Returns:
        An `ipywidgets.VBox` of the two sliders, the drawn image and a table of its people.

    Raises:
        ImportError: if ipywidgets is not installed.
        ValueError: if there are no results, or no theme of that name.
    """
    widgets = import_extra("ipywidgets", ImportError("browsing needs ipywidgets; pip install 'mspn[notebook]'"))
    kept = list(results)
    if not kept:
        raise InvalidValueError("there are no results to browse")
    number = widgets.IntSlider(description="image", max=len(kept) - 1)
    lowest = widgets.FloatSlider(description="score from", max=1, step=0.05)
    drawing, people = widgets.Image(format="jpeg"), widgets.HTML()

    def show(_change: object = None) -> None:
        result = kept[number.value]
        poses = [pose for pose in result.poses if pose.score >= lowest.value]
        people.value = _describe_people(result, poses)
        drawing.layout.display = "none" if result.image is None else ""
        if result.image is not None:
            drawing.value = show_poses(result.image.pixels, poses, theme)._repr_jpeg_()

    for control in (number, lowest):
        control.observe(show, "value")
    show()
    return widgets.VBox([widgets.HBox([number, lowest]), drawing, people])


def _describe_people(result: ImageResult, poses: Sequence[Pose]) -> str:
    """The source, its problems, and a table of people, in HTML."""
    lines = [f"<b>{escape(result.source)}</b>", *map(escape, result.problems)]
    rows = [
        f"<tr><td>{'' if pose.track_id is None else pose.track_id}</td><td>{pose.score:.2f}</td>"
        f"<td>{', '.join(f'{value:.0f}' for value in pose.box)}</td></tr>"
        for pose in poses
    ]
    table = f"<table><tr><th>id</th><th>score</th><th>box</th></tr>{''.join(rows)}</table>" if rows else "nobody"
    return "<br>".join([*lines, table])
