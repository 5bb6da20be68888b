import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from benchmarks import (
    figure_architecture,
    figure_coarse_to_fine,
    figure_cost,
    figure_demo,
    figure_gallery,
    figure_heatmaps,
    figure_kinematics,
)
from mspn.checkpoints.networks import load_model
from mspn.evaluation.report import EvaluationProtocol, Report, write_report, write_results
from mspn.structures.skeleton import COCO_17
from tests.coco_files import person, write_annotations


def _run(monkeypatch: pytest.MonkeyPatch, main: object, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["figure", *map(str, arguments)])
    assert callable(main)
    main()


def _report(folder: Path, name: str, gmacs: float | None, precision: float) -> Path:
    protocol = EvaluationProtocol(annotations=str(folder / "labels.json"), boxes="ground truth")
    path = folder / name / "report.json"
    write_report(path, Report(model=name, stats={"AP": precision}, gmacs=gmacs, protocol=protocol))
    return path


def test_average_precision_is_drawn_over_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paths = [_report(tmp_path, f"mspn-{number}", 5.0 * number, 0.7 + 0.02 * number) for number in (1, 2)]

    _run(monkeypatch, figure_cost.main, tmp_path / "figure.html", "--line", "mspn", *paths, "--across-protocols")

    # The plot spans x from 60 to 540 for 0 to 10 billion, and y from 210 to 10 for 0.72 to 0.74.
    page = (tmp_path / "figure.html").read_text()
    assert re.findall(r'<polyline class="line line-0" points="([^"]*)"', page) == ["300.0,210.0 540.0,10.0"]


def test_results_files_have_no_cost(tmp_path: Path):
    protocol = EvaluationProtocol(annotations="labels.json", boxes="ground truth")

    with pytest.raises(ValueError, match=r"the report of results\.json has no cost; it must be of a network"):
        figure_cost.draw_figure(
            tmp_path / "f.html", {"a": [Report(model="results.json", stats={"AP": 0.5}, protocol=protocol)]}
        )


def test_heat_maps_stand_in_a_row_a_stage_and_a_column_a_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _run(monkeypatch, figure_heatmaps.main, "default", tmp_path / "figure.jpg")

    figure = cv2.imread(str(tmp_path / "figure.jpg"))
    # Two stages of four levels; a tile is two panels of 192 x 256 px with 2 px between and a line of text below.
    assert figure is not None
    assert figure.shape[:2] == (68 + 2 * (256 + 22 + 16), 16 + 4 * (2 * 192 + 2 + 16))


def test_the_gallery_begins_with_the_fullest_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((100, 200, 3), 100 * number, np.uint8))
    standing = person(1, 1, dict.fromkeys(COCO_17.keypoints, (100, 50, 2)))
    write_annotations(tmp_path / "labels.json", [standing], {1: "1.png", 2: "2.png"})
    rows = [
        {"image_id": image_id, "category_id": 1, "keypoints": standing["keypoints"], "score": 0.5}
        for image_id in (1, 2, 2)
    ]
    report = _report(tmp_path, "mspn-1", 5.0, 0.7)
    write_results(report.with_name("results.json"), rows)

    _run(monkeypatch, figure_gallery.main, report, tmp_path, tmp_path / "figure.jpg")

    figure = cv2.imread(str(tmp_path / "figure.jpg"))
    # Squares of 384 px from (16, 50), each 400 px after the last; images of 2 x 1 fill their middle half.
    assert figure is not None
    assert [int(figure[50 + 120, 16 + 400 * tile + 20, 0]) for tile in (0, 1)] == pytest.approx([200, 100], abs=3)


def test_the_figure_of_the_joint_angles_in_the_pages_is_the_drawn_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _run(monkeypatch, figure_kinematics.main, tmp_path / "figure.svg")

    figure = Path(__file__).parents[1] / "docs" / "images" / "kinematics.svg"
    assert (tmp_path / "figure.svg").read_text() == figure.read_text()


def test_the_figure_of_the_architecture_in_the_pages_is_the_drawn_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _run(monkeypatch, figure_architecture.main, "mspn-2", tmp_path / "figure.svg")

    figure = (tmp_path / "figure.svg").read_text()
    assert figure == (Path(__file__).parents[1] / "docs" / "images" / "architecture.svg").read_text()
    # Table 7: the last stage's kernels are the next narrower ones.
    assert re.findall(r">(\d+x\d+)<", figure) == ["7x7", "9x9", "11x11", "15x15", "5x5", "7x7", "9x9", "11x11"]


def test_the_levels_are_frames_from_coarse_to_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _run(monkeypatch, figure_coarse_to_fine.main, tmp_path / "figure.webp")

    with PillowImage.open(tmp_path / "figure.webp") as figure:
        assert (figure.n_frames, figure.size) == (4, (192, 256))


@pytest.mark.slow
def test_the_demo_goes_from_photos_by_boxes_and_each_level_to_keypoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    _run(monkeypatch, figure_demo.main, tmp_path / "demo.webp")

    with PillowImage.open(tmp_path / "demo.webp") as demo:
        num_levels = 4 * load_model("default").config.num_stages
        assert (demo.n_frames, demo.height) == (3 + num_levels, 360)
    assert (tmp_path / "demo.webp").stat().st_size < 2_000_000
