"""Reading COCO keypoint JSON."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ValidationError

from mspn.data.people import People, PicturePaths
from mspn.data_config import PeopleSetConfig
from mspn.settings import first_problem
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
    category_id: int | None = None
    bbox: tuple[float, float, float, float]
    keypoints: list[float] | None = None
    num_keypoints: int | None = None
    area: float | None = None
    iscrowd: int = 0


class CocoCategory(BaseModel):
    """What we need of a category's entry."""

    id: int
    keypoints: tuple[str, ...] = ()


class _CocoFile(BaseModel):
    images: list[CocoImage]
    annotations: list[CocoAnnotation]
    categories: list[CocoCategory]


@dataclass(frozen=True, eq=False)
class CocoPeople:
    """The people of a COCO keypoint file, crowds too."""

    images: list[CocoImage]
    category_id: int
    annotations: list[CocoAnnotation]
    """One for each of N people; boxes and keypoints are as the file has them."""
    keypoints_image: Float[np.ndarray, "N K 3"]
    """(x, y, visibility) in the order of the skeleton that was asked for."""
    named: Bool[np.ndarray, " K"]
    """False for keypoints that the file's category does not have."""


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


def read_coco_people(path: Path, skeleton: Skeleton) -> CocoPeople:
    """Read and check a COCO keypoint file; the category's keypoint names, if it has any, decide the order.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong, or if nobody has keypoints.
    """
    try:
        file = _CocoFile.model_validate(read_json(path))
    except ValidationError as error:
        raise AnnotationError(f"{path}: {first_problem(error, 'the file')}; it must be a COCO keypoint file") from error
    if not file.categories:
        raise AnnotationError(f"{path} has no category; it must be a COCO keypoint file")
    category = next((category for category in file.categories if category.keypoints), file.categories[0])
    people = [row for row in file.annotations if row.category_id in (None, category.id) and row.keypoints is not None]
    if not people:
        raise AnnotationError(f"{path} has no annotation with keypoints; a keypoint file is needed, not boxes only")
    known = {image.id for image in file.images}
    names = category.keypoints or skeleton.keypoints
    for row in people:
        if row.image_id not in known:
            raise AnnotationError(f"{path}: annotation of image_id {row.image_id}, which is not among its images")
        if len(row.keypoints or ()) != 3 * len(names):
            raise AnnotationError(
                f"{path}: annotation {row.id} has {len(row.keypoints or ())} keypoint numbers, not 3 x {len(names)}"
            )
    rows = np.array([row.keypoints for row in people], np.float64).reshape(len(people), len(names), 3)
    if not np.isfinite(rows[rows[..., 2] > 0]).all():
        raise AnnotationError(f"{path} has a labelled keypoint whose position is not a finite number")
    source = Skeleton("category", names, (0.0,) * len(names), (), ())
    return CocoPeople(
        images=file.images,
        category_id=category.id,
        annotations=people,
        keypoints_image=convert_keypoints(rows, source, skeleton),
        named=np.array([name in names for name in skeleton.keypoints]),
    )


def read_coco(annotations: Path, images: Path, skeleton: Skeleton) -> People:
    """Read everyone who has at least one labelled keypoint and is no crowd (the released code's rule).

    Keypoints that the file's category does not name are not counted.

    Raises:
        AnnotationError: as `read_coco_people`, or if nobody has a usable box and a labelled keypoint.
    """
    content = read_coco_people(annotations, skeleton)
    rows = content.annotations
    pictures = sorted(content.images, key=lambda image: image.id)
    position = {image.id: index for index, image in enumerate(pictures)}
    people = People(
        pictures=PicturePaths.of(images / image.file_name for image in pictures),
        picture_index=np.array([position[row.image_id] for row in rows]),
        image_ids=np.array([row.image_id for row in rows]),
        annotation_ids=np.array([row.id for row in rows]),
        boxes=np.array([row.bbox for row in rows], np.float64),
        keypoints_image=content.keypoints_image.astype(np.float32),
        counted=np.tile(content.named, (len(rows), 1)),
    )
    is_person = ~np.array([bool(row.iscrowd) for row in rows])
    has_box = np.isfinite(people.boxes).all(1) & (people.boxes[:, 2:] > 0).all(1)
    if not has_box.all():
        logger.warning("%s: %d people left out, their boxes are empty or not finite", annotations, (~has_box).sum())
    chosen = is_person & has_box & (people.keypoints_image[:, :, 2] > 0).any(1)
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
