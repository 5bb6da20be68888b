"""The commands of the pages under docs/learn run as they stand there, with fewer iterations."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from benchmarks.drawn_animals import write_material
from tests.cli.runner import run

PAGES = Path(__file__).parents[1] / "docs" / "learn"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHORT = ("train.iterations=2", "train.batch_size=2", "data.workers=0", "model.input_size=[64, 64]")


def commands_of(page: str) -> list[list[str]]:
    """The words of each command in the blocks of a page that name no language."""
    text = (PAGES / page).read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = [block for language, block in _BLOCK.findall(text) if not language]
    return [shlex.split(line) for block in blocks for line in block.splitlines() if line.strip()]


def accept(export: Path, tasks: Path) -> list[Any]:
    """What Label Studio exports next when somebody has accepted all pre-labels."""
    accepted = [task | {"annotations": task["predictions"]} for task in json.loads(tasks.read_text())]
    return [*json.loads(export.read_text()), *accepted]


def test_the_loop_of_own_keypoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    generator, *commands = commands_of("own-keypoints.md")
    assert generator == ["python", "-m", "benchmarks.drawn_animals", "."]
    write_material(tmp_path, count=5, num_new=2)

    for program, *arguments in commands:
        if "more.json" in arguments:
            Path("more.json").write_text(json.dumps(accept(Path("export.json"), Path("next/tasks.json"))))
        short = [word for setting in _SHORT for word in ("--set", setting)] if arguments[0] == "train" else []
        result = run(*arguments, *short)

        assert program == "mspn"
        assert result.exit_code == 0, (arguments, result.output)

    # From the drawings to predictions: eight commands, and one to train again.
    assert len(commands) == 8
    assert len(json.loads((tmp_path / "predictions" / "predictions.json").read_text())) == 2
    assert len(list((tmp_path / "predictions" / "images").iterdir())) == 2
    assert (tmp_path / "run2" / "best.safetensors").is_file()
