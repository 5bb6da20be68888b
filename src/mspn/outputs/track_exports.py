"""Tracks as files of other programs: OpenPose, OpenSim (TRC), C3D, movement (NetCDF)."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mspn.errors import FileError, InvalidValueError, TracksError, import_extra
from mspn.io.files import explain_failures, replacing, write_text
from mspn.outputs.tables import round_seconds
from mspn.outputs.track_tables import TABLE_FILES, write_table
from mspn.structures.pose import round_coordinates, round_score
from mspn.structures.shapes import Float
from mspn.structures.skeleton import Skeleton, match_keypoints
from mspn.tracking.tracks import Track, VideoTracks

if TYPE_CHECKING:
    import xarray as xr

_OPENPOSE_VERSION = 1.3
_OTHER_OPENPOSE_PARTS = ("face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d", "pose_keypoints_3d")
_SEGMENTS = (("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip"))
_SEGMENTS_TO_HEIGHT = 0.245 + 0.246 + 0.288
"""Thigh, shank and trunk as shares of the height; source: Drillis and Contini 1966, in Winter's Biomechanics."""
_ON_FRAME = 1e-3
"""Share of the time between two frames by which a moment may be off one of them, and still is that frame's."""
_METER_DIGITS = 6
_MAX_MARKER_FRAMES = 1_000_000
"""Nine hours at 30 a second."""


class _Markers(NamedTuple):
    """A track as motion capture has it: F frames at a constant rate."""

    rate: float
    positions: Float[np.ndarray, "F K 3"]
    """Meters: x to the right from the image's left edge, y up from the lowest keypoint of the track, z 0."""
    first_frame: int
    seconds: Float[np.ndarray, " F"]


def export_tracks(video: VideoTracks, folder: Path, names: Sequence[str], height_meters: float | None) -> list[Path]:
    """Write tracks in formats of `EXPORTS`.

    Args:
        video: whose tracks to write.
        folder: of the files.
        names: of the formats.
        height_meters: of the people, which trc and c3d need: an image has no scale.

    Returns:
        What was written.

    Raises:
        InvalidValueError: if a library, or the height, is missing.
        TracksError: if the tracks cannot be written in that format.
        OSError: if there is no room.
    """
    return list(chain.from_iterable(_EXPORTS[name](video, folder, height_meters) for name in names))


def _write_openpose(video: VideoTracks, folder: Path, _height_meters: float | None) -> list[Path]:
    """A file for each frame, also for those without people, as OpenPose --write_json does."""
    folder = folder / "openpose"
    if folder.is_dir() and any(folder.iterdir()):
        raise FileError(f"{folder} already holds files; remove it, or choose another --out")
    stem = PurePath(video.source).stem or "tracks"
    with explain_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for frame in video.frames.tolist():
            people = [_describe_person(track, frame) for track in video.tracks if frame in track]
            text = json.dumps({"version": _OPENPOSE_VERSION, "people": people})
            (folder / f"{stem}_{frame:012}_keypoints.json").write_text(text, encoding="utf-8")
    return [folder]


def _describe_person(track: Track, frame: int) -> dict[str, Any]:
    row = int(np.searchsorted(track.frames, frame))
    keypoints: list[float] = []
    for (x, y), score in zip(track.keypoints[row].tolist(), track.scores[row].tolist(), strict=True):
        keypoints += [0.0, 0.0, 0.0] if np.isnan(x) else [*round_coordinates(x, y), round_score(score)]
    return {
        "person_id": [track.track_id],
        "pose_keypoints_2d": keypoints,
        **{part: [] for part in _OTHER_OPENPOSE_PARTS},
    }


def _write_trc(video: VideoTracks, folder: Path, height_meters: float | None) -> list[Path]:
    return [_write_track_trc(video, track, folder, height_meters) for track in video.tracks]


