"""Labeled people of one or several data sets, as flat arrays that all processes share."""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mspn.config.data import PeopleSetConfig, named_skeleton
from mspn.datasets.packed import open_pack
from mspn.datasets.workers import SharedArrays
from mspn.errors import AnnotationError
from mspn.io.images import ReducedImage, decode_reduced_image, read_reduced_image
from mspn.labels.corrections import correct_labels, read_corrections
from mspn.labels.formats import read_labels
from mspn.labels.label_set import IGNORED, LabeledSet, box_around, ignored_keypoints
from mspn.labels.reading import check_keypoint_names, check_label_table, read_json
from mspn.labels.units import suspect_units, warn_of_units
from mspn.structures.boxes import Size
from mspn.structures.shapes import Bool, Float, Int, UInt8
from mspn.structures.skeleton import FACE, Skeleton, convert_keypoints, match_keypoints


@dataclass(frozen=True, eq=False)
class ImagePaths(SharedArrays):
    """Paths of P images in one array; see `SharedArrays` for the reason.

    A packed image has the path FILE.zip/SET/NAME.
    """

    encoded: UInt8[np.ndarray, " bytes"]
    """All paths one after another, as the file system writes them."""
    ends: Int[np.ndarray, " P"]
    """End of each path in `encoded`."""
    spans: Int[np.ndarray, "P 2"]
    """First byte and number of bytes of each packed image in its file; (0, 0): the image is a file of its own."""

    @classmethod
    def of(cls, paths: Iterable[Path]) -> "ImagePaths":
        """Encode paths into one array."""
        encoded = [os.fsencode(path) for path in paths]
        ends = np.cumsum([len(path) for path in encoded], dtype=np.int64)
        return cls(np.frombuffer(bytearray(b"".join(encoded)), np.uint8), ends, np.zeros((len(ends), 2), np.int64))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> Path:
        start = self.ends[index - 1] if index else 0
        return Path(os.fsdecode(self.encoded[start : self.ends[index]].tobytes()))

    def __iter__(self) -> Iterator[Path]:
        return (self[index] for index in range(len(self)))

    def read(self, index: int, largest_reduction: float) -> ReducedImage:
        """Read an image, see `read_reduced_image`.

        Raises:
            ImageError: if it cannot be read.
            OSError: if the packed file cannot be.
        """
        path, (start, size) = self[index], self.spans[index].tolist()
        if not size:
            return read_reduced_image(path, largest_reduction)
        with path.parents[1].open("rb") as file:
            file.seek(start)
            return decode_reduced_image(file.read(size), str(path), largest_reduction)


@dataclass(frozen=True, eq=False)
class People(SharedArrays):
    """N labeled people; K keypoints of one skeleton."""

    images: ImagePaths
    image_index: Int[np.ndarray, " N"]
    """Index of each person's image."""
    image_ids: Int[np.ndarray, " N"]
    annotation_ids: Int[np.ndarray, " N"]
    boxes: Float[np.ndarray, "N 4"]
    """Left, top, width, height in image pixels."""
    keypoints_image: Float[np.ndarray, "N K 3"]
    """(x, y) in image pixels, and visibility: 0 unlabeled, 1 occluded, 2 visible."""
    counted: Bool[np.ndarray, "N K"]
    """False where the data set does not tell whether a keypoint is visible; such keypoints take part in no loss."""
    category: str = ""
    """Category of the boxes, by its name in the labels; empty: unknown."""

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, chosen: Int[np.ndarray, " M"] | Bool[np.ndarray, " N"]) -> "People":
        """Only the people at these indices, or where True."""
        return replace(
            self,
            image_index=self.image_index[chosen],
            image_ids=self.image_ids[chosen],
            annotation_ids=self.annotation_ids[chosen],
            boxes=self.boxes[chosen],
            keypoints_image=self.keypoints_image[chosen],
            counted=self.counted[chosen],
        )


def merge(sets: Sequence[People]) -> People:
    """Concatenate several sets; a single one is not copied."""
    if len(sets) == 1:
        return sets[0]
    offsets = np.cumsum([0] + [len(people.images) for people in sets[:-1]])
    images = ImagePaths.of(image for people in sets for image in people.images)
    return People(
        images=replace(images, spans=np.concatenate([people.images.spans for people in sets])),
        image_index=np.concatenate([people.image_index + offset for people, offset in zip(sets, offsets, strict=True)]),
        image_ids=np.concatenate([people.image_ids for people in sets]),
        annotation_ids=np.concatenate([people.annotation_ids for people in sets]),
        boxes=np.concatenate([people.boxes for people in sets]),
        keypoints_image=np.concatenate([people.keypoints_image for people in sets]),
        counted=np.concatenate([people.counted for people in sets]),
        category=next((people.category for people in sets if people.category), ""),
    )


