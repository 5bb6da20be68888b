"""MPII in the JSON of the released code and HRNet: a list of people with center, scale and 16 keypoints."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, FiniteFloat

from mspn.errors import AnnotationError
from mspn.io.files import write_text
from mspn.labels.conversion_report import to_skeleton, warn_dropped, warn_dropped_fields, warn_occluded, without_crowds
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet, box_around
from mspn.labels.reading import check_form, plain_number, read_json
from mspn.structures.boxes import Box
from mspn.structures.skeleton import Skeleton
from mspn.structures.skeletons import MPII_16

REFERENCE_PX = 200
"""Height in pixels of a person of scale 1."""
_LOWER_BY = 15
"""The released code and HRNet move the center, which lies on the chest, down by this times the scale."""
_NO_CENTER = -1


class _Person(BaseModel):
    model_config = ConfigDict(extra="allow")

    image: str
    center: tuple[FiniteFloat, FiniteFloat]
    scale: FiniteFloat
    joints: list[tuple[FiniteFloat, FiniteFloat]] | None = None
    joints_vis: list[FiniteFloat] | None = None


def read_mpii(path: Path, _skeleton: Skeleton | None = None) -> LabeledSet:
    """Read an annotation file; images, in the order of their first person, and people are numbered from 1 on.

    Positions are counted from 1 in the file and from 0 here. Who has no keypoints (the test set) has none labeled.

    Raises:
        AnnotationError: naming the first entry that is missing or wrong.
    """
    rows = check_form(path, read_json(path), list[_Person], "MPII in HRNet's JSON")
    numbers: dict[str, int] = {}
    people = []
    for number, row in enumerate(rows, start=1):
        people.append(
            LabeledPerson(
                id=number,
                image_id=numbers.setdefault(row.image, len(numbers) + 1),
                keypoints_image=_keypoints(row, f"{path}: entry {number - 1}"),
                box=mpii_box(row.center, row.scale),
                extra={"center": list(row.center), "scale": row.scale, **(row.model_extra or {})},
            )
        )
    return LabeledSet(MPII_16, [LabeledImage(number, name) for name, number in numbers.items()], people)


def mpii_box(center: Sequence[float], scale: float) -> Box | None:
    """The square that the released code cuts out before it adds a margin, in pixels counted from 0.

    Args:
        center: (x, y) as the file says it, counted from 1; an x of -1 stands for none.
        scale: height of the person over 200 pixels.
    """
    if center[0] == _NO_CENTER or scale <= 0:
        return None
    side = REFERENCE_PX * scale
    return Box(center[0] - 1 - side / 2, center[1] + _LOWER_BY * scale - 1 - side / 2, side, side)


def write_mpii(labels: LabeledSet, path: Path) -> None:
    """Write an annotation file; center and scale of other formats' people are those of their box's longer side."""
    labels = without_crowds(to_skeleton(labels, MPII_16, path), path)
    warn_dropped_fields(labels, path, people=[key for person in labels.people for key in person.extra])
    warn_occluded(labels, path)
    boxes = [person.box for person in labels.people if person.box is not None and "center" not in person.extra]
    warn_dropped(path, sum(box.width != box.height for box in boxes), "boxes become squares of their longer side")
    in_use = {person.image_id for person in labels.people}
    names = {image.id: image.file_name for image in labels.images}
    warn_dropped(path, len(names.keys() - in_use), "images without people are left out, the format lists people")
    write_text(path, json.dumps([_row(person, names[person.image_id]) for person in labels.people]) + "\n")


def _row(person: LabeledPerson, image: str) -> dict[str, Any]:
    is_labeled = person.keypoints_image[:, 2] > 0
    joints = np.where(is_labeled[:, None], person.keypoints_image[:, :2] + 1, -1)
    return {
        **_center_and_scale(person),
        "image": image,
        "joints": [[plain_number(x), plain_number(y)] for x, y in joints.tolist()],
        "joints_vis": is_labeled.astype(int).tolist(),
        **person.extra,
    }


def _center_and_scale(person: LabeledPerson) -> dict[str, Any]:
    box = person.box or box_around(person.keypoints_image)
    if box is None:
        return {"center": [_NO_CENTER, _NO_CENTER], "scale": 0}
    scale = max(box.width, box.height) / REFERENCE_PX
    return {"center": [box.center[0] + 1, box.center[1] + 1 - _LOWER_BY * scale], "scale": scale}


def _keypoints(row: _Person, where: str) -> Float[np.ndarray, "16 3"]:
    count = len(MPII_16.keypoints)
    if row.joints is None or row.joints_vis is None:
        return np.zeros((count, 3))
    if not len(row.joints) == len(row.joints_vis) == count:
        raise AnnotationError(f"{where} has {len(row.joints)} joints and {len(row.joints_vis)} joints_vis, not {count}")
    is_labeled = np.array(row.joints_vis) > 0
    points = np.where(is_labeled[:, None], np.array(row.joints) - 1, 0)
    return np.column_stack([points, 2.0 * is_labeled])
