"""Contact sheet of the people with the worst predictions, ground truth beside prediction."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from mspn.errors import ImageError
from mspn.evaluation.analysis import Diagnosed
from mspn.evaluation.analysis.keypoint_errors import ERRORS
from mspn.evaluation.matching import UNMATCHED, Matching
from mspn.io.images import read_image
from mspn.labels.formats.coco import CocoPeople
from mspn.labels.label_set import box_around
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import CropFrame, cut_crop, frame_from_box, transform_points
from mspn.structures.pose import Pose
from mspn.structures.skeleton import Skeleton
from mspn.visualize.contact_sheet import arrange_tiles, join_panels
from mspn.visualize.draw import draw_labels, draw_poses

MAX_PEOPLE = 24
_COLUMNS = 4
_PANEL = Size(height=256, width=192)
_PADDING = (1.35, 1.25)
_THICKNESS = 2
_POINT_SIDE = 32.0
"""Image pixels around a person of whom one point is known."""
_HEADINGS = (
    "Ground truth beside prediction, worst first (object keypoint similarity)",
    "left orange, right blue   ground truth: disc visible, ring occluded   prediction: fainter for a lower score",
)


def draw_worst(
    ground_truth: CocoPeople, diagnosed: Diagnosed, images: Path, skeleton: Skeleton
) -> UInt8[np.ndarray, "H W 3"] | None:
    """Draw the counted people in order of rising similarity, those without a prediction first.

    People in images that cannot be read are left out; None if none are left.
    """
    matching = diagnosed.matching
    file_names = {image.id: image.file_name for image in ground_truth.images}
    tiles = []
    for person in _order_people(diagnosed):
        row = ground_truth.annotations[person]
        path = images / file_names[row.image_id]
        try:
            pixels = read_image(path)
        except (ImageError, OSError):
            continue
        labels = ground_truth.keypoints_image[person].copy()
        frame = frame_from_box(_shown_box(Box(*row.bbox), labels), _PANEL, _PADDING)
        crop = cut_crop(pixels, frame)
        labels[:, :2] = transform_points(labels[:, :2], frame.image_to_crop)
        shown = _choose_predictions(matching, person, row.image_id)
        panels = [
            draw_labels(crop, labels, skeleton, thickness=_THICKNESS),
            draw_poses(
                crop, [_pose_in_crop(keypoints, frame, skeleton) for keypoints in matching.keypoints_image[shown]]
            ),
        ]
        tiles.append(join_panels(panels, _describe(diagnosed, person, row.id, path.name)))
        if len(tiles) == MAX_PEOPLE:
            break
    return arrange_tiles(tiles, _HEADINGS, columns=_COLUMNS) if tiles else None


def _order_people(diagnosed: Diagnosed) -> Int[np.ndarray, " M"]:
    matching = diagnosed.matching
    similarity = np.append(matching.similarity, 0.0)[matching.prediction_of]  # UNMATCHED, -1, takes the appended 0
    people = np.flatnonzero(matching.is_counted)
    order: Int[np.ndarray, " M"] = people[np.argsort(similarity[people], kind="stable")]
    return order


def _shown_box(box: Box, labels: Float[np.ndarray, "K 3"]) -> Box:
    """The labeled box; where that is empty, one around the labeled keypoints."""
    if min(box.width, box.height) > 0:
        return box
    x, y = labels[labels[:, 2] > 0, :2].mean(0).tolist()
    return box_around(labels) or Box(x - _POINT_SIDE / 2, y - _POINT_SIDE / 2, _POINT_SIDE, _POINT_SIDE)


def _choose_predictions(matching: Matching, person: int, image_id: int) -> Int[np.ndarray, " S"]:
    """The person's prediction; without one, the unmatched predictions in the image."""
    prediction = matching.prediction_of[person]
    if prediction != UNMATCHED:
        return np.array([prediction])
    unmatched: Int[np.ndarray, " S"] = np.flatnonzero(matching.is_background & (matching.image_ids == image_id))
    return unmatched


def _pose_in_crop(keypoints_image: Float[np.ndarray, "K 3"], frame: CropFrame, skeleton: Skeleton) -> Pose:
    """A prediction in coordinates of the crop."""
    return Pose(
        skeleton=skeleton,
        keypoints_image=transform_points(keypoints_image[:, :2], frame.image_to_crop),
        keypoint_scores=keypoints_image[:, 2].clip(0, 1),
        score=1.0,
        ranking_score=1.0,
        box=Box(0, 0, _PANEL.width, _PANEL.height),
        box_score=1.0,
    )


def _describe(diagnosed: Diagnosed, person: int, annotation_id: int, name: str) -> Sequence[str]:
    prediction = diagnosed.matching.prediction_of[person]
    if prediction == UNMATCHED:
        return f"#{annotation_id}  missed (right: false positives)", name
    counts = [(kind.name.lower(), int((diagnosed.outcomes[prediction] == kind).sum())) for kind in ERRORS]
    errors = ", ".join(f"{count} {kind}" for kind, count in counts if count)
    return f"#{annotation_id}  {diagnosed.matching.similarity[prediction]:.3f}  {errors}", name
