"""Labels may come from anyone: what their names say is shown, not obeyed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mspn.cli.app import app
from tests.coco_files import person, write_annotations

NAME = "\x1b]0;PWN\x07\x1b[31mred\r\n.png"


@pytest.mark.parametrize("command", [["check", "--no-images"], ["stats"], ["convert", "out.xml", "--to", "cvat"]])
def test_escape_sequences_in_names_do_not_reach_the_terminal(command: list[str], tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f"\x1b[2J{number}" for number in range(17)]
    rows = [person(1, 1, {}, keypoints=[1, 2, 2] * 17), person(1, 9, {}, keypoints=[1, 2, 2] * 17)]
    write_annotations(Path("people.json"), rows, {1: NAME, 2: NAME}, names)

    result = CliRunner().invoke(app, ["data", command[0], "people.json", *command[1:]])

    assert result.exit_code in (0, 1, 2)
    assert result.output
    assert "\x1b" not in result.output
    assert "\x07" not in result.output
