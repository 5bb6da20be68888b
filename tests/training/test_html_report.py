import base64
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mspn.checkpoints.metadata import TrainingSession
from mspn.config.data import DataConfig, PeopleSetConfig
from mspn.config.recipe import Recipe, override
from mspn.config.recipes import find_recipe
from mspn.training.checkpoint import save_recipe
from mspn.training.html_report import write_report
from tests.sessions import SESSION

(_SET,) = SESSION.data


class _Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser takes them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def _line(epoch: int, **changes: Any) -> dict[str, Any]:
    line = {
        "epoch": epoch,
        "iteration": 1000 * epoch,
        "loss": 100.0,
        "losses": [[40.0, 10.0], [40.0, 10.0]],
        "learning_rate": 1e-3,
        "samples_per_second": 12.5,
        "waiting_share": 0.25,
        "memory_mib": 512.0,
        "seconds": 3600.0 * epoch,
        "validation": None,
    }
    return line | changes


def _write_run(
    run: Path,
    lines: Sequence[dict[str, Any]] = (),
    sessions: Sequence[TrainingSession] = (),
    recipe: Recipe | None = None,
) -> Path:
    save_recipe(run, recipe or find_recipe("mspn-2"))
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if sessions:
        content = {"sessions": [session.model_dump(mode="json") for session in sessions]}
        (run / "environment.json").write_text(json.dumps(content))
    return run


def _figures(path: Path) -> dict[str, str]:
    """The figures of a page by title."""
    figures = re.findall(r"<figure>.*?</figure>", path.read_text(), re.DOTALL)
    titles = [re.findall(r"<figcaption>(.*?) <small>", figure)[0] for figure in figures]
    return dict(zip(titles, figures, strict=True))


def test_the_headline_says_how_far_it_is_and_what_was_best(tmp_path: Path):
    lines = [
        _line(1, validation={"AP": 0.25}),
        _line(2, validation={"AP": 0.7126}),
        _line(3, validation={"AP": 0.7126}),
    ]

    path = write_report(_write_run(tmp_path, lines))

    assert path == tmp_path / "report.html"
    tiles = dict(re.findall(r'<span class="faint">(.*?)</span><b>(.*?)</b>', path.read_text()))
    assert tiles == {
        "iterations": "3,000",
        "best AP": "0.713",
        "loss": "100",
        "samples per second": "12.5",
        "time": "3 h 0 min",
    }
    assert "at iteration 2,000" in _Page(path).text


def test_every_measure_has_a_curve(tmp_path: Path):
    figures = _figures(write_report(_write_run(tmp_path, [_line(1, validation={"AP": 0.25}), _line(2)])))

    assert list(figures) == [
        "Loss",
        "Loss of stage 1, weighted",
        "Loss of stage 2, weighted",
        "Average precision",
        "Learning rate",
        "Samples per second",
        "Waiting for data, % of the time",
        "Peak memory, MiB",
    ]
    assert "epoch 2, iteration 2,000\nfinest level: 40\ncoarsest: 10" in figures["Loss of stage 1, weighted"]
    # A quarter of the time: 210 - 200 * 25 / 100 = 160, at x 300 and 540.
    assert 'points="300.0,160.0 540.0,160.0"' in figures["Waiting for data, % of the time"]


def test_the_stages_share_an_axis(tmp_path: Path):
    figures = _figures(write_report(_write_run(tmp_path, [_line(1, losses=[[1000.0, 100.0], [10.0, 10.0]])])))

    # From 10, at the bottom, to 1000.
    assert 'cx="540.0" cy="10.0"' in figures["Loss of stage 1, weighted"]
    assert 'cx="540.0" cy="210.0"' in figures["Loss of stage 2, weighted"]


def test_levels_that_a_stage_does_not_have_are_not_drawn(tmp_path: Path):
    lines = [_line(1, losses=[[40.0, 10.0, 5.0], [40.0, 0.0, 0.0], [0.0, 0.0, 0.0]])]

    figures = _figures(write_report(_write_run(tmp_path, lines)))

    assert re.findall(r"</i>(.*?)</span>", figures["Loss of stage 1, weighted"]) == [
        "finest level",
        "level 2",
        "coarsest",
    ]
    assert figures["Loss of stage 2, weighted"].count("<polyline") == 1
    assert "Loss of stage 3, weighted" not in figures


