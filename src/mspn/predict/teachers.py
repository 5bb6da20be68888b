"""Teachers: networks that label people of photos without labels, alone or together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float

from mspn.errors import DetectorError, InvalidValueError
from mspn.inference.devices import Precision, choose_device
from mspn.inference.onnx_session import open_session
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.crop import cut_crop, frame_from_box, transform_points
from mspn.structures.image import Image
from mspn.structures.skeleton import COCO_17, Skeleton


class Teacher(Protocol):
    """Estimates the keypoints of people in given boxes."""

    @property
    def skeleton(self) -> Skeleton:
        """Of the keypoints."""
        ...

    def estimate(self, image: Image, boxes: Sequence[Box]) -> Float[np.ndarray, "N K 3"]:
        """(x, y, score) in image pixels.

        Raises:
            ValueError: if a box cannot be cut out.
        """
        ...


def load_teacher(model: str, device: str, precision: Precision, batch_size: int) -> Teacher:
    """A teacher from a name or file of weights, or a MoveNet in an ONNX file.

    Raises:
        WeightsError: if there are no such weights.
        DetectorError: if the ONNX file cannot be read, or is of another kind.
    """
    if model.lower().endswith(".onnx"):
        return MoveNetTeacher(Path(model), choose_device(device))
    return PoseTeacher(model, device, precision, batch_size)


class PoseTeacher:
    """A pose network of ours; crops are not mirrored, since `mspn.predict.pseudo_labels` mirrors images itself."""

    def __init__(self, model: str, device: str, precision: Precision, batch_size: int) -> None:
        estimator = PoseEstimator(model, "none", device=device, precision=precision, batch_size=batch_size, flip=False)
        self.skeleton = estimator.recipe.keypoint_table
        self._top_down = estimator.top_down

    def estimate(self, image: Image, boxes: Sequence[Box]) -> Float[np.ndarray, "N K 3"]:
        poses = self._top_down.estimate([self._top_down.crop(image, Detection(box, 1.0)) for box in boxes])
        return np.array([np.column_stack([pose.keypoints_image, pose.keypoint_scores]) for pose in poses])


_MOVENET_PADDING = 1.25


class MoveNetTeacher:
    """MoveNet SinglePose: a square crop (1, S, S, 3) of int32 RGB in; (1, 1, 17, 3) out: y, x as shares, score."""

    skeleton = COCO_17

    def __init__(self, path: Path, device: torch.device) -> None:
        self._session = open_session(path, device, DetectorError, "teacher")
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape: list[object] = list(inputs[0].shape)
        side = shape[1] if len(shape) == 4 else None
        fits = len(inputs) == len(outputs) == 1 and inputs[0].type == "tensor(int32)"
        if not isinstance(side, int) or not fits or shape[2:] != [side, 3] or outputs[0].shape[-2:] != [17, 3]:
            raise DetectorError(
                f"{path} is no MoveNet SinglePose, (1, side, side, 3) of int32 in, (1, 1, 17, 3) out; other teachers"
                " are names or .safetensors files of pose networks"
            )
        self._input_name = inputs[0].name
        self._size = Size(side, side)

    def estimate(self, image: Image, boxes: Sequence[Box]) -> Float[np.ndarray, "N K 3"]:
        poses = np.zeros((len(boxes), len(self.skeleton.keypoints), 3))
        for pose, box in zip(poses, boxes, strict=True):
            frame = frame_from_box(box, self._size, (_MOVENET_PADDING, _MOVENET_PADDING))
            crop = cut_crop(image.pixels, frame)[None].astype(np.int32)
            rows = self._session.run(None, {self._input_name: crop})[0].reshape(-1, 3)
            points_crop = rows[:, 1::-1] * [self._size.width, self._size.height]
            pose[:] = np.column_stack([transform_points(points_crop, frame.crop_to_image), rows[:, 2]])
        return poses


def common_skeleton(teachers: Sequence[Teacher]) -> Skeleton:
    """The skeleton of all teachers.

    Raises:
        ValueError: if they have different keypoints.
    """
    skeletons = [teacher.skeleton for teacher in teachers]
    if any(skeleton.keypoints != skeletons[0].keypoints for skeleton in skeletons):
        names = ", ".join(skeleton.name for skeleton in skeletons)
        raise InvalidValueError(f"teachers of different keypoints cannot agree: {names}; name networks of one skeleton")
    return skeletons[0]
