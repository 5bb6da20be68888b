"""Which of the people that were found are written: the largest, those of some tracks, those in a region."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box, Size
from mspn.structures.image import Video
from mspn.structures.pose import Pose
from mspn.structures.settings import Settings

_KEPT_SECONDS = 2.0
"""Somebody chosen in a video is waited for as long as a track is, before somebody else takes the place."""


class PeopleSettings(Settings):
    """Who is wanted; all conditions hold at once."""

    num_people: int | None = Field(None, ge=1)
    """At most so many in an image; null: all."""
    chosen_by: Literal["size", "center"] = "size"
    """The largest boxes, or those nearest to the middle of the image."""
    track_ids: tuple[int, ...] = ()
    """Tracks of videos; none: all people."""
    region: Box | None = None
    """In image pixels; the middle of a person's box lies in it. null: the whole image."""


class PeopleChooser:
    """Chooses people image by image; who is chosen in a video stays chosen, so that nobody flickers."""

    def __init__(self, settings: PeopleSettings) -> None:
        self._settings = settings
        self._video: Video | None = None
        self._last_seen: dict[int, float] = {}
        """Seconds at which the tracks that were chosen were seen last."""

    def choose(self, result: ImageResult) -> ImageResult:
        """The same result with the poses of those who are wanted."""
        settings = self._settings
        poses = [
            pose
            for pose in result.poses
            if (not settings.track_ids or pose.track_id in settings.track_ids)
            and (settings.region is None or _contains(settings.region, pose.box.center))
        ]
        image = result.image
        if settings.num_people is not None and image is not None:
            ranked = sorted(poses, key=lambda pose: self._rank(pose, image.size))
            if image.frame is not None:
                self._begin_frame(image.frame.video, image.frame.seconds)
                ranked = self._keep_chosen(ranked, image.frame.seconds)
            chosen = ranked[: settings.num_people]
            poses = [pose for pose in poses if pose in chosen]
        return replace(result, poses=poses)

    def _rank(self, pose: Pose, image: Size) -> float:
        """Lower is better."""
        if self._settings.chosen_by == "size":
            return -pose.box.width * pose.box.height
        x, y = pose.box.center
        return (x - image.width / 2) ** 2 + (y - image.height / 2) ** 2

    def _begin_frame(self, video: Video, seconds: float) -> None:
        if video is not self._video:
            self._video, self._last_seen = video, {}
        self._last_seen = {track: seen for track, seen in self._last_seen.items() if seconds - seen <= _KEPT_SECONDS}

    def _keep_chosen(self, ranked: Sequence[Pose], seconds: float) -> list[Pose]:
        """Those who were chosen before, then others as far as there are places."""
        known = [pose for pose in ranked if pose.track_id in self._last_seen]
        others = [pose for pose in ranked if pose.track_id not in self._last_seen]
        assert self._settings.num_people is not None
        chosen = known + others[: max(self._settings.num_people - len(self._last_seen), 0)]
        self._last_seen |= {pose.track_id: seconds for pose in chosen if pose.track_id is not None}
        return chosen


def _contains(region: Box, point: tuple[float, float]) -> bool:
    x, y = point
    return 0 <= x - region.left <= region.width and 0 <= y - region.top <= region.height
