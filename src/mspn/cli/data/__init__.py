"""mspn data: commands about labeled sets."""

import typer

from mspn.cli.lazy import LazyCommand, LazyGroup

COMMANDS = {
    "check": LazyCommand(
        "mspn.cli.data.check:check_command",
        "Look for mistakes in labels and images; exit code 1 if there are errors, 0 if there are warnings or nothing.",
    ),
    "show": LazyCommand(
        "mspn.cli.data.show:show_command", "Draw labels on their images, and sheets of a hundred people each."
    ),
    "stats": LazyCommand("mspn.cli.data.stats:stats_command", "Count images, people and keypoints."),
    "review": LazyCommand(
        "mspn.cli.data.review:review_command",
        "Find likely label errors (sides swapped, limbs reversed, keypoints far off); propose corrections.",
    ),
    "convert": LazyCommand(
        "mspn.cli.data.convert:convert_command",
        "Rewrite labels in another format; warn about what it cannot hold.",
    ),
    "pack": LazyCommand(
        "mspn.cli.data.pack:pack_command",
        "Cut the people of a recipe's training sets out of their photos, into one file that training reads.",
    ),
    "pseudo-label": LazyCommand(
        "mspn.cli.data.pseudo_label:pseudo_label_command",
        "Label the people of photos without labels, where the teachers agree, plain and mirrored.",
    ),
    "suggest": LazyCommand(
        "mspn.cli.data.suggest:suggest_command",
        "Pre-label the photos to label next, those of which the network is least sure first.",
    ),
    "split": LazyCommand(
        "mspn.cli.data.convert:split_command",
        "Split labels by image, drawn at random, into a set to train on and one to measure on.",
    ),
}


class _Commands(LazyGroup):
    table = COMMANDS


data_app = typer.Typer(
    cls=_Commands,
    help="Check, draw, count, review, convert, pack and split labeled sets; pre-label photos.",
    no_args_is_help=True,
)
