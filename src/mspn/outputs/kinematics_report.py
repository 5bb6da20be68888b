"""A person's joint angles as angles.csv, and as a page with frames of the video, curves and tables."""

import csv
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path, PurePath

import cv2
import numpy as np

from mspn.io.files import replacing, write_text
from mspn.io.images import encode_jpeg
from mspn.outputs.tables import round_seconds
from mspn.reporting import (
    Block,
    Chart,
    Figure,
    Figures,
    Jpeg,
    Note,
    Page,
    Section,
    Series,
    Table,
    Tile,
    draw_chart,
    render_page,
)
from mspn.sources import open_source
from mspn.structures.image import Image
from mspn.structures.shapes import Float, UInt8
from mspn.structures.skeleton import Skeleton
from mspn.tracking.kinematics import JOINTS, MAX_GAP_SECONDS, SIDES, TRUNK, Kinematics, Step
from mspn.tracking.tracks import Track, VideoTracks
from mspn.visualize.contact_sheet import arrange_tiles, join_panels
from mspn.visualize.draw import draw_labels, line_thickness

STEPS_FILE, PAGE_FILE = "steps.csv", "report.html"
_DIGITS, _STEP_DIGITS = 2, 3
_MAX_POINTS = 600
"""Of a curve on the page."""
_NUM_FRAMES = 6
_MAX_STEPS = 40
_PANEL_PX = 256
_PANEL_TO_PERSON = 1.3
_MAX_CAMERA_DEGREES = 20.0
_EXPLAINED = (
    "Hip, knee, shoulder and elbow: flexion in degrees, 0 where both segments are in line (of hip and shoulder: where"
    " thigh or upper arm is along the trunk), positive where thigh, upper arm and forearm move forward and the shank"
    " moves back. Trunk lean: from upright, forward positive. Steps: when a foot is farthest in front of the hips."
)
_LIMITS = (
    "These are angles of the image. They are the person's only where the camera stands still and level and looks at the"
    " side: what turns towards the camera or away from it looks bent differently. The far arm and leg are hidden at"
    " times. This is no medical device."
)


def write_kinematics_tables(kinematics: Kinematics, folder: Path) -> list[Path]:
    """Write `angles.csv`, each angle in degrees and its velocity in degrees a second by frame, and `steps.csv`.

    Returns:
        The paths of both.

    Raises:
        OSError: if there is no room.
    """
    columns = {**kinematics.angles, **{f"{name}_velocity": values for name, values in kinematics.velocities.items()}}
    angles = (
        [
            frame,
            round_seconds(seconds),
            *(None if np.isnan(value) else round(float(value), _DIGITS) for value in values),
        ]
        for frame, seconds, *values in zip(
            kinematics.frames.tolist(), kinematics.seconds.tolist(), *columns.values(), strict=True
        )
    )
    steps = (
        [step.side, *(None if time is None else round(time, _STEP_DIGITS) for time in step[1:])]
        for step in kinematics.steps
    )
    return [
        _write_csv(folder / "angles.csv", ["frame", "seconds", *columns], angles),
        _write_csv(folder / STEPS_FILE, ["foot", *Step._fields[1:]], steps),
    ]


def _write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return path


def write_kinematics_page(video: VideoTracks, kinematics: Kinematics, video_file: Path, folder: Path) -> Path:
    """Write `report.html` about the first track of a video.

    Args:
        video: with the person's track, smoothed.
        kinematics: of that track.
        video_file: for the frames; without it, the page says so.
        folder: of the page.

    Raises:
        OSError: if there is no room.
    """
    track = video.tracks[0]
    now = datetime.now(timezone.utc)
    name = PurePath(video.source).name or "a table of tracks"
    page = Page(
        title=f"Track {track.track_id}: joint angles",
        heading=f"Track {track.track_id}",
        note=f"of {name.encode(errors='backslashreplace').decode()}; written {now:%Y-%m-%d %H:%M} UTC",
        tiles=_headline(kinematics),
        sections=[
            Section("Frames", [*_warn_of_camera(kinematics), _show_frames(track, video.skeleton, video_file)]),
            Section("Angles", _draw_curves(kinematics)),
            Section("Ranges of motion", [_tabulate_ranges(kinematics)]),
            Section("Left and right", [_tabulate_asymmetries(kinematics)]),
            Section("Steps", _tabulate_steps(kinematics)),
            Section("What was measured", [Note(_EXPLAINED), Note(_LIMITS)]),
        ],
    )
    path = folder / PAGE_FILE
    write_text(path, render_page(page))
    return path


