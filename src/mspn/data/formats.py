"""Every format of labels that we know, and reading and writing any of them."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mspn.data.coco import read_coco, write_coco
from mspn.data.label_files import AnnotationError, paused_collection
from mspn.data.labels import LabelledSet
from mspn.skeleton import Skeleton


class LabelFormat(NamedTuple):
    """How labels of one format are read and written."""

    summary: str
    read: Callable[[Path, Skeleton | None], LabelledSet]
    """From a file or folder; the skeleton says what keypoints are that the format itself does not name."""
    write: Callable[[LabelledSet, Path], None] | None = None
    """None where we only read."""


FORMATS = {
    "coco": LabelFormat("COCO keypoint JSON", read_coco, write_coco),
}


@paused_collection()
def read_labels(
    path: Path,
    format: str | None = None,  # noqa: A002 (the word that people look for)
    skeleton: Skeleton | None = None,
) -> LabelledSet:
    """Read labels of any format.

    Args:
        path: file, or folder where the format is one.
        format: a name of `FORMATS`; None: told from the content.
        skeleton: what the keypoints are, where the format does not say.

    Raises:
        AnnotationError: if the file is missing or of no use, or its format is unknown.
    """
    return find_format(format or "coco").read(path, skeleton)


def write_labels(labels: LabelledSet, path: Path, format: str) -> None:  # noqa: A002 (as above)
    """Write labels; what the format cannot hold is logged, a line a kind.

    Raises:
        AnnotationError: if the format is unknown, is not written, or cannot hold this skeleton.
    """
    write = find_format(format).write
    if write is None:
        writable = ", ".join(name for name, one in FORMATS.items() if one.write)
        raise AnnotationError(f"labels cannot be written as {format}, only read; there are {writable}")
    write(labels, path)


def find_format(name: str) -> LabelFormat:
    """The format of that name.

    Raises:
        AnnotationError: naming those that there are.
    """
    if name not in FORMATS:
        raise AnnotationError(f"no format {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]