logger = logging.getLogger(__name__)


def read_people_set(config: PeopleSetConfig, root: Path, skeleton: Skeleton) -> People:
    """Read one set of a recipe, with its corrections and proposed faces applied.

    Raises:
        AnnotationError: as `read_labels`, `read_corrections`, `correct_labels` and `select_people`, if a file of faces
            has another form, or if never_labeled or the faces name a keypoint that the skeleton does not have.
    """
    path = root / config.annotations
    if not path.exists():
        raise AnnotationError(f"no labels at {path}; set data.train or data.root")
    people = _read_packed(config, path, skeleton) if config.is_packed else _read_labeled(config, root, skeleton)
    for name in (*config.never_labeled, *(FACE if config.faces else ())):
        if name not in skeleton.keypoints:
            setting = "never_labeled" if name in config.never_labeled else "faces"
            raise AnnotationError(f"{setting}: {skeleton.name} has no keypoint {name!r}")
    people.counted[:, [skeleton.keypoints.index(name) for name in config.never_labeled]] = False
    if config.faces is not None:
        _add_faces(people, root / config.faces, config.min_face_score, skeleton)
    return people


def _read_packed(config: PeopleSetConfig, path: Path, skeleton: Skeleton) -> People:
    """One set of a packed file."""
    for name in ("images", "format", "category", "skeleton", "corrections", "faces"):
        if getattr(config, name) is not None:
            raise AnnotationError(f"{name} of {path} was settled when it was packed; leave it out of data.train")
    with open_pack(path) as pack:
        subset = pack.find_set(config.subset).name
        labels = rename_keypoints(pack.read_labels(subset), config.keypoint_names, skeleton)
        names = [image.file_name for image in sorted(labels.images, key=lambda image: image.id)]
        spans = pack.find_spans(subset, names)
    people = select_people(labels, path / subset, skeleton, f"{path}/{subset}")
    return replace(people, images=replace(people.images, spans=spans))


def _read_labeled(config: PeopleSetConfig, root: Path, skeleton: Skeleton) -> People:
    path = root / config.annotations
    if config.subset is not None:
        raise AnnotationError(f"{path} is no packed file, of which subset={config.subset} could be one; leave it out")
    set_skeleton = skeleton if config.skeleton is None else named_skeleton(config.skeleton, root)
    labels = read_labels(path, config.format, set_skeleton, config.category, allow_outside=config.allow_outside)
    if config.corrections is not None:
        corrections = root / config.corrections
        labels = correct_labels(labels, read_corrections(corrections, path), corrections)
    labels = rename_keypoints(labels, config.keypoint_names, skeleton)
    return select_people(labels, config.image_folder(root), skeleton, str(path))


def rename_keypoints(labels: LabeledSet, names: Mapping[str, str], target: Skeleton) -> LabeledSet:
    """Rename keypoints to the target's names.

    Raises:
        AnnotationError: for a name that the labels or the target do not have, or that two keypoints would then share.
    """
    keypoints = labels.skeleton.keypoints
    for old, new in names.items():
        if old not in keypoints:
            raise AnnotationError(f"keypoint_names: the set has no keypoint {old!r}; it has {', '.join(keypoints)}")
        if new not in target.keypoints:
            raise AnnotationError(
                f"keypoint_names: {target.name} has no keypoint {new!r}; it has {', '.join(target.keypoints)}"
            )
    renamed = [names.get(name, name) for name in keypoints]
    duplicate = next((name for name in renamed if renamed.count(name) > 1), None)
    if duplicate is not None:
        raise AnnotationError(
            f"keypoint_names: two keypoints of the set would be {duplicate!r}; rename the other one too"
        )
    return replace(
        labels,
        skeleton=Skeleton(name=labels.skeleton.name, keypoints=tuple(renamed), category=labels.skeleton.category),
        people=[
            replace(person, extra={**person.extra, IGNORED: [names.get(name, name) for name in ignored]})
            if (ignored := ignored_keypoints(person))
            else person
            for person in labels.people
        ],
    )