def _write_track_trc(video: VideoTracks, track: Track, folder: Path, height_meters: float | None) -> Path:
    rate, positions, first_frame, seconds = _to_markers(video, track, _require(height_meters, "trc"))
    path = folder / f"track-{track.track_id}.trc"
    names = video.skeleton.keypoints
    head = ("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units")
    original = ("OrigDataRate", "OrigDataStartFrame", "OrigNumFrames")
    shape = (f"{rate:.6g}", f"{rate:.6g}", len(positions), len(names), "m", f"{rate:.6g}", first_frame, len(positions))
    lines: list[Sequence[object]] = [
        ("PathFileType", 4, "(X/Y/Z)", path.name),
        (*head, *original),
        shape,
        ("Frame#", "Time", *(cell for name in names for cell in (name, "", ""))),
        ("", "", *(f"{axis}{number}" for number in range(1, len(names) + 1) for axis in "XYZ")),
        (),
    ]
    for number, (time, row) in enumerate(
        zip(seconds.tolist(), positions.reshape(len(positions), -1).tolist(), strict=True)
    ):
        cells = ("" if np.isnan(value) else round(value, _METER_DIGITS) for value in row)
        lines.append((number + 1, round_seconds(time), *cells))
    write_text(path, "".join("\t".join(map(str, line)) + "\n" for line in lines))
    return path


def _write_c3d(video: VideoTracks, folder: Path, height_meters: float | None) -> list[Path]:
    ezc3d = import_extra("ezc3d", InvalidValueError("c3d needs ezc3d; pip install ezc3d, or save trc"))
    paths = []
    for track in video.tracks:
        rate, positions, _, _ = _to_markers(video, track, _require(height_meters, "c3d"))
        millimeters = 1000 * positions.transpose(2, 1, 0)
        is_missing = np.isnan(millimeters).any(0)
        file = ezc3d.c3d()
        file["parameters"]["POINT"]["RATE"]["value"] = [rate]
        file["parameters"]["POINT"]["LABELS"]["value"] = list(video.skeleton.keypoints)
        file["parameters"]["POINT"]["UNITS"]["value"] = ["mm"]
        file["data"]["points"] = np.concatenate([millimeters, np.ones((1, *is_missing.shape))])
        file["data"]["meta_points"]["residuals"] = np.where(is_missing, -1.0, 0.0)[None]  # -1: not measured
        path = folder / f"track-{track.track_id}.c3d"
        with replacing(path, RuntimeError) as temporary:
            file.write(str(temporary))
        paths.append(path)
    return paths


def to_movement(video: VideoTracks) -> "xr.Dataset":
    """The tracks as a dataset of the library movement: position and confidence by time, keypoint and individual.

    Dimensions are called as movement until 0.16 calls them; `movement.io.load.rename_legacy_dimensions` renames them
    for later versions.

    >>> import mspn
    >>> from mspn.structures.skeleton import COCO_17
    >>> from mspn.tracking.tracks import Track, VideoTracks
    >>> frames, keypoints = np.arange(3), np.ones((3, 17, 2)) * [[[10.0]], [[11.0]], [[12.0]]]
    >>> track = Track(7, frames, frames / 30, keypoints, np.ones((3, 17)), np.zeros((3, 17), bool))
    >>> video = VideoTracks("walk.mp4", COCO_17, frames, frames / 30, (track,))
    >>> dict(mspn.to_movement(video).sizes)
    {'time': 3, 'space': 2, 'keypoints': 17, 'individuals': 1}

    Raises:
        InvalidValueError: if xarray is not installed.
    """
    xarray = import_extra("xarray", InvalidValueError("datasets of movement need xarray; pip install xarray"))
    shape = (len(video.frames), len(video.skeleton.keypoints), len(video.tracks))
    position, confidence = np.full((shape[0], 2, *shape[1:]), np.nan), np.full(shape, np.nan)
    for number, track in enumerate(video.tracks):
        rows = np.searchsorted(video.frames, track.frames)
        position[rows, :, :, number] = track.keypoints.swapaxes(1, 2)
        confidence[rows, :, number] = track.scores
    dataset: xr.Dataset = xarray.Dataset(
        {
            "position": (("time", "space", "keypoints", "individuals"), position),
            "confidence": (("time", "keypoints", "individuals"), confidence),
        },
        coords={
            "time": video.seconds,
            "space": ["x", "y"],
            "keypoints": list(video.skeleton.keypoints),
            "individuals": [f"track_{track.track_id}" for track in video.tracks],
        },
        attrs={
            "ds_type": "poses",
            "source_software": "mspn",
            "source_file": video.source.encode(errors="backslashreplace").decode(),
            "time_unit": "seconds",
            **({} if video.frame_rate is None else {"fps": video.frame_rate}),  # NetCDF has no None
        },
    )
    return dataset


