import os
import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from mspn.checkpoints.convert.external import read_external_file
from mspn.errors import WeightsError


class _MakesAFolder:
    """When unpickled carelessly, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_tensors_are_read_from_beside_the_tables_that_mmpose_keeps(tmp_path: Path):
    # MMPose 1.x publishes its data set's description with the network.
    description = {"name": "coco", "sigmas": np.array([0.026, 0.025]), "colors": np.ones((2, 3), np.uint8)}
    meta = {"epoch": 210, "dataset_meta": description, "best": np.float64(0.718), "names": np.array(["a", "b"])}
    torch.save({"state_dict": {"weight": torch.arange(3.0)}, "meta": meta}, tmp_path / "mmpose.pth")

    content = read_external_file(tmp_path / "mmpose.pth")

    assert torch.equal(content["state_dict"]["weight"], torch.tensor([0.0, 1.0, 2.0]))
    assert content["meta"]["epoch"] == 210
    assert not isinstance(content["meta"]["dataset_meta"]["sigmas"], np.ndarray)


def test_curves_of_mmengine_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer")
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    buffer = type("HistoryBuffer", (), {"__module__": names[-1]})
    monkeypatch.setattr(sys.modules[names[-1]], "HistoryBuffer", buffer, raising=False)
    curve = buffer()
    curve.max_length, curve.log = 1000, np.zeros(4)
    torch.save({"state_dict": {"weight": torch.ones(2)}, "message_hub": {"loss": curve}}, tmp_path / "epoch.pth")

    content = read_external_file(tmp_path / "epoch.pth")

    assert torch.equal(content["state_dict"]["weight"], torch.ones(2))
    assert vars(content["message_hub"]["loss"]) == {}


@pytest.mark.parametrize("plain", [False, True], ids=["torch", "pickle"])
def test_code_in_an_array_is_refused_and_never_runs(plain: bool, tmp_path: Path):
    trap, path = tmp_path / "trap", tmp_path / "evil.pth"
    content = {"meta": np.array([_MakesAFolder(trap)], dtype=object)}
    path.write_bytes(pickle.dumps(content)) if plain else torch.save(content, path)

    with pytest.raises(WeightsError, match=r"evil\.pth (wants to run posix\.mkdir|is no checkpoint)"):
        read_external_file(path)

    assert not trap.exists()


def test_what_is_let_through_is_forgotten_afterwards(tmp_path: Path):
    torch.save({"array": np.zeros(2)}, tmp_path / "arrays.pth")

    read_external_file(tmp_path / "arrays.pth")

    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "arrays.pth", weights_only=True)