def select_people(labels: LabeledSet, images: Path, skeleton: Skeleton, source: str) -> People:
    """People with at least one labeled keypoint who are no crowd (the released code's rule).

    Keypoints that the labels lack or ignore are not counted. A missing box is replaced by the one around the keypoints.

    Args:
        labels: of any skeleton; keypoints are matched by name.
        images: folder of the images.
        skeleton: of the result.
        source: name of the labels in messages.

    Raises:
        AnnotationError: as `check_label_table`, or if no person has a usable box and a labeled keypoint.
    """
    no_people = f"{source} has no person with a box and a labeled keypoint (visibility 1 or 2)"
    if not labels.people:
        raise AnnotationError(no_people)
    named = check_keypoint_names(source, labels.skeleton, skeleton)
    entries = sorted(labels.images, key=lambda image: image.id)
    position = {image.id: index for index, image in enumerate(entries)}
    rows = labels.people
    keypoints = np.array([row.keypoints_image for row in rows], np.float32)
    check_label_table(source, position.keys(), (row.image_id for row in rows), keypoints)
    people = People(
        images=ImagePaths.of(images / entry.file_name for entry in entries),
        image_index=np.array([position[row.image_id] for row in rows]),
        image_ids=np.array([row.image_id for row in rows]),
        annotation_ids=np.array([row.id for row in rows]),
        boxes=np.array([row.box or box_around(row.keypoints_image) or (0, 0, 0, 0) for row in rows], np.float64),
        keypoints_image=convert_keypoints(keypoints, labels.skeleton, skeleton),
        counted=_find_counted(source, labels, named, skeleton),
        category=labels.skeleton.category or labels.category,
    )
    sizes = {entry.id: entry.size or Size(0, 0) for entry in entries}
    suspects = suspect_units(
        boxes=people.boxes,
        points=np.where(keypoints[..., 2:] > 0, keypoints[..., :2], np.nan),
        sizes=np.array([(sizes[row.image_id].width or np.nan, sizes[row.image_id].height or np.nan) for row in rows]),
    )
    warn_of_units(source, suspects)
    is_person = ~np.array([row.is_crowd for row in rows])
    has_box = np.isfinite(people.boxes).all(1) & (people.boxes[:, 2:] > 0).all(1)
    if not has_box.all():
        logger.warning("%s: %d people left out, their boxes are empty or not finite", source, (~has_box).sum())
    chosen = is_person & has_box & (people.keypoints_image[:, :, 2] > 0).any(1)
    if not chosen.any():
        raise AnnotationError(no_people)
    return people.take(chosen)


def _find_counted(source: str, labels: LabeledSet, named: Sequence[str], skeleton: Skeleton) -> Bool[np.ndarray, "N K"]:
    """False for keypoints that the labels do not have at all, or ignore of a person."""
    counted = np.tile([name in named for name in skeleton.keypoints], (len(labels.people), 1))
    own_name = match_keypoints(labels.skeleton.keypoints, skeleton.keypoints)
    for row, person in zip(counted, labels.people, strict=True):
        if ignored := ignored_keypoints(person):
            unknown = next((name for name in ignored if name not in labels.skeleton.keypoints), None)
            if unknown is not None:
                raise AnnotationError(
                    f"{source}: {IGNORED} of annotation {person.id}: there is no keypoint {unknown!r}; there are"
                    f" {', '.join(labels.skeleton.keypoints)}"
                )
            row &= [own_name.get(name) not in ignored for name in skeleton.keypoints]
    return counted


def _add_faces(people: People, path: Path, min_score: float, skeleton: Skeleton) -> None:
    """Add proposed face keypoints, [x, y, score] by annotation id, as visible ones if their score is high enough."""
    faces = read_json(path)
    if not isinstance(faces, dict) or any(np.shape(rows) != (len(FACE), 3) for rows in faces.values()):
        raise AnnotationError(f"{path} must hold {len(FACE)} rows of [x, y, score] for each annotation id")
    columns = [skeleton.keypoints.index(name) for name in FACE]
    no_face = [[0.0, 0.0, 0.0]] * len(FACE)
    proposed = np.array([faces.get(str(number), no_face) for number in people.annotation_ids], np.float32)
    is_likely = proposed[..., 2] >= min_score
    visible = np.concatenate([proposed[..., :2], np.full_like(proposed[..., :1], 2)], axis=-1)
    people.keypoints_image[:, columns] = np.where(is_likely[..., None], visible, 0)
    people.counted[:, columns] = is_likely
