"""Pictures with boxes of people, labelled and proposed, as flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from mspn.box_overlap import overlap
from mspn.data.formats import read_labels
from mspn.data.label_files import AnnotationError, read_json
from mspn.data.labels import LabelledPerson
from mspn.data.people import PicturePaths, SharedArrays
from mspn.detection_loss import DOUBTFUL, PERSON
from mspn.scene_config import SceneDataConfig, SceneSetConfig

_SAME = 0.5
"""A proposal that overlaps a labelled box as much is of the same person."""
_PERHAPS_SAME = 0.3
"""A proposal that overlaps one as much may be of the same person, or of another one beside."""


@dataclass(frozen=True, eq=False)
class Scenes(SharedArrays):
    """P pictures with N boxes."""

    pictures: PicturePaths
    first_box: Int[np.ndarray, " P+1"]
    """Where each picture's boxes begin; the last number is N."""
    boxes: Float[np.ndarray, "N 4"]
    """Left, top, right, bottom in image pixels."""
    kinds: Int[np.ndarray, " N"]
    """PERSON or DOUBTFUL."""

    def __len__(self) -> int:
        return len(self.pictures)

    def boxes_of(self, picture: int) -> tuple[Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
        """Boxes and kinds of a picture."""
        own = slice(self.first_box[picture], self.first_box[picture + 1])
        return self.boxes[own], self.kinds[own]


def read_scenes(config: SceneSetConfig, data: SceneDataConfig) -> Scenes:
    """Read a set.

    A labelled box is a person, or doubtful, as the settings say. A proposal that is of the same person as a labelled
    box adds nothing to an exact one and takes the place of a doubtful one; one that overlaps a labelled box less is
    doubtful; any other is a person if its score is high enough, else doubtful.

    Raises:
        AnnotationError: for a file that is missing or of no use.
    """
    root = Path(data.root)
    labels = read_labels(root / config.annotations)
    proposals = _read_proposals(root / config.proposals) if config.proposals is not None else {}
    people: dict[int, list[LabelledPerson]] = {picture.id: [] for picture in labels.pictures}
    for person in labels.people:
        people[person.picture_id].append(person)
    found = [
        _reconcile(people[picture.id], proposals.get(picture.file_name, []), config, data.people_from)
        for picture in labels.pictures
    ]
    boxes, kinds = zip(*found, strict=True)
    return Scenes(
        pictures=PicturePaths.of(root / config.images / picture.file_name for picture in labels.pictures),
        first_box=np.cumsum([0, *map(len, boxes)]),
        boxes=np.concatenate(boxes).astype(np.float32),
        kinds=np.concatenate(kinds),
    )


def merge_scenes(sets: Sequence[Scenes]) -> Scenes:
    """Several sets one after another."""
    offsets = np.cumsum([0] + [len(scenes.boxes) for scenes in sets])
    starts = [scenes.first_box[:-1] + offset for scenes, offset in zip(sets, offsets[:-1], strict=True)]
    return Scenes(
        pictures=PicturePaths.of(picture for scenes in sets for picture in scenes.pictures),
        first_box=np.concatenate([*starts, offsets[-1:]]),
        boxes=np.concatenate([scenes.boxes for scenes in sets]),
        kinds=np.concatenate([scenes.kinds for scenes in sets]),
    )


def _reconcile(
    people: Sequence[LabelledPerson], proposals: Sequence[Sequence[float]], config: SceneSetConfig, people_from: float
) -> tuple[Float[np.ndarray, "n 4"], Int[np.ndarray, " n"]]:
    """Boxes and kinds of a picture."""
    with_box = [person for person in people if person.box is not None]
    labelled = _corners([person.box for person in with_box if person.box is not None])
    is_exact = np.array([config.labelled == "people" and not person.is_crowd for person in with_box], bool)
    proposed = _corners([row[:4] for row in proposals])
    is_likely = np.array([row[4] >= people_from for row in proposals], bool)
    shared = overlap(torch.from_numpy(proposed)[:, None], torch.from_numpy(labelled)[None]).shared.numpy()
    repeats_exact = (shared[:, is_exact] >= _SAME).any(1)
    is_beside_exact = (shared[:, is_exact] >= _PERHAPS_SAME).any(1)
    is_person = is_likely & ~is_beside_exact
    is_replaced = ~is_exact & (shared[is_person] >= _SAME).any(0)
    boxes = np.concatenate([labelled[~is_replaced], proposed[~repeats_exact]])
    is_certain = np.concatenate([is_exact[~is_replaced], is_person[~repeats_exact]])
    return boxes, np.where(is_certain, PERSON, DOUBTFUL)


def _corners(boxes: Sequence[Sequence[float]]) -> Float[np.ndarray, "n 4"]:
    """Left, top, right, bottom of boxes given by left, top, width, height."""
    table = np.array(boxes, np.float64).reshape(-1, 4)
    table[:, 2:] += table[:, :2]
    return table


def _read_proposals(path: Path) -> dict[str, list[list[float]]]:
    content = read_json(path)
    is_table = isinstance(content, dict) and all(isinstance(rows, list) for rows in content.values())
    if not is_table or any(len(row) != 5 for rows in content.values() for row in rows):
        raise AnnotationError(
            f'{path} is no table of proposals; write {{"file name": [[left, top, width, height, score], ...]}}'
        )
    table: dict[str, list[list[float]]] = content
    return table
