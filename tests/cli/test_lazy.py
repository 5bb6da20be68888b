import gc
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mspn.cli import app
from mspn.cli.app import LazyCommand, load_command
from tests.cli.runner import run


def _imports(*commands: str) -> set[str]:
    """Top-level packages that a Python of its own has imported once it has run the commands."""
    runs = "; ".join(f"app({command.split()}, standalone_mode=False)" for command in commands)
    code = f"import sys; from mspn.cli.app import app; {runs}; print(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in printed.splitlines()[-1].split()}


def _complete(words: str) -> list[str]:
    """What bash is told to offer for the last of some words."""
    shell = {"_MSPN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    return CliRunner().invoke(app.app, prog_name="mspn", env=shell).stdout.split()


@pytest.mark.parametrize(
    ("name", "command"),
    [
        item
        for table in (app.COMMANDS, app.DATA_COMMANDS, app.MODELS_COMMANDS, app.TRACKS_COMMANDS)
        for item in table.items()
    ],
)
def test_a_group_lists_each_command_by_the_first_line_of_its_own_help(name: str, command: LazyCommand):
    own = load_command(command.path)

    assert own.help.partition("\n\n")[0] == command.help


def test_help_is_there_without_torch_opencv_and_numpy():
    assert {"torch", "cv2", "numpy"} & _imports("--help", "data --help", "models --help", "tracks --help") == set()


def test_looking_after_labels_needs_no_torch():
    assert "torch" not in _imports("data check --help", "data stats --help", "data convert --help")


def test_predicting_imports_no_library_that_an_image_does_not_need():
    needless = {"onnxruntime", "transformers", "pycocotools", "pyarrow", "pandas", "scipy", "matplotlib", "av"}

    assert needless & _imports("predict --help") == set()


def test_the_command_that_runs_is_the_imported_one():
    result = run("data", "convert", "--help")

    assert result.exit_code == 0
    assert "Format to write" in result.stdout


def test_a_misspelt_command_is_told_the_close_one():
    result = run("evaluat")

    assert result.exit_code == 2
    assert "Did you mean 'evaluate'?" in result.stderr


def test_shells_complete_commands_subcommands_and_options():
    assert _complete("mspn re") == ["report"]
    assert _complete("mspn data co") == ["convert"]
    assert _complete("mspn report --h") == ["--help"]


def test_garbage_is_collected_again_after_an_import():
    load_command(app.COMMANDS["data"].path)
    assert gc.isenabled()

    with pytest.raises(ModuleNotFoundError):
        load_command("mspn.nowhere:command")
    assert gc.isenabled()
