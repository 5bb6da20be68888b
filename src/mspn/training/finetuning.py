"""Fine-tuning: what the labels of few images ask of the network, and which of them are held out."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mspn.checkpoints.format import read_metadata
from mspn.checkpoints.hub import find_weights
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.config.data import DataConfig, LabeledSetConfig, PeopleSetConfig
from mspn.config.embedded_recipes import finetune
from mspn.config.recipe import Recipe
from mspn.errors import AnnotationError, MissingFileError, WeightsError
from mspn.evaluation.predicting import predict_labeled
from mspn.inference.devices import choose_device, choose_precision
from mspn.io.files import prepare_folder
from mspn.labels.formats import read_labels
from mspn.labels.formats.coco import write_coco
from mspn.labels.label_set import LabeledSet, box_around, split_by_image, with_sizes
from mspn.predict.estimator import PoseEstimator
from mspn.structures.shapes import Float
from mspn.structures.skeleton import is_person_category, match_keypoints

logger = logging.getLogger(__name__)

TRAIN_FILE, VAL_FILE = "train.json", "val.json"
"""In the run folder: the labels to learn from, and those of the held-out images."""
_HELD_OUT = 0.2
"""Share of the images that measure."""
_MIN_MIRRORED = 0.1
"""Of the pairs of poses, so large a share must be mirror images rather than turned."""
_MIN_DETERMINANT = 0.01
"""Of the product of two poses of size 1, of 0.25 at most."""
_MAX_COMPARED = 300
_MAX_LOOKED_AT = 64
"""People whose labels are compared with what the network says before it is fine-tuned."""
_MIN_LABELS = 5
"""Of a keypoint; fewer may be near by chance."""
_NEAR, _FAR = 0.1, 0.3
"""Distances from a label, by the longer side of the box; beyond the second all are alike."""
_MIN_NEAR = 0.7
"""Share of labels."""


class FinetuningPlan(NamedTuple):
    """How a network is to be fine-tuned."""

    recipe: Recipe
    train: LabeledSet
    validation: LabeledSet

    def write_labels(self, run: Path) -> None:
        """Write the labels into the run folder, where the recipe expects them."""
        prepare_folder(run)
        write_coco(self.train, run / TRAIN_FILE)
        write_coco(self.validation, run / VAL_FILE)


def plan_finetuning(
    source: str, labels: Path, run: Path, *, images: Path | None = None, category: str | None = None
) -> FinetuningPlan:
    """Make the recipe that fits a trained network to labels of any keypoints and any format.

    A fifth of the images is held out. Where each image shows one animal or thing that is no person, the network is to
    see whole images, since no detector would find it later.

    Args:
        source: name or file of the weights to start from.
        labels: file, or folder where the format is one.
        run: the run folder.
        images: folder of the images; None: as `LabeledSetConfig.image_folder`.
        category: whom to read, as `read_labels`.

    Raises:
        AnnotationError: if the labels are of no use, or label fewer than two images.
        ImageError: if the size of an image is needed, which cannot be read.
        MissingFileError: if there is no folder of images.
        WeightsError: if the weights cannot be read, or are of a person detector.
    """
    metadata = read_metadata(find_weights(source))
    if not isinstance(metadata, CheckpointMetadata):
        raise WeightsError(f"{source} is a person detector; name a pose network, such as default")
    folder = LabeledSetConfig(annotations=str(labels), images=images and str(images)).image_folder(Path()).absolute()
    if not folder.is_dir():
        raise MissingFileError(f"no folder of images at {folder}; --images is the folder of the images")
    labeled = _only_labeled(read_labels(labels, category=category), labels)
    whose = labeled.category or labeled.skeleton.category
    skeleton = labeled.skeleton.model_copy(update={"category": whose})
    train, validation = split_by_image(labeled, _HELD_OUT, seed=0)
    sees_whole = _shows_one_each(labeled) and not is_person_category(whose)
    if sees_whole:
        logger.info("one %s an image: the network sees all of it, not boxes (data.boxes=labeled)", whose or "thing")
    mirror = bool(skeleton.mirrored_pairs) or shows_both_sides(_keypoints(train))
    if not mirror:
        logger.info("no image looks like the mirror image of another: training mirrors none")
    images_of_set = str(folder)
    other_names = find_known_keypoints(PoseEstimator(source, "none", precision="float32"), train, folder)
    same_names = match_keypoints(metadata.recipe.keypoint_table.keypoints, skeleton.keypoints)
    recipe = finetune(
        metadata.recipe,
        skeleton,
        DataConfig(
            root=str(run.absolute()),
            train=(PeopleSetConfig(annotations=TRAIN_FILE, images=images_of_set),),
            validation=PeopleSetConfig(annotations=VAL_FILE, images=images_of_set),
            boxes="image" if sees_whole else "labeled",
        ),
        num_people=len(train.people),
        num_held_out=len(validation.people),
        num_known=len({*same_names, *other_names}),
        aspect_ratio=_aspect_ratio(labeled, folder) if sees_whole else _aspect_ratio_of_boxes(labeled),
        mirror=mirror,
    )
    fast = choose_precision("auto", choose_device("auto"))
    start = {"initial_weights": source, "initial_keypoints": other_names, "precision": fast}
    return FinetuningPlan(recipe.model_copy(update={"train": recipe.train.model_copy(update=start)}), train, validation)


def find_known_keypoints(source: PoseEstimator, labels: LabeledSet, images: Path) -> dict[str, str]:
    """Which keypoints a network knows by another name: its own that is where the labels are, by the labels' name.

    That is the one of its keypoints with the least mean distance from the labels, if seven of ten labels are within a
    tenth of the longer side of the box. Keypoints of the same name are left out, and those with few labels.

    Args:
        source: the network.
        labels: of which some are looked at.
        images: folder of the images.
    """
    theirs, ours = source.recipe.keypoint_table.keypoints, labels.skeleton.keypoints
    same = match_keypoints(theirs, ours)
    if len(same) == len(ours):
        return {}
    chosen = labels.people[:_MAX_LOOKED_AT]
    found, _ = predict_labeled(source, replace(labels, people=chosen), images)
    boxed = [(person, person.box or box_around(person.keypoints_image)) for person in chosen]
    known = {}
    for position, name in enumerate(ours):
        if name in same:
            continue
        distances = [
            np.linalg.norm(found.keypoints_image[person.id] - person.keypoints_image[position, :2], axis=1)
            / max(box.width, box.height, 1)
            for person, box in boxed
            if box is not None and person.id in found.keypoints_image and person.keypoints_image[position, 2] > 0
        ]
        if len(distances) < _MIN_LABELS:
            continue
        nearest = int(np.clip(distances, 0, _FAR).mean(0).argmin())
        if np.mean([away[nearest] <= _NEAR for away in distances]) >= _MIN_NEAR:
            known[name] = theirs[nearest]
    return known


def _only_labeled(labels: LabeledSet, path: Path) -> LabeledSet:
    """People with labeled keypoints, and their images."""
    people = [person for person in labels.people if not person.is_crowd and (person.keypoints_image[:, 2] > 0).any()]
    if not people:
        raise AnnotationError(f"{path} has nobody with a labeled keypoint (visibility 1 or 2); label some first")
    shown = {person.image_id for person in people}
    return replace(labels, people=people, images=[image for image in labels.images if image.id in shown])


def _shows_one_each(labels: LabeledSet) -> bool:
    names = {image.id: image.file_name for image in labels.images}
    return max(Counter(names[person.image_id] for person in labels.people if person.image_id in names).values()) == 1


def _keypoints(labels: LabeledSet) -> Float[np.ndarray, "N K 3"]:
    return np.array([person.keypoints_image for person in labels.people[:_MAX_COMPARED]])


def shows_both_sides(keypoints_image: Float[np.ndarray, "N K 3"]) -> bool:
    """Whether some poses look like mirror images of others, however each is turned.

    Then mirrored images look as if they could be of the set: animals without left and right that walk either way. A
    machine, or letters, are never seen mirrored.

    Args:
        keypoints_image: (x, y, visibility) of N poses.
    """
    labeled = keypoints_image[..., 2:] > 0
    counts = np.maximum(labeled.sum(1, keepdims=True), 1)
    points = np.where(labeled, keypoints_image[..., :2], 0)
    centered = np.where(labeled, points - points.sum(1, keepdims=True) / counts, 0)
    shapes = centered / np.maximum(np.linalg.norm(centered, axis=(1, 2), keepdims=True), 1e-9)
    # The best rotation from one pose to another mirrors where the determinant is below 0. Near 0, as where keypoints
    # lie on a line, either is as good.
    determinants = np.linalg.det(np.einsum("nki,mkj->nmij", shapes, shapes))
    sure = np.abs(determinants) > _MIN_DETERMINANT
    np.fill_diagonal(sure, val=False)
    return not sure.any() or bool((determinants[sure] < 0).mean() >= _MIN_MIRRORED)


def _aspect_ratio(labels: LabeledSet, images: Path) -> float:
    """Width by height of the image in the middle."""
    sizes = [image.known_size(images) for image in with_sizes(labels, images).images]
    return float(np.median([size.width / size.height for size in sizes]))


def _aspect_ratio_of_boxes(labels: LabeledSet) -> float:
    boxes = [person.box or box_around(person.keypoints_image) for person in labels.people]
    ratios = [box.width / box.height for box in boxes if box is not None and box.height > 0]
    return float(np.median(ratios)) if ratios else 1.0
