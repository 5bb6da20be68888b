"""CrowdPose: COCO's JSON with 14 keypoints of its own and, by picture, how crowded it is (`crowdIndex`)."""

from dataclasses import replace
from pathlib import Path

from mspn.data.coco import read_coco, write_coco
from mspn.data.labels import LabelledSet
from mspn.data.lost import to_skeleton
from mspn.skeleton import CROWDPOSE_14, Skeleton

_THEIR_NAME = {"head_top": "head"}
_THEIRS = Skeleton(
    name="crowdpose-file",
    keypoints=tuple(_THEIR_NAME.get(name, name) for name in CROWDPOSE_14.keypoints),
    limbs=tuple((_THEIR_NAME.get(start, start), end) for start, end in CROWDPOSE_14.limbs),
)
"""As their files name them: what they call the head is its top."""


def read_crowdpose(path: Path, skeleton: Skeleton | None = None) -> LabelledSet:
    """Read a CrowdPose file.

    Raises:
        AnnotationError: as `read_coco`.
    """
    labels = read_coco(path, skeleton or CROWDPOSE_14)
    return replace(labels, skeleton=CROWDPOSE_14) if labels.skeleton.keypoints == _THEIRS.keypoints else labels


def write_crowdpose(labels: LabelledSet, path: Path) -> None:
    """Write a CrowdPose file; see `write_coco`."""
    write_coco(replace(to_skeleton(labels, CROWDPOSE_14, path), skeleton=_THEIRS), path)
