"""CrowdPose: COCO's JSON with 14 keypoints of its own and, by image, how crowded it is (`crowdIndex`)."""

from dataclasses import replace
from pathlib import Path

from mspn.labels.conversion_report import to_skeleton
from mspn.labels.formats.coco import read_coco, write_coco
from mspn.labels.label_set import LabeledSet
from mspn.structures.skeleton import Skeleton
from mspn.structures.skeletons import CROWDPOSE_14

_FORMAT_NAME = {"head_top": "head"}
_THEIRS = Skeleton(
    name="crowdpose-file",
    keypoints=tuple(_FORMAT_NAME.get(name, name) for name in CROWDPOSE_14.keypoints),
    limbs=tuple((_FORMAT_NAME.get(start, start), end) for start, end in CROWDPOSE_14.limbs),
)
"""As their files name them: what they call the head is its top."""


def read_crowdpose(path: Path, skeleton: Skeleton | None = None) -> LabeledSet:
    """Read a CrowdPose file.

    Raises:
        AnnotationError: as `read_coco`.
    """
    labels = read_coco(path, skeleton or CROWDPOSE_14)
    return replace(labels, skeleton=CROWDPOSE_14) if labels.skeleton.keypoints == _THEIRS.keypoints else labels


def write_crowdpose(labels: LabeledSet, path: Path) -> None:
    """Write a CrowdPose file; see `write_coco`."""
    write_coco(replace(to_skeleton(labels, CROWDPOSE_14, path), skeleton=_THEIRS), path)
