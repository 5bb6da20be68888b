"""The notebooks of the pages run from their first cell to their last."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.cli.runner import run
from tests.test_learn import SAMPLE, shorten

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
_SHORTER = {
    "iterations = 200": "iterations = 2",
    "count=30": "count=5",
    "subprocess.run(": "run_here(",
    'video = Path(mspn.__file__).parent / "assets" / "sample" / "pan.mp4"': 'video = "short.mp4"',
}


def cells_of(notebook: str) -> Iterator[str]:
    """Its cells of code, with less to compute."""
    for cell in json.loads((FOLDER / f"{notebook}.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            code = "".join(cell["source"])
            for text, shorter in _SHORTER.items():
                code = code.replace(text, shorter)
            yield code


def _run_here(command: Sequence[object], **_: object) -> subprocess.CompletedProcess[str]:
    """The command in this process, which saves seconds; training with small crops."""
    _python, _m, _mspn, *arguments = command
    small = ["--set", "model.input_size=[64, 64]", "--set", "data.workers=0"] if arguments[0] == "train" else []
    result = run(*arguments, *small)
    assert result.exit_code == 0, result.output
    return subprocess.CompletedProcess([], 0, result.stdout, result.stderr)


def test_there_are_no_other_notebooks():
    assert {path.stem for path in FOLDER.iterdir()} == {"quick-start", "video", "own-keypoints"}


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["quick-start", "video", "own-keypoints"])
def test_a_notebook_runs(notebook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    shorten(SAMPLE / "pan.mp4", tmp_path / "short.mp4", num_frames=4)
    namespace: dict[str, object] = {"run_here": _run_here}

    for number, code in enumerate(cells_of(notebook), start=1):
        exec(compile(code, f"cell {number} of {notebook}", "exec"), namespace)


def test_notebooks_are_kept_without_outputs():
    for path in FOLDER.iterdir():
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        assert [cell["outputs"] for cell in cells if cell.get("outputs")] == [], path.name
