import io
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.io import savemat

from mspn.io import matlab
from mspn.io.matlab import _Unpickler, read_in_process


def test_structs_are_namespaces_at_every_depth(tmp_path: Path):
    savemat(tmp_path / "a.mat", {"release": {"entry": {"x": 2.5, "name": "a.jpg"}, "parts": [{"y": 1}, {"y": 2}]}})

    content = read_in_process(tmp_path / "a.mat", "loadmat", squeeze_me=True, struct_as_record=False)

    release = content["release"]
    assert release.entry == SimpleNamespace(x=2.5, name="a.jpg")
    assert [part.y for part in release.parts] == [1, 2]


def test_a_process_that_crashes_is_one_line(tmp_path: Path, monkeypatch):
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashing))

    with pytest.raises(ValueError, match="SciPy crashed"):
        read_in_process(tmp_path / "a.mat", "whosmat")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit the memory of a process")
def test_memory_is_limited():
    program = "from mspn.io.matlab import _limit_memory; _limit_memory(2**30); bytearray({})"

    small, large = (
        subprocess.run([sys.executable, "-c", program.format(size)], capture_output=True, check=False)
        for size in (2**20, 2**31)
    )

    assert small.returncode == 0
    assert b"MemoryError" in large.stderr


def test_a_process_that_is_held_is_ended(tmp_path: Path, monkeypatch):
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(matlab, "_SECONDS", 0.2)

    with pytest.raises(ValueError, match=r"it is not read after 0\.2 seconds"):
        read_in_process(tmp_path / "a.mat", "whosmat")


def test_an_answer_that_is_more_than_data_is_refused():
    with pytest.raises(ValueError, match=r"it has values of .*\.system"):
        _Unpickler(io.BytesIO(b"cos\nsystem\n(S'true'\ntR.")).load()
    array = np.arange(3.0)
    assert _Unpickler(io.BytesIO(pickle.dumps(array, protocol=5))).load().tolist() == [0, 1, 2]
