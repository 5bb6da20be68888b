"""Reading COCO keypoint JSON."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ValidationError

from mspn.config import PeopleSetConfig
from mspn.data.people import People
from mspn.skeleton import FACE, Skeleton, convert_keypoints

logger = logging.getLogger(__name__)


class AnnotationError(ValueError):
    """An annotation file that cannot be used as it is."""


class CocoImage(BaseModel):
    """What we need of an image's entry."""

    id: int
    file_name: str


class CocoAnnotation(BaseModel):
    """What we need of a person's entry."""

    id: int
    image_id: int
    bbox: tuple[float, float, float, float]
    keypoints: list[float] | None = None
    iscrowd: int = 0


class CocoCategory(BaseModel):
    """What we need of a category's entry."""

    id: int
    keypoints: tuple[str, ...] = ()


class CocoFile(BaseModel):
    """A COCO annotation file."""

    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]

    @property
    def person(self) -> CocoCategory | None:
        """The first category that has keypoints."""
        return next((category for category in self.categories if category.keypoints), None)


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


def read_coco_file(path: Path) -> CocoFile:
    """Read and check a COCO annotation file.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong.
    """
    content = read_json(path)
    try:
        return CocoFile.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise AnnotationError(f"{path}: {where}: {first['msg']}; it must be a COCO keypoint file") from error


def read_coco(annotations: Path, images: Path, skeleton: Skeleton) -> People:
    """Read everyone who has at least one labelled keypoint and is no crowd (the released code's rule).

    The category's keypoint names decide the order; keypoints that it does not name are not counted.

    Raises:
        AnnotationError: if the file is no COCO keypoint file, or nobody in it has a usable box and keypoints.
    """
    content = read_coco_file(annotations)
    rows = [row for row in content.annotations if not row.iscrowd and row.keypoints is not None]
    if not rows:
        raise AnnotationError(
            f"{annotations} has no annotation with keypoints; a keypoint file is needed, not boxes only"
        )
    names = content.person.keypoints if content.person else skeleton.keypoints
    source = Skeleton("category", names, (0.0,) * len(names), (), ())
    pictures = sorted(content.images, key=lambda image: image.id)
    position = {image.id: index for index, image in enumerate(pictures)}
    unknown = [row.image_id for row in rows if row.image_id not in position]
    if unknown:
        raise AnnotationError(f"{annotations}: annotation of image_id {unknown[0]}, which is not among its images")
    people = People(
        pictures=[images / image.file_name for image in pictures],
        picture_index=np.array([position[row.image_id] for row in rows]),
        image_ids=np.array([row.image_id for row in rows]),
        annotation_ids=np.array([row.id for row in rows]),
        boxes=np.array([row.bbox for row in rows], np.float64),
        keypoints_image=convert_keypoints(_keypoint_rows(rows, len(names), annotations), source, skeleton),
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
        AnnotationError: as `read_coco`, if a file of faces has another form, or if never_labelled or the faces
            name a keypoint that the skeleton does not have.
    """
    people = read_coco(root / config.annotations, root / config.images, skeleton)
    for name in (*config.never_labelled, *(FACE if config.faces else ())):
        if name not in skeleton.keypoints:
            setting = "never_labelled" if name in config.never_labelled else "faces"
            raise AnnotationError(f"{setting}: {skeleton.name} has no keypoint {name!r}")
    people.counted[:, [skeleton.keypoints.index(name) for name in config.never_labelled]] = False
    if config.faces is not None:
        _add_faces(people, root / config.faces, config.faces_from, skeleton)
    return people


def _add_faces(people: People, path: Path, lowest_score: float, skeleton: Skeleton) -> None:
    """Take proposed face keypoints, [x, y, score] by annotation id, as visible ones where the score is high enough."""
    faces = read_json(path)
    if not isinstance(faces, dict) or any(np.shape(rows) != (len(FACE), 3) for rows in faces.values()):
        raise AnnotationError(f"{path} must hold {len(FACE)} rows of [x, y, score] for each annotation id")
    columns = [skeleton.keypoints.index(name) for name in FACE]
    nothing = [[0.0, 0.0, 0.0]] * len(FACE)
    proposed = np.array([faces.get(str(number), nothing) for number in people.annotation_ids], np.float32)
    trusted = proposed[..., 2] >= lowest_score
    visible = np.concatenate([proposed[..., :2], np.full_like(proposed[..., :1], 2)], axis=-1)
    people.keypoints_image[:, columns] = np.where(trusted[..., None], visible, 0)
    people.counted[:, columns] = trusted


def _keypoint_rows(rows: list[CocoAnnotation], num_keypoints: int, path: Path) -> Float[np.ndarray, "N K 3"]:
    for row in rows:
        assert row.keypoints is not None
        if len(row.keypoints) != 3 * num_keypoints:
            raise AnnotationError(
                f"{path}: annotation {row.id} has {len(row.keypoints)} keypoint numbers, not 3 x {num_keypoints}"
            )
    keypoints = np.array([row.keypoints for row in rows], np.float32).reshape(len(rows), num_keypoints, 3)
    if not np.isfinite(keypoints[keypoints[..., 2] > 0]).all():
        raise AnnotationError(f"{path} has a labelled keypoint whose position is not a finite number")
    return keypoints
