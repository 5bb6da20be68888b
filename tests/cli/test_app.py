import os

import pytest

from mspn.cli import app


def test_the_command_silences_opencv_and_lets_idle_threads_sleep_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch,
):
    environment = {"OPENCV_LOG_LEVEL": "INFO"}
    monkeypatch.setattr(os, "environ", environment)
    monkeypatch.setattr(app, "app", lambda: None)

    app.main()

    assert environment == {"OPENCV_LOG_LEVEL": "INFO", "GOMP_SPINCOUNT": "1000"}
