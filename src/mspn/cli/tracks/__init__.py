"""mspn tracks: commands about people through a video."""

import typer

from mspn.cli.lazy import LazyCommand, LazyGroup

COMMANDS = {
    "smooth": LazyCommand(
        "mspn.cli.tracks.commands:smooth_command",
        "Smooth the keypoints of a video's people without lag, mend mistakes, fill short gaps.",
    ),
    "angles": LazyCommand(
        "mspn.cli.tracks.commands:angles_command",
        "Measure a person's joint angles and steps in a video from the side: angles.csv, steps.csv, report.html.",
    ),
    "export": LazyCommand(
        "mspn.cli.tracks.commands:export_command",
        "Write tracks as a table, or for OpenPose's followers, OpenSim, C3D's readers and movement.",
    ),
}


class _Commands(LazyGroup):
    table = COMMANDS


tracks_app = typer.Typer(
    cls=_Commands, help="Smooth people's tracks through a video, measure angles, export.", no_args_is_help=True
)
