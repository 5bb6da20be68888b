"""Leeds Sports Pose and its extended training set: `joints.mat`, one person an image, 14 keypoints."""

from pathlib import Path

import numpy as np

from mspn.errors import AnnotationError
from mspn.io.matlab import read_mat
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet
from mspn.structures.skeleton import LSP_14, Skeleton


def read_lsp(path: Path, _skeleton: Skeleton | None = None) -> LabeledSet:
    """Read joints.mat of LSP (3 x 14 x N) or of LSPET (14 x 3 x N); positions are taken as they are.

    LSP's third row says that a keypoint is occluded. LSPET's third column says that one is visible; where it does
    not, there is no position, and the keypoint is unlabeled. Images are im0001.jpg, ... and im00001.jpg, ...

    Raises:
        AnnotationError: if the file cannot be read or is of another form.
    """
    joints = np.asarray(read_mat(path, "joints"))
    joints = joints.reshape(*joints.shape, 1) if joints.ndim == 2 else joints  # one person comes without the axis
    shape = joints.shape[:2]
    if shape not in ((3, 14), (14, 3)) or joints.ndim != 3 or not np.issubdtype(joints.dtype, np.number):
        raise AnnotationError(f"{path}: joints are {joints.shape}, not 3 x 14 x N (LSP) or 14 x 3 x N (LSPET)")
    if not np.isfinite(joints).all():
        raise AnnotationError(f"{path} has positions that are not finite numbers")
    if shape == (3, 14):
        keypoints = joints.transpose(2, 1, 0).astype(np.float64)
        keypoints[..., 2] = np.where(keypoints[..., 2] > 0, 1, 2)
        digits = 4
    else:
        keypoints = joints.transpose(2, 0, 1).astype(np.float64)
        keypoints[..., 2] = np.where(keypoints[..., 2] > 0, 2, 0)
        keypoints[keypoints[..., 2] == 0] = 0
        digits = 5
    numbers = range(1, len(keypoints) + 1)
    return LabeledSet(
        LSP_14,
        [LabeledImage(number, f"im{number:0{digits}}.jpg") for number in numbers],
        [LabeledPerson(number, number, rows, box=None) for number, rows in zip(numbers, keypoints, strict=True)],
    )
