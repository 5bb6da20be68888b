import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mspn
from mspn.errors import MspnError
from mspn.inference import devices
from mspn.inference.devices import choose_device, choose_precision
from mspn.inference.fold import can_prepack
from mspn.models.base import normalize
from tests.trained import overfitted


def test_the_runner_gives_the_last_stages_finest_maps():
    crops = np.random.default_rng(0).integers(0, 255, (2, 128, 96, 3), np.uint8)
    model = mspn.load_model(overfitted()[1])

    heatmaps = mspn.load_runner(overfitted()[1], "torch", precision="float32")(crops)

    assert heatmaps.shape == (2, 17, 32, 24)
    with torch.no_grad():
        torch.testing.assert_close(heatmaps, model(normalize(torch.from_numpy(crops)))[-1][0])


def test_bfloat16_answers_nearly_the_same_in_float32():
    crops = np.random.default_rng(0).integers(0, 255, (2, 128, 96, 3), np.uint8)

    exact = mspn.load_runner(overfitted()[1], "torch", precision="float32")(crops)
    fast = mspn.load_runner(overfitted()[1], "torch", precision="bfloat16")(crops)

    assert fast.dtype == torch.float32
    assert (exact - fast).abs().mean() < 0.02


def test_random_weights_come_only_when_asked_for():
    with pytest.raises(ValueError, match="mspn-1-mmpose is not in the cache"):
        mspn.load_runner("mspn-1")

    heatmaps = mspn.load_runner("mspn-1", "torch", random_weights=True)(np.zeros((1, 64, 32, 3), np.uint8))

    assert heatmaps.shape == (1, 17, 16, 8)


def test_a_runner_is_not_pickled_and_says_what_is():
    if not can_prepack(torch.device("cpu"), torch.float32):
        pytest.skip("torch has no oneDNN here")
    runner = mspn.load_runner("mspn-tiny", "torch", precision="float32")

    with pytest.raises(MspnError, match=r"cannot be pickled or copied; pickle the PoseEstimator, which keeps its"):
        pickle.dumps(runner)


@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_no_crops_have_no_heatmaps(precision: str):
    heatmaps = mspn.load_runner("mspn-tiny", "torch", precision=precision)(np.zeros((0, 64, 32, 3), np.uint8))

    assert heatmaps.shape == (0, 17, 16, 8)


@pytest.mark.parametrize(
    "crops", [np.zeros((2, 64, 32), np.uint8), np.zeros((2, 3, 64, 32), np.uint8), np.zeros((2, 64, 32, 3), np.float32)]
)
def test_crops_of_another_kind_are_refused(crops: np.ndarray):
    with pytest.raises(ValueError, match=r"crops must be uint8 \(B, H, W, 3\)"):
        mspn.load_runner(overfitted()[1], "torch")(crops)


def test_unknown_engines_precisions_and_devices_are_refused():
    with pytest.raises(ValueError, match="no engine 'fast'"):
        mspn.load_runner(overfitted()[1], engine="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no precision 'int4'"):
        mspn.load_runner(overfitted()[1], "torch", precision="int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no device 'gpu'"):
        choose_device("gpu")


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch, *, cuda: bool, mps: bool, chosen: str):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    assert choose_device("auto").type == chosen


@pytest.mark.parametrize(
    ("platform", "driver", "expected"),
    [("linux", "absent", False), ("linux", "nvidiactl", True), ("darwin", "absent", True)],
)
def test_what_a_gpu_leaves_on_a_system_tells_that_there_may_be_one(
    platform: str, driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, expected: bool
):
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(devices, "_GPU_DRIVERS", (str(tmp_path / driver),))

    assert devices.may_have_gpu() is expected


def test_apples_gpus_compute_in_float32_by_default(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)

    assert choose_precision("auto", torch.device("mps")) == "float32"
    assert choose_precision("auto", torch.device("cpu")) == "bfloat16"
