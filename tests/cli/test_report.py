from pathlib import Path

from mspn.config.recipes import find_recipe
from mspn.training.checkpoint import save_recipe
from tests.cli.runner import error_line, run


def test_report_writes_the_page_and_says_where(tmp_path: Path):
    save_recipe(tmp_path, find_recipe("mspn-2"))

    result = run("report", tmp_path)

    assert result.exit_code == 0, result.output
    assert result.output.strip() == f"report: {tmp_path / 'report.html'}"
    assert "mspn-2" in (tmp_path / "report.html").read_text()


def test_report_refuses_a_folder_without_a_run(tmp_path: Path):
    assert "is no run folder (it has no recipe.json)" in error_line(run("report", tmp_path))
