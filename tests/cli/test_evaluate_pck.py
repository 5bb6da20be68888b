import json
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from tests.cli.runner import error_line, run
from tests.labels.formats.mpii_files import joints, write_json, write_truth
from tests.trained import overfitted


def test_a_network_and_its_results_file_have_the_same_pck(tmp_path: Path):
    folder, weights = overfitted()
    truth = ("--annotations", folder / "annotations.json", "--metric", "pck")

    result = run("evaluate", "--model", weights, "--images", folder / "images", *truth, "--out", tmp_path / "network")
    again = run("evaluate", "--results", tmp_path / "network" / "results.json", *truth, "--out", tmp_path / "file")

    assert (result.exit_code, again.exit_code) == (0, 0), result.output + again.output
    assert "PCK by the torso, percent; 8 people, 17 keypoints" in result.stdout
    report, other = (json.loads((tmp_path / name / "report.json").read_text()) for name in ("network", "file"))
    assert report["stats"]["PCK@0.2"] > 0.9
    assert report["table"]["Mean"] == report["stats"]["PCK@0.2"]
    assert len(report["by_keypoint"]) == len(report["protocol"]["keypoints"]) == 17
    assert (report["protocol"]["metric"], report["protocol"]["engine"]) == ("PCK by the torso", None)
    # The file's positions are rounded to hundredths of a pixel.
    for part, share in report["table"].items():
        assert other["table"][part] == pytest.approx(share, abs=0.05)


@pytest.mark.usefixtures("mat_files_read_here")
def test_mpii_is_measured_by_the_head(tmp_path: Path):
    preds = joints()
    preds[0] += [16, 0]  # just over half of a head of 30 pixels
    savemat(tmp_path / "pred.mat", {"preds": preds})
    options = ("--annotations", write_json(tmp_path / "valid.json"), "--results", tmp_path / "pred.mat")

    result = run("evaluate", *options, "--head-boxes", write_truth(tmp_path / "gt_valid.mat"), "--out", tmp_path)

    # Of each part, two of three people are right; of the ankles, one of two.
    assert result.exit_code == 0, result.output
    header, row = (line.split() for line in result.stdout.splitlines() if "Ankle" in line or "50.0" in line)
    assert " ".join(header) == "Head Shoulder Elbow Wrist Hip Knee Ankle Mean PCKh@0.5 PCKh@0.1 AUC"
    assert row[:8] == ["66.7"] * 6 + ["50.0", "65.0"]  # 14 + 12 of 40
    assert json.loads((tmp_path / "report.json").read_text())["stats"]["PCKh@0.5"] == pytest.approx(26 / 40)


def test_options_that_do_not_go_together_are_refused(tmp_path: Path):
    valid = write_json(tmp_path / "valid.json")
    savemat(tmp_path / "pred.mat", {"preds": np.ones((3, 16, 2))})
    options = ("evaluate", "--annotations", valid, "--results", tmp_path / "pred.mat")

    assert "3 of 3 people have no head box" in error_line(run(*options))
    assert "--head-boxes is for --metric pckh" in error_line(run(*options, "--metric", "pck", "--head-boxes", valid))
    assert "--engine computes average precision" in error_line(run(*options, "--engine", "pycocotools"))
    assert "--images is not used" in error_line(run(*options, "--images", tmp_path, "--out", tmp_path / "out"))
    network = ("evaluate", "--annotations", valid, "--model", "default", "--images", tmp_path)
    assert "--boxes is not used: pckh is measured in the labeled boxes" in error_line(run(*network, "--boxes", valid))
    assert "--box-selection is not used: pckh" in error_line(run(*network, "--box-selection", "people"))
