"""Reading COCO keypoint JSON."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mspn.config import PeopleSetConfig
from mspn.data.people import People
from mspn.skeleton import FACE, Skeleton, convert_keypoints

logger = logging.getLogger(__name__)


class AnnotationError(ValueError):
    """An annotation file that cannot be used as it is."""


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        AnnotationError: if there is none or it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnnotationError(f"no file at {path}; check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path} is not JSON ({error}); is the file whole?") from error


def read_coco(annotations: Path, images: Path, skeleton: Skeleton) -> People:
    """Read everyone who has at least one labelled keypoint and is no crowd (the released code's rule).

    The category's keypoint names decide the order; keypoints that it does not name are not counted.

    Raises:
        AnnotationError: if the file is no COCO keypoint file, or nobody in it has a usable box and keypoints.
    """
    content = read_json(annotations)
    missing = [
        key for key in ("images", "annotations", "categories") if not isinstance(content, dict) or key not in content
    ]
    if missing:
        raise AnnotationError(f"{annotations} has no {missing[0]!r}; it must be a COCO keypoint file")
    file_names = {image["id"]: image["file_name"] for image in content["images"]}
    names = _category_keypoints(content["categories"], skeleton)
    rows = [row for row in content["annotations"] if not row.get("iscrowd") and row.get("keypoints") is not None]
    if not rows:
        raise AnnotationError(
            f"{annotations} has no annotation with keypoints; a keypoint file is needed, not boxes only"
        )
    source = Skeleton("category", names, (0.0,) * len(names), (), ())
    keypoints = convert_keypoints(_keypoint_rows(rows, len(names), annotations), source, skeleton)
    unknown = [row["image_id"] for row in rows if row["image_id"] not in file_names]
    if unknown:
        raise AnnotationError(f"{annotations}: annotation of image_id {unknown[0]}, which is not among its images")
    ids = sorted(file_names)
    position = {image_id: index for index, image_id in enumerate(ids)}
    people = People(
        pictures=[images / file_names[image_id] for image_id in ids],
        picture_index=np.array([position[row["image_id"]] for row in rows]),
        image_ids=np.array([row["image_id"] for row in rows]),
        annotation_ids=np.array([row["id"] for row in rows]),
        boxes=np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4),
        keypoints_image=keypoints,
        counted=np.tile([name in names for name in skeleton.keypoints], (len(rows), 1)),
    )
    has_box = np.isfinite(people.boxes).all(1) & (people.boxes[:, 2:] > 0).all(1)
    if not has_box.all():
        logger.warning("%s: %d people left out, their boxes are empty or not finite", annotations, (~has_box).sum())
    chosen = has_box & (people.keypoints_image[:, :, 2] > 0).any(1)
    if not chosen.any():
        raise AnnotationError(f"{annotations} has nobody with a box and a labelled keypoint (visibility 1 or 2)")
    return people.take(chosen)


def read_people_set(config: PeopleSetConfig, root: Path, skeleton: Skeleton) -> People:
    """Read one set of a recipe, its proposed faces merged in.

    Raises:
        AnnotationError: as `read_coco`, or if never_labelled names no keypoint of the skeleton.
    """
    people = read_coco(root / config.annotations, root / config.images, skeleton)
    for name in config.never_labelled:
        if name not in skeleton.keypoints:
            raise AnnotationError(f"never_labelled: {skeleton.name} has no keypoint {name!r}")
    people.counted[:, [skeleton.keypoints.index(name) for name in config.never_labelled]] = False
    if config.faces is not None:
        _add_faces(people, read_json(root / config.faces), config.faces_from, skeleton)
    return people


def _add_faces(people: People, faces: dict[str, list[list[float]]], lowest_score: float, skeleton: Skeleton) -> None:
    """Take proposed face keypoints, [x, y, score] by annotation id, as visible ones where the score is high enough."""
    columns = [skeleton.keypoints.index(name) for name in FACE]
    nothing = [[0.0, 0.0, 0.0]] * len(FACE)
    proposed = np.array([faces.get(str(number), nothing) for number in people.annotation_ids], np.float32)
    trusted = proposed[..., 2] >= lowest_score
    visible = np.concatenate([proposed[..., :2], np.full_like(proposed[..., :1], 2)], axis=-1)
    people.keypoints_image[:, columns] = np.where(trusted[..., None], visible, 0)
    people.counted[:, columns] = trusted


def _category_keypoints(categories: Sequence[dict[str, Any]], skeleton: Skeleton) -> tuple[str, ...]:
    for category in categories:
        if category.get("keypoints"):
            return tuple(category["keypoints"])
    return skeleton.keypoints


def _keypoint_rows(rows: Sequence[dict[str, Any]], num_keypoints: int, path: Path) -> np.ndarray:
    for row in rows:
        if len(row["keypoints"]) != 3 * num_keypoints:
            raise AnnotationError(
                f"{path}: annotation {row.get('id')} has {len(row['keypoints'])} keypoint numbers,"
                f" not 3 x {num_keypoints}"
            )
    return np.array([row["keypoints"] for row in rows], np.float32).reshape(len(rows), num_keypoints, 3)
