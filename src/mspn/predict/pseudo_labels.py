"""Pseudo-labels: keypoints of people in photos without labels, where teachers agree on them; and pre-labels.

Teachers are networks, alone or together. Each teacher sees each person plain and mirrored. A keypoint counts where
all these views are close to their mean, in the distances of COCO's object keypoint similarity, and sure enough.
Where they are not, nothing is known: it counts neither as labeled nor as absent.

Pre-labels, for a labeling tool, are what one network says of photos, and of which it is least sure.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from pydantic import Field

from mspn.config.recipe import Recipe
from mspn.errors import DetectorError, InvalidValueError
from mspn.inference.devices import Precision, choose_device, open_session
from mspn.labels.label_set import IGNORED, LabeledImage, LabeledPerson, LabeledSet, area_of
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Box, Detection, Size, nms, to_xyxy
from mspn.structures.crop import cut_crop, frame_from_box, transform_points
from mspn.structures.image import Image
from mspn.structures.oks import keypoint_similarity
from mspn.structures.pose import Pose
from mspn.structures.settings import Settings
from mspn.structures.shapes import Float
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


MIN_BOX = Size(height=56, width=16)
"""In pixels; smaller people are too blurred to be learned from."""
_MAX_IOU = 0.6
"""Of a box with one of a higher score, which shows the same person."""
_DIGITS = 2


class AgreementRule(Settings):
    """Which keypoints of a person count, and which people."""

    agreement: float = Field(0.5, ge=0, le=1)
    """Lowest similarity (OKS of one keypoint) of any view with the mean of all."""
    min_score: float = Field(0.3, ge=0, le=1)
    """Lowest mean score of a keypoint."""
    min_keypoints: int = Field(6, ge=1)
    """A person with fewer that count is left out."""


class Agreement(NamedTuple):
    """What the views of N people say together."""

    points_image: Float[np.ndarray, "N K 2"]
    """Mean of the views, weighted by their scores."""
    similarity: Float[np.ndarray, "N K"]
    """Of the view that is furthest from the mean, 0 to 1."""
    scores: Float[np.ndarray, "N K"]
    """Mean of the views."""


def select_boxes(detections: Sequence[Detection], threshold: float) -> list[Detection]:
    """Boxes of sufficient score and size that no better box covers."""
    large = [
        detection
        for detection in detections
        if detection.score >= threshold
        and detection.box.width >= MIN_BOX.width
        and detection.box.height >= MIN_BOX.height
    ]
    scores = np.array([detection.score for detection in large])
    corners = to_xyxy([detection.box for detection in large])
    return [large[index] for index in sorted(nms(corners, scores, np.zeros(len(large), int), _MAX_IOU))]


def compare_views(image: Image, boxes: Sequence[Box], teachers: Sequence[Teacher]) -> Agreement:
    """Ask each teacher for the people in an image and in its mirror image.

    Raises:
        ValueError: if a box cannot be cut out of the image.
    """
    skeleton, width = teachers[0].skeleton, image.size.width
    mirror = replace(image, pixels=np.ascontiguousarray(image.pixels[:, ::-1]))
    mirrored_boxes = [box._replace(left=width - 1 - box.left - box.width) for box in boxes]
    views = []
    for teacher in teachers:
        mirrored = teacher.estimate(mirror, mirrored_boxes)[:, skeleton.mirror_order]
        mirrored[..., 0] = width - 1 - mirrored[..., 0]
        views += [teacher.estimate(image, boxes), mirrored]
    poses = np.array(views)
    weights = np.maximum(poses[..., 2:], 1e-6)
    mean = (poses[..., :2] * weights).sum(0) / weights.sum(0)
    distances = np.linalg.norm(poses[..., :2] - mean, axis=-1)
    areas = np.array([area_of(_person(box, skeleton)) for box in boxes])
    similarity = keypoint_similarity(distances, areas[:, None], np.array(skeleton.sigmas))
    return Agreement(mean, similarity.min(0), poses[..., 2].mean(0))


def label_people(
    image: Image, detections: Sequence[Detection], teachers: Sequence[Teacher], rule: AgreementRule
) -> list[LabeledPerson]:
    """The people of an image on enough of whose keypoints the teachers agree; ids are still 0.

    Args:
        image: a photo.
        detections: of people, see `select_boxes`.
        teachers: of one skeleton, see `common_skeleton`.
        rule: what counts.

    Raises:
        ValueError: if a box cannot be cut out of the image.
    """
    if not detections:
        return []
    agreement = compare_views(image, [detection.box for detection in detections], teachers)
    limits = (image.size.width - 1, image.size.height - 1)
    is_inside = ((agreement.points_image >= 0) & (agreement.points_image <= limits)).all(-1)
    counts = (agreement.similarity >= rule.agreement) & (agreement.scores >= rule.min_score) & is_inside
    skeleton = teachers[0].skeleton
    people = []
    for row, detection in enumerate(detections):
        if counts[row].sum() < rule.min_keypoints:
            continue
        keypoints = np.column_stack([agreement.points_image[row].round(_DIGITS), np.full(len(counts[row]), 2.0)])
        keypoints[~counts[row]] = 0
        ignored = [name for name, does_count in zip(skeleton.keypoints, counts[row], strict=True) if not does_count]
        extra = {"keypoint_scores": agreement.scores[row].round(_DIGITS).tolist(), "box_score": detection.score}
        people.append(
            replace(
                _person(detection.box, skeleton),
                keypoints_image=keypoints,
                extra=extra | ({IGNORED: ignored} if ignored else {}),
            )
        )
    return people


def _person(box: Box, skeleton: Skeleton) -> LabeledPerson:
    return LabeledPerson(0, 0, np.zeros((len(skeleton.keypoints), 3)), box)


class Suggestion(NamedTuple):
    """What a network says of a photo."""

    file_name: str
    size: Size
    poses: Sequence[Pose]

    @property
    def certainty(self) -> float:
        """Mean keypoint score of the person of whom the network is least sure, 0 to 1; 1 where it finds nobody.

        Peaks of maps averaged with those of the mirrored crop are lower where the two differ, too.
        """
        return min((float(pose.keypoint_scores.mean()) for pose in self.poses), default=1.0)


def rank_suggestions(suggestions: Sequence[Suggestion], count: int) -> list[Suggestion]:
    """The `count` photos of which a network is least sure, these first; photos where it finds nobody come last."""
    return sorted(suggestions, key=lambda suggestion: (not suggestion.poses, suggestion.certainty))[:count]


def as_labels(suggestions: Sequence[Suggestion], recipe: Recipe) -> LabeledSet:
    """Suggestions of a recipe's network as labels, in their order; images and people are numbered from 1 on.

    Keypoints outside the image are unlabeled. A network that sees whole images gives no boxes.
    """
    has_boxes = recipe.data.boxes == "labeled"
    images: list[LabeledImage] = []
    people: list[LabeledPerson] = []
    for suggestion in suggestions:
        images.append(LabeledImage(len(images) + 1, suggestion.file_name, suggestion.size))
        for pose in suggestion.poses:
            keypoints = _labeled_inside(pose, suggestion.size)
            people.append(LabeledPerson(len(people) + 1, len(images), keypoints, pose.box if has_boxes else None))
    skeleton = recipe.keypoint_table
    return LabeledSet(skeleton, images, people, category=skeleton.category)


def _labeled_inside(pose: Pose, size: Size) -> Float[np.ndarray, "K 3"]:
    """(x, y, visibility): 2 within the image, else all 0."""
    points = pose.keypoints_image.round(_DIGITS)
    is_inside = ((points >= 0) & (points <= (size.width - 1, size.height - 1))).all(axis=1, keepdims=True)
    return np.where(is_inside, np.column_stack([points, np.full(len(points), 2.0)]), 0)
