import os

import pytest

from mspn.cli import app
from tests.cli.runner import error_line, run


def test_the_command_silences_opencv_and_lets_idle_threads_sleep_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
):
    environment = {"OPENCV_LOG_LEVEL": "INFO"}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(app, "app", lambda: None)

    app.main()

    assert environment == {"OPENCV_LOG_LEVEL": "INFO", "GOMP_SPINCOUNT": "1000"}


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
