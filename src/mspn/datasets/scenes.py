"""Images with boxes of people, labeled and proposed, as flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from mspn.config.data import SceneDataConfig, SceneSetConfig
from mspn.datasets.people import ImagePaths
from mspn.datasets.samples import IGNORE, PERSON
from mspn.datasets.workers import SharedArrays
from mspn.errors import AnnotationError
from mspn.labels.formats import read_labels
from mspn.labels.label_set import LabeledPerson
from mspn.labels.reading import read_json
from mspn.structures.boxes import iou, to_xyxy

_MIN_IOU_SAME = 0.5
"""From this IoU on, a proposal is of the same person as a labeled box."""
_MIN_IOU_UNCLEAR = 0.3
"""From this IoU on, a proposal may be of the same person, or of another one beside."""


@dataclass(frozen=True, eq=False)
class Scenes(SharedArrays):
    """P images with N boxes."""

    images: ImagePaths
    first_box: Int[np.ndarray, " P+1"]
    """Index of each image's first box; the last number is N."""
    boxes: Float[np.ndarray, "N 4"]
    """Left, top, right, bottom in image pixels."""
    kinds: Int[np.ndarray, " N"]
    """PERSON or IGNORE."""

    def __len__(self) -> int:
        return len(self.images)

    def boxes_of(self, image: int) -> tuple[Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
        """Boxes and kinds of an image."""
        rows = slice(self.first_box[image], self.first_box[image + 1])
        return self.boxes[rows], self.kinds[rows]


def read_scenes(config: SceneSetConfig, data: SceneDataConfig) -> Scenes:
    """Read a set.

    A labeled box is a person or ignored, as configured; crowds are always ignored. A proposal of the same person as a
    labeled person is dropped; one that overlaps a labeled person less is ignored. Any other is a person if its score is
    high enough, and then replaces an ignored box of the same person; else it is ignored.

    Raises:
        AnnotationError: for a file that is missing or unusable.
    """
    root = Path(data.root)
    labels = read_labels(root / config.annotations)
    proposals = _read_proposals(root / config.proposals) if config.proposals is not None else {}
    people: dict[int, list[LabeledPerson]] = {image.id: [] for image in labels.images}
    for person in labels.people:
        people[person.image_id].append(person)
    by_image = [
        _merge_proposals(people[image.id], proposals.get(image.file_name, []), config, data.min_person_score)
        for image in labels.images
    ]
    boxes, kinds = zip(*by_image, strict=True)
    return Scenes(
        images=ImagePaths.of(config.image_folder(root) / image.file_name for image in labels.images),
        first_box=np.cumsum([0, *map(len, boxes)]),
        boxes=np.concatenate(boxes).astype(np.float32),
        kinds=np.concatenate(kinds),
    )


def merge_scenes(sets: Sequence[Scenes]) -> Scenes:
    """Concatenate several sets; a single one is not copied."""
    if len(sets) == 1:
        return sets[0]
    offsets = np.cumsum([0] + [len(scenes.boxes) for scenes in sets])
    starts = [scenes.first_box[:-1] + offset for scenes, offset in zip(sets, offsets[:-1], strict=True)]
    return Scenes(
        images=ImagePaths.of(image for scenes in sets for image in scenes.images),
        first_box=np.concatenate([*starts, offsets[-1:]]),
        boxes=np.concatenate([scenes.boxes for scenes in sets]),
        kinds=np.concatenate([scenes.kinds for scenes in sets]),
    )


def _merge_proposals(
    people: Sequence[LabeledPerson],
    proposals: Sequence[Sequence[float]],
    config: SceneSetConfig,
    min_person_score: float,
) -> tuple[Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
    """Boxes and kinds of an image, see `read_scenes`."""
    with_box = [person for person in people if person.box is not None]
    labeled = to_xyxy([person.box for person in with_box if person.box is not None])
    is_exact = np.array([config.labeled == "people" and not person.is_crowd for person in with_box], bool)
    proposed = to_xyxy([row[:4] for row in proposals])
    is_likely = np.array([row[4] >= min_person_score for row in proposals], bool)
    ious = iou(proposed[:, None], labeled)
    repeats_exact = (ious[:, is_exact] >= _MIN_IOU_SAME).any(1)
    is_beside_exact = (ious[:, is_exact] >= _MIN_IOU_UNCLEAR).any(1)
    is_person = is_likely & ~is_beside_exact
    is_replaced = ~is_exact & (ious[is_person] >= _MIN_IOU_SAME).any(0)
    boxes = np.concatenate([labeled[~is_replaced], proposed[~repeats_exact]])
    is_certain = np.concatenate([is_exact[~is_replaced], is_person[~repeats_exact]])
    return boxes, np.where(is_certain, PERSON, IGNORE)


def _read_proposals(path: Path) -> dict[str, list[list[float]]]:
    content = read_json(path)
    is_table = isinstance(content, dict) and all(isinstance(rows, list) for rows in content.values())
    if not is_table or any(len(row) != 5 for rows in content.values() for row in rows):
        raise AnnotationError(
            f'{path} is no table of proposals; write {{"file name": [[left, top, width, height, score], ...]}}'
        )
    table: dict[str, list[list[float]]] = content
    return table