def test_a_loss_that_is_no_number_does_no_harm(tmp_path: Path):
    lines = [_line(1), _line(2, loss=float("nan"), losses=[[float("nan"), 10.0], [40.0, float("inf")]])]

    figures = _figures(write_report(_write_run(tmp_path, lines)))

    assert 'points="300.0,' in figures["Loss"]
    assert "540.0," not in figures["Loss"]


def test_a_run_without_validation_says_so(tmp_path: Path):
    path = write_report(_write_run(tmp_path, [_line(1)]))

    assert "not validated" in _Page(path).text
    assert "Average precision" not in _figures(path)


def test_a_run_that_has_only_begun_says_what_is_missing(tmp_path: Path):
    text = _Page(write_report(_write_run(tmp_path))).text

    assert "There are no metrics yet" in text
    assert "There is no crops.jpg" in text
    assert text.count("the folder has no environment.json") == 2


def test_the_sheet_of_crops_lies_within_the_page(tmp_path: Path):
    run = _write_run(tmp_path)
    (run / "crops.jpg").write_bytes(b"pixels")

    sources = [value for name, value in _Page(write_report(run)).attributes if name == "src"]

    assert sources == ["data:image/jpeg;base64," + base64.b64encode(b"pixels").decode()]


def test_settings_that_differ_from_the_named_recipe_come_first(tmp_path: Path):
    recipe = override(find_recipe("mspn-2"), ["train.batch_size=8", "data.train.0.weight=2"])

    page = write_report(_write_run(tmp_path, recipe=recipe)).read_text()

    changed, everything = page.split("All settings")
    assert "<tr><td>train.batch_size</td><td>8</td><td>256</td></tr>" in changed
    assert "<tr><td>data.train.0.weight</td><td>2.0</td><td>1.0</td></tr>" in changed
    assert "train.seed" not in changed
    assert "<tr><td>train.seed</td><td>0</td></tr>" in everything


def test_a_recipe_as_it_is_named_has_nothing_that_differs(tmp_path: Path):
    assert "As the recipe mspn-2 says." in _Page(write_report(_write_run(tmp_path))).text


def test_sessions_and_data_are_listed_and_changed_labels_marked(tmp_path: Path):
    changed = _SET.model_copy(update={"sha256": "cd34"})
    later = SESSION.model_copy(update={"iteration": 500, "gpus": ("Large GPU",) * 2, "data": (changed,)})

    page = write_report(_write_run(tmp_path, sessions=[SESSION, later])).read_text()

    assert "<tr><td>iteration</td><td>0</td><td>500</td></tr>" in page
    assert "<tr><td>gpus</td><td>none</td><td>Large GPU, Large GPU</td></tr>" in page
    assert "<tr><td>git</td><td>unknown</td><td>unknown</td></tr>" in page
    row = "<td>people.json</td><td>1,200</td><td>3,400</td><td>cd34</td><td>changed since the first session</td>"
    assert row in page


def test_names_of_others_cannot_add_anything_to_the_page(tmp_path: Path):
    hostile = "</title></style><script src=//example.org></script><img src=x onerror=alert(1)>"
    one = PeopleSetConfig(annotations=hostile, images=hostile)
    recipe = Recipe(name=hostile, data=DataConfig(root=hostile, train=(one,)))
    session = SESSION.model_copy(update={"command": hostile, "gpus": (hostile,)})

    page = _Page(write_report(_write_run(tmp_path, [_line(1)], [session], recipe)))

    assert "script" not in page.tags
    assert "img" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count("alert(1)") >= 5  # it is shown as text


def test_the_page_loads_nothing_and_runs_no_script(tmp_path: Path):
    page = _Page(write_report(_write_run(tmp_path, [_line(1)], [SESSION])))

    assert not {"script", "link", "iframe", "a"} & set(page.tags)
    (policy,) = [value for name, value in page.attributes if name == "content" and value and "default-src" in value]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_a_folder_without_a_run_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"is no run folder \(it has no recipe.json\); give the --out of `mspn train`"):
        write_report(tmp_path)
