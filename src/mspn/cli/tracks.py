"""mspn tracks smooth, angles and export."""

from pathlib import Path
from typing import Annotated

import typer

from mspn.cli.printing import echo, one_line_errors
from mspn.errors import InvalidValueError, TracksError
from mspn.io.files import prepare_folder
from mspn.outputs.kinematics_report import write_kinematics_page, write_kinematics_tables
from mspn.outputs.track_exports import EXPORT_FORMATS, export_tracks
from mspn.outputs.track_tables import TABLE_FILES, read_tracks
from mspn.tracking.kinematics import measure_kinematics
from mspn.tracking.smoothing import SMOOTHING_DEFAULTS, SmoothingSettings, smooth_tracks

_MAX_NAMED = 10

ResultsArgument = Annotated[
    Path,
    typer.Argument(
        help="Folder that `mspn predict` has written with json or jsonl, or `mspn tracks`; or one of its files."
    ),
]
SourceOption = Annotated[str | None, typer.Option(help="The video, where the results are of several.")]
TracksOption = Annotated[
    list[int] | None, typer.Option("--track", help="A track's number; may be given several times.")
]
MinScoreOption = Annotated[
    float, typer.Option(min=0, max=1, help="Keypoints below this share of the track's usual score count as missing.")
]


def smooth_command(
    results: ResultsArgument,
    out: Annotated[Path, typer.Option(help="Folder for the tables.")],
    source: SourceOption = None,
    tracks: TracksOption = None,
    max_gap: Annotated[
        float, typer.Option(min=0, help="Gaps of a keypoint are filled up to this length, in seconds.")
    ] = SMOOTHING_DEFAULTS.max_gap_seconds,
    min_score: MinScoreOption = SMOOTHING_DEFAULTS.min_score,
    save: Annotated[str, typer.Option(help=f"What to write, of {','.join(TABLE_FILES)}.")] = "csv",
) -> None:
    """Smooth the keypoints of a video's people without lag, mend mistakes, fill short gaps."""
    with one_line_errors():
        formats = _parse_formats(save, tuple(TABLE_FILES))
        prepare_folder(out)
        video = read_tracks(results, source, tracks or ())
        smoothed = smooth_tracks(video, SmoothingSettings(max_gap_seconds=max_gap, min_score=min_score))
        paths = export_tracks(smoothed, out, formats, None)
    num_filled = sum(int(track.filled.sum()) for track in smoothed.tracks)
    echo(*(f"tracks: {path}" for path in paths), f"{len(smoothed.tracks)} people, {num_filled} keypoints filled in")


def angles_command(
    results: ResultsArgument,
    out: Annotated[Path, typer.Option(help="Folder for the tables and the page.")],
    track: Annotated[int | None, typer.Option(help="Number of the person's track, where there are several.")] = None,
    source: SourceOption = None,
    video: Annotated[
        Path | None, typer.Option(help="The video for the report, where it is not at the path in the results.")
    ] = None,
    min_score: MinScoreOption = SMOOTHING_DEFAULTS.min_score,
) -> None:
    """Measure a person's joint angles and steps in a video from the side: angles.csv, steps.csv, report.html.

    The track is smoothed first. Angles are those of the image: the camera must look at the person's side.
    """
    with one_line_errors():
        if video is not None and not video.is_file():
            raise InvalidValueError(f"no video at {video}; check --video")
        prepare_folder(out)
        people = read_tracks(results, source, () if track is None else (track,))
        if len(people.tracks) > 1:
            numbers = [str(person.track_id) for person in people.tracks]
            listed = ", ".join([*numbers[:_MAX_NAMED], *(["..."] if len(numbers) > _MAX_NAMED else [])])
            raise TracksError(f"{results} has tracks {listed}; choose one by --track")
        smoothed = smooth_tracks(people, SmoothingSettings(min_score=min_score))
        if not smoothed.tracks:
            raise TracksError(f"track {people.tracks[0].track_id} in {results} has no keypoints to measure")
        (person,) = smoothed.tracks
        kinematics = measure_kinematics(person, smoothed.skeleton)
        tables = write_kinematics_tables(kinematics, out)
        page = write_kinematics_page(smoothed, kinematics, video or Path(smoothed.source), out)
    echo(*(f"table: {path}" for path in tables), f"report: {page}")


def export_command(
    results: ResultsArgument,
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    save: Annotated[str, typer.Option(help=f"What to write, of {','.join(EXPORT_FORMATS)}.")],
    source: SourceOption = None,
    tracks: TracksOption = None,
    height: Annotated[
        float | None,
        typer.Option(min=0.1, max=10, help="Height of the people in meters, for trc and c3d: an image has no scale."),
    ] = None,
) -> None:
    """Write tracks as a table, or for OpenPose's followers, OpenSim, C3D's readers and movement.

    They are written as they are; `mspn tracks smooth` makes smooth ones.
    """
    with one_line_errors():
        formats = _parse_formats(save, EXPORT_FORMATS)
        prepare_folder(out)
        paths = export_tracks(read_tracks(results, source, tracks or ()), out, formats, height)
    echo(*(f"tracks: {path}" for path in paths))


def _parse_formats(save: str, known: tuple[str, ...]) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in save.split(",")))
    for name in names:
        if name not in known:
            raise InvalidValueError(f"--save {name!r} is not known; choose of {', '.join(known)}")
    return names