def _headline(kinematics: Kinematics) -> list[Tile]:
    duration = kinematics.seconds[-1] - kinematics.seconds[0]
    tiles = [Tile("seconds", f"{duration:.1f}", f"{len(kinematics.frames):,} frames")]
    step_seconds = [step.step_seconds for step in kinematics.steps if step.step_seconds]
    if step_seconds:
        mean = float(np.mean(step_seconds))
        tiles.append(Tile("step time", f"{mean:.2f} s", f"{60 / mean:.0f} steps a minute"))
    for joint in ("knee", "hip"):
        extents = [
            kinematics.ranges[name] for name in (f"{side}_{joint}" for side in SIDES) if name in kinematics.ranges
        ]
        if extents:
            values = " / ".join(f"{extent.extent:.0f}°" for extent in extents)
            tiles.append(Tile(f"{joint}, range of motion", values, "left / right" if len(extents) > 1 else ""))
    if not np.isnan(kinematics.camera_degrees):
        tiles.append(Tile("camera off the side", f"{kinematics.camera_degrees:.0f}°", "by the shoulders"))
    return tiles


def _warn_of_camera(kinematics: Kinematics) -> list[Block]:
    if not kinematics.camera_degrees > _MAX_CAMERA_DEGREES:
        return []
    return [
        Note(
            f"The camera seems to look {kinematics.camera_degrees:.0f} degrees past the person's side: angles are those"
            " of the image, and may be far from the person's. Film from the side."
        )
    ]


def _show_frames(track: Track, skeleton: Skeleton, video_file: Path) -> Block:
    """Some frames, cut around the person, with the skeleton: what was filled in as rings."""
    if not video_file.is_file():
        return Note("The video is not at its place, so that no frames are shown; --video FILE names it.")
    rows = np.unique(np.linspace(0, len(track.frames) - 1, _NUM_FRAMES).round().astype(int)).tolist()
    by_frame = {int(track.frames[row]): row for row in rows}
    panels = []
    for image in _read_frames(video_file, by_frame):
        assert image.frame is not None
        row = by_frame[image.frame.index]
        panels.append(join_panels([_draw_panel(image, track, row, skeleton)], [f"{track.seconds[row]:.2f} s"]))
    if not panels:
        return Note(f"No frame of the track could be read from {video_file}.")
    sheet = arrange_tiles(panels, [], columns=_NUM_FRAMES)
    return Jpeg("The person in frames of the video, with the skeleton; rings were filled in.", encode_jpeg(sheet))


def _read_frames(video_file: Path, wanted: Collection[int]) -> Iterator[Image]:
    """The frames of these numbers, as far as they can be read."""
    remaining = set(wanted)
    for image in open_source(video_file):
        if not isinstance(image, Image) or image.frame is None:
            return
        if image.frame.index in remaining:
            remaining.remove(image.frame.index)
            yield image
        if not remaining:
            return


def _draw_panel(image: Image, track: Track, row: int, skeleton: Skeleton) -> UInt8[np.ndarray, "h w 3"]:
    """A square around the person, who is drawn on it."""
    points = track.keypoints[row]
    middle = (np.nanmin(points, axis=0) + np.nanmax(points, axis=0)) / 2
    scale = _PANEL_PX / (_PANEL_TO_PERSON * track.size_px)
    shift = _PANEL_PX / 2 - scale * middle
    to_panel = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    panel = cv2.warpAffine(image.pixels, to_panel, (_PANEL_PX, _PANEL_PX), flags=cv2.INTER_LINEAR)
    visibility = np.where(np.isnan(points[:, 0]), 0, np.where(track.filled[row], 1, 2))
    keypoints = np.column_stack([points * scale + shift, visibility])
    return draw_labels(panel, keypoints, skeleton, thickness=line_thickness(_PANEL_PX))


