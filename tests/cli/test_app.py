import io
import os
import shlex
import subprocess
import sys

import pytest

from mspn.cli import app
from tests.cli.runner import error_line, run


def test_the_command_silences_opencv_and_lets_idle_threads_sleep_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
):
    environment = {"OPENCV_LOG_LEVEL": "INFO"}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(app, "app", lambda: None)
    monkeypatch.setattr(app, "end_cleanly_when_terminated", lambda: None)

    app.main()

    assert environment == {
        "OPENCV_LOG_LEVEL": "INFO",
        "GOMP_SPINCOUNT": "1000",
        "OPENBLAS_NUM_THREADS": "1",
        "PYDANTIC_DISABLE_PLUGINS": "__all__",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", ""],
        ["predict", "a.jpg", "--boxes", ""],
        ["predict", "a.jpg", "--out="],
        ["data", "check", "a.json", "--images", ""],
        ["models", "show", ""],
    ],
)
def test_an_empty_argument_is_not_the_current_folder(arguments: list[str]):
    assert "an argument is empty; is a variable of the shell not set?" in error_line(run(*arguments))


def test_letters_that_a_console_does_not_have_are_escaped(monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="cp1252"))
    monkeypatch.setattr(app, "app", lambda: sys.stdout.write("é Ж\n"))
    monkeypatch.setattr(app, "end_cleanly_when_terminated", lambda: None)

    app.main()

    assert written.getvalue() == b"\xe9 \\u0416\n"


def _shell(redirections: str) -> "subprocess.CompletedProcess[str]":
    command = f"{shlex.quote(sys.executable)} -m mspn --version {redirections}"
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=False)


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_output_that_cannot_be_printed_is_one_line():
    result = _shell(">/dev/full")

    assert result.returncode == 2
    assert result.stderr == (
        "error: output cannot be printed (No space left on device); free some room, or direct it elsewhere\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
def test_closed_standard_streams_do_no_harm():
    result = _shell("<&- >&- 2>&-")

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
