from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from mspn.errors import AnnotationError
from mspn.labels.formats.public_datasets import read_lsp
from mspn.structures.skeleton import LSP_14

pytestmark = pytest.mark.usefixtures("mat_files_read_here")

PEOPLE = 3


def joints() -> np.ndarray:
    """People x keypoints x (x, y, flag): keypoint k of person n is at (10 k + n, 20 k); every flag is 1."""
    numbers = np.arange(14)
    return np.array([[[10 * k + n, 20 * k, 1] for k in numbers] for n in range(PEOPLE)], np.float64)


def test_lsp_says_what_is_occluded(tmp_path: Path):
    values = joints()
    values[1, 0, 2] = 0
    savemat(tmp_path / "joints.mat", {"joints": values.transpose(2, 1, 0)})

    labels = read_lsp(tmp_path / "joints.mat")

    assert labels.skeleton is LSP_14
    assert [image.file_name for image in labels.images] == ["im0001.jpg", "im0002.jpg", "im0003.jpg"]
    assert labels.people[1].keypoints_image[:2].tolist() == [[1, 0, 2], [11, 20, 1]]
    assert labels.people[1].box is None


def test_lspet_says_what_is_visible(tmp_path: Path):
    values = joints()
    values[1, 0] = -3, -4, 0
    savemat(tmp_path / "joints.mat", {"joints": values.transpose(1, 2, 0)})

    labels = read_lsp(tmp_path / "joints.mat")

    assert [image.file_name for image in labels.images] == ["im00001.jpg", "im00002.jpg", "im00003.jpg"]
    assert labels.people[1].keypoints_image[:2].tolist() == [[0, 0, 0], [11, 20, 2]]


def test_one_person_is_read_too(tmp_path: Path):
    savemat(tmp_path / "joints.mat", {"joints": joints()[:1].transpose(2, 1, 0)})

    assert len(read_lsp(tmp_path / "joints.mat").people) == 1


@pytest.mark.parametrize("shape", [(3, 16, 5), (2, 14, 5), (14, 3, 2, 2), (3,)])
def test_joints_of_another_shape_are_refused(shape: tuple[int, ...], tmp_path: Path):
    savemat(tmp_path / "joints.mat", {"joints": np.ones(shape)})

    with pytest.raises(AnnotationError, match=r"joints are \(.*\), not 3 x 14 x N \(LSP\) or 14 x 3 x N \(LSPET\)"):
        read_lsp(tmp_path / "joints.mat")


def test_positions_that_are_no_numbers_are_refused(tmp_path: Path):
    values = joints()
    values[0, 0, 0] = np.nan
    savemat(tmp_path / "joints.mat", {"joints": values.transpose(2, 1, 0)})

    with pytest.raises(AnnotationError, match=r"joints\.mat has positions that are not finite numbers"):
        read_lsp(tmp_path / "joints.mat")