def _draw_curves(kinematics: Kinematics) -> list[Block]:
    seconds = kinematics.seconds - kinematics.seconds[0]
    if len(seconds) < 2:
        return [Note("The track has one frame, and so no curves.")]
    figures = []
    for title, values, unit in (
        ("flexion", kinematics.angles, "°"),
        ("velocity", kinematics.velocities, "°/s"),
    ):
        for joint in (*JOINTS, TRUNK):
            names = [name for name in (joint, *(f"{side}_{joint}" for side in SIDES)) if name in values]
            curves = [values[name] for name in names]
            if any(np.isfinite(curve).any() for curve in curves):
                label = (
                    f"{joint} {title}" if joint != TRUNK else f"trunk lean{' velocity' if title == 'velocity' else ''}"
                )
                figures.append(_draw_figure(f"{label.capitalize()}, {unit}", names, curves, seconds, kinematics))
    return [Figures(figures)]


def _draw_figure(
    title: str,
    names: Sequence[str],
    curves: Sequence[Float[np.ndarray, " F"]],
    seconds: Float[np.ndarray, " F"],
    kinematics: Kinematics,
) -> Figure:
    # A point without a value ends the line before a gap.
    gaps = np.flatnonzero(np.diff(seconds) > MAX_GAP_SECONDS) + 1
    times, frames, *lines = (
        np.insert(values.astype(float), gaps, np.nan) for values in (seconds, kinematics.frames, *curves)
    )
    ends = gaps + np.arange(len(gaps))
    times[ends] = (seconds[gaps - 1] + seconds[gaps]) / 2
    shown = np.union1d(np.arange(0, len(times), -(-len(times) // _MAX_POINTS)), ends)
    sides = [name.partition("_")[0] for name in names] if len(names) > 1 else list(names)
    present = np.concatenate(curves)
    chart = Chart(
        title=title,
        x=times[shown].tolist(),
        x_label=f"seconds from {kinematics.seconds[0]:.2f} on",
        point_names=[
            f"{time + kinematics.seconds[0]:.2f} s" + ("" if np.isnan(frame) else f", frame {frame:.0f}")
            for time, frame in zip(times[shown], frames[shown], strict=True)
        ],
        series=[
            Series(side, [None if np.isnan(value) else value for value in line[shown].tolist()])
            for side, line in zip(sides, lines, strict=True)
        ],
        limits=(float(np.nanmin(present)), float(np.nanmax(present))),
        gaps="open",
    )
    return Figure(title, "", draw_chart(chart), sides)


def _tabulate_ranges(kinematics: Kinematics) -> Table:
    return Table(
        ["angle", "lowest", "highest", "range of motion", "fastest"],
        [
            [
                name.replace("_", " "),
                *(f"{value:.1f}°" for value in (extent.lowest, extent.highest, extent.extent)),
                "-" if np.isnan(extent.fastest) else f"{extent.fastest:.0f} °/s",
            ]
            for name, extent in kinematics.ranges.items()
        ],
    )


def _tabulate_asymmetries(kinematics: Kinematics) -> Block:
    if not kinematics.asymmetries:
        return Note("No joint was measured on both sides.")
    return Table(
        ["what", "left side larger by"],
        [
            [f"{name}, range of motion" if name in JOINTS else name, f"{value:+.0f} %"]
            for name, value in kinematics.asymmetries.items()
        ],
    )


def _tabulate_steps(kinematics: Kinematics) -> list[Block]:
    if not kinematics.steps:
        return [Note("No steps were found.")]
    table = Table(
        ["foot", "comes down at", "since the other foot", "since the same foot"],
        [
            [step.side, f"{step.seconds:.2f} s", _format_time(step.step_seconds), _format_time(step.stride_seconds)]
            for step in kinematics.steps[:_MAX_STEPS]
        ],
    )
    remaining = len(kinematics.steps) - _MAX_STEPS
    return [table] if remaining <= 0 else [table, Note(f"{remaining:,} more are in {STEPS_FILE}.")]


def _format_time(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.2f} s"
