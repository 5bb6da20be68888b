import io
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.io import savemat

from mspn.errors import AnnotationError
from mspn.io import matlab
from mspn.io.matlab import _Unpickler, mat_variables, number_or_none, read_in_process, read_mat, read_variables


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


def test_a_variable_is_read_by_its_name(tmp_path: Path):
    savemat(tmp_path / "a.mat", {"joints": np.arange(6).reshape(2, 3), "other": 1})

    assert read_mat(tmp_path / "a.mat", "joints").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read_variables(tmp_path / "a.mat", "other", "no") == {"other": 1}
    assert mat_variables(tmp_path / "a.mat") == ["joints", "other"]


def test_a_variable_that_is_not_there_is_refused(tmp_path: Path):
    savemat(tmp_path / "a.mat", {"other": 1})

    with pytest.raises(AnnotationError, match=r"a\.mat has no variable 'joints'; is it the annotation file\?"):
        read_mat(tmp_path / "a.mat", "joints")


@pytest.mark.parametrize("content", [b"", b"no MATLAB at all, but long enough for a header " * 9])
def test_what_is_no_matlab_file_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "a.mat").write_bytes(content)

    with pytest.raises(AnnotationError, match=r"a\.mat cannot be read as a MATLAB file \(.*\); is it whole\?"):
        read_mat(tmp_path / "a.mat", "joints")


def test_a_file_that_is_cut_short_is_refused(tmp_path: Path):
    savemat(tmp_path / "a.mat", {"joints": np.random.default_rng(1).random((50, 50))}, do_compression=True)
    whole = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(whole[: len(whole) // 2])

    with pytest.raises(AnnotationError, match=r"a\.mat cannot be read as a MATLAB file"):
        read_mat(tmp_path / "a.mat", "joints")


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(AnnotationError, match=r"no file at .*a\.mat; check the path"):
        read_mat(tmp_path / "a.mat", "joints")


@pytest.mark.parametrize(("value", "number"), [(3, 3.0), ("1", 1.0), ("", None), (np.array([]), None), (None, None)])
def test_what_stands_for_no_number_is_none(value: object, number: float | None):
    assert number_or_none(value) == number