def _write_movement(video: VideoTracks, folder: Path, _height_meters: float | None) -> list[Path]:
    dataset = to_movement(video)
    import_extra("netCDF4", InvalidValueError("movement needs netCDF4; pip install netCDF4"))
    path = folder / "tracks.nc"
    with replacing(path, RuntimeError) as temporary:
        dataset.to_netcdf(temporary, engine="netcdf4")
    return [path]


def _write_table(table_format: str, video: VideoTracks, folder: Path, _height_meters: float | None) -> list[Path]:
    return [write_table(video, folder, table_format)]


_EXPORTS: Mapping[str, Callable[[VideoTracks, Path, float | None], list[Path]]] = {
    **{name: partial(_write_table, name) for name in TABLE_FILES},
    "openpose": _write_openpose,
    "trc": _write_trc,
    "c3d": _write_c3d,
    "movement": _write_movement,
}
EXPORT_FORMATS = tuple(_EXPORTS)


def _require(height_meters: float | None, name: str) -> float:
    if height_meters is None:
        raise InvalidValueError(f"{name} is in meters, and an image has no scale; give --height METERS of the person")
    return height_meters


def _to_markers(video: VideoTracks, track: Track, height_meters: float) -> _Markers:
    """A track in meters, at the video's mean frame rate; keypoints between frames are interpolated."""
    rate = video.frame_rate
    if rate is None:
        raise TracksError(f"{video.source or 'the table'} has one frame, and so no frame rate; trc and c3d need one")
    whole = video.fill_in_frames(track)
    count = round((whole.seconds[-1] - whole.seconds[0]) * rate) + 1
    if count > _MAX_MARKER_FRAMES:
        raise TracksError(
            f"track {track.track_id} spans {count:,} frames; trc and c3d hold {_MAX_MARKER_FRAMES:,} here"
        )
    seconds = whole.seconds[0] + np.arange(count) / rate
    positions_px = _interpolate(whole, seconds)
    scale = height_meters / _measure_height(track, video.skeleton)
    floor_px = np.nanmax(track.keypoints[..., 1])
    x, y = positions_px[..., 0] * scale, (floor_px - positions_px[..., 1]) * scale
    return _Markers(rate, np.stack([x, y, np.where(np.isnan(x), np.nan, 0.0)], axis=-1), int(whole.frames[0]), seconds)


def _interpolate(track: Track, seconds: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n K 2"]:
    """Keypoints at other times, between frames that follow each other; NaN elsewhere."""
    if len(track.frames) == 1:
        return track.keypoints[np.zeros(len(seconds), int)]
    before = np.clip(np.searchsorted(track.seconds, seconds, side="right") - 1, 0, len(track.frames) - 2)
    share = (seconds - track.seconds[before]) / (track.seconds[before + 1] - track.seconds[before])
    share = np.where(np.abs(share - np.rint(share)) < _ON_FRAME, np.rint(share), share)[:, None, None]
    follows = (track.frames[before + 1] - track.frames[before] == 1)[:, None, None]
    first, second = track.keypoints[before], track.keypoints[before + 1]
    between = np.where(follows, first + share * (second - first), np.nan)
    return np.where(share == 0, first, np.where(share == 1, second, between))


def _measure_height(track: Track, skeleton: Skeleton) -> float:
    """The height of the person in pixels, by the lengths of thigh, shank and trunk."""
    wanted = [f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "hip", "knee", "ankle")]
    names = match_keypoints(skeleton.keypoints, wanted)
    length_px = 0.0
    for start, end in _SEGMENTS:
        sides = [
            track.keypoints[:, skeleton.keypoints.index(names[f"{side}_{start}"])]
            - track.keypoints[:, skeleton.keypoints.index(names[f"{side}_{end}"])]
            for side in ("left", "right")
            if f"{side}_{start}" in names and f"{side}_{end}" in names
        ]
        lengths = np.hypot(*np.concatenate(sides).T) if sides else np.array([np.nan])
        if not np.isfinite(lengths).any():
            raise TracksError(f"track {track.track_id} shows no {start} and {end} of a side, which the scale needs")
        length_px += float(np.nanmedian(lengths))
    return length_px / _SEGMENTS_TO_HEIGHT
