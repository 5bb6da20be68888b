"""mspn models: networks and their weights."""

import typer

from mspn.cli.lazy import LazyCommand, LazyGroup

COMMANDS = {
    "list": LazyCommand(
        "mspn.cli.models.catalog:list_command", "List the named networks, and the weights that are available."
    ),
    "show": LazyCommand(
        "mspn.cli.models.catalog:show_command",
        "Describe a weights file, or weights that are not downloaded yet, in a screen.",
    ),
    "cost": LazyCommand(
        "mspn.cli.models.catalog:cost_command", "Count parameters and the multiply-adds of one crop, by part."
    ),
    "download": LazyCommand(
        "mspn.cli.models.catalog:download_command",
        "Download published weights, check them, and convert them into the cache.",
    ),
    "verify": LazyCommand(
        "mspn.cli.models.catalog:verify_command",
        "Check the bytes of the package's weights and of the cache against their SHA-256.",
    ),
    "convert": LazyCommand(
        "mspn.cli.models.convert:convert_command",
        "Convert weights between mspn's layout, the released codes' and MMPose's; simple baselines to mspn's only.",
    ),
    "export": LazyCommand(
        "mspn.cli.models.export:export_command",
        "Export a network, with the steps around it, for other runtimes, languages and devices.",
    ),
    "prove": LazyCommand(
        "mspn.cli.models.export:prove_command",
        "Compare an exported file with its weights again; a file that was changed fails.",
    ),
    "average": LazyCommand(
        "mspn.cli.models.convert:average_command",
        "Average the weights of runs of one network: often better than each, as fast as one.",
    ),
    "quantize": LazyCommand(
        "mspn.cli.models.convert:quantize_command",
        "Calibrate activations on images, as --precision int8 needs it.",
    ),
    "calibrate": LazyCommand(
        "mspn.cli.models.calibrate:calibrate_command",
        "Calibrate keypoint scores on labeled people: 0.8 then means right eight times in ten.",
    ),
}


class _Commands(LazyGroup):
    table = COMMANDS


models_app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    help="Networks and their weights: list, show, cost, download, verify, convert, export, prove, average, quantize,"
    " calibrate.",
)
