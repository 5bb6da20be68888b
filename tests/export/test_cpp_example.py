"""The C++ program of examples/cpp, built where a compiler and OpenVINO are, gives the poses of the package."""

import importlib
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.predict.estimator import PoseEstimator
from tests.export.exported import WEIGHTS, exported_untrained
from tests.made_once import made_once

pytestmark = pytest.mark.slow  # a compiler reads all of OpenVINO's headers
_EXAMPLE = Path(__file__).parents[2] / "examples" / "cpp"


def _build(folder: Path) -> None:
    cmake_path = importlib.import_module("openvino.utils").get_cmake_path()
    for command in (
        ["cmake", "-S", _EXAMPLE, "-B", folder, f"-DOpenVINO_DIR={cmake_path}"],
        ["cmake", "--build", folder],
    ):
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stdout + built.stderr


@pytest.fixture
def program() -> Path:
    pytest.importorskip("openvino")
    if not all(map(shutil.which, ("cmake", "c++"))):
        pytest.skip("no C++ compiler, or no cmake")
    return made_once("cpp_example", _build) / "pose"


def _run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, check=False)


def test_the_program_prints_the_joints_that_the_package_finds(program: Path, tmp_path: Path):
    folder = exported_untrained()
    # Smooth, so that the two ways to read between pixels give nearly the same crop.
    noise = np.random.default_rng(3).integers(0, 256, (90, 70, 3), np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 6), None, 0, 255, cv2.NORM_MINMAX)
    cv2.imwrite(str(tmp_path / "photo.ppm"), image)

    printed = _run(program, folder / "untrained.onnx", tmp_path / "photo.ppm")

    assert printed.returncode == 0, printed.stderr
    rows = np.array([line.split() for line in printed.stdout.splitlines()], np.float64)
    assert rows.shape == (17, 5)
    assert rows[:, 0].tolist() == [0] * 17
    assert rows[:, 1].tolist() == list(range(17))
    (pose,) = PoseEstimator(folder / WEIGHTS, "none", device="cpu", precision="float32")(image[..., ::-1].copy())
    distance = np.linalg.norm(rows[:, 2:4] - pose.keypoints_image, axis=1)
    # A cell is six pixels wide; of an untrained network, a map or two may have another peak.
    assert np.median(distance) < 0.05
    assert (distance < 1).mean() > 0.8
    np.testing.assert_allclose(np.median(np.abs(rows[:, 4] - pose.keypoint_scores)), 0, atol=0.01)


def test_the_program_says_in_one_line_what_is_wrong(program: Path, tmp_path: Path):
    (tmp_path / "photo.ppm").write_bytes(b"P6 4 4 255\nshort")

    assert _run(program).stderr == "error: give POSE.onnx PHOTO.ppm [DETECTOR.onnx]\n"
    cut_off = _run(program, "pose.onnx", tmp_path / "photo.ppm")
    assert cut_off.returncode == 2
    assert cut_off.stderr == f"error: {tmp_path / 'photo.ppm'} ends too early\n"
