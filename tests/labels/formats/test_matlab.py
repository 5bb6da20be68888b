from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from mspn.errors import AnnotationError
from mspn.io.matlab import mat_variables, number_or_none, read_mat


def test_a_variable_is_read_by_its_name(tmp_path: Path):
    savemat(tmp_path / "a.mat", {"joints": np.arange(6).reshape(2, 3), "other": 1})

    assert read_mat(tmp_path / "a.mat", "joints").tolist() == [[0, 1, 2], [3, 4, 5]]
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
