"""Every format of labels that we know, and reading and writing any of them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mspn.errors import AnnotationError
from mspn.io.matlab import mat_variables
from mspn.labels.formats.coco import read_coco, read_crowdpose, write_coco, write_crowdpose
from mspn.labels.formats.cvat import read_cvat, write_cvat
from mspn.labels.formats.label_studio import read_label_studio, write_label_studio
from mspn.labels.formats.mpii import read_mpii, read_mpii_mat, write_mpii
from mspn.labels.formats.public_datasets import read_ai_challenger, read_lsp, read_ochuman, write_ai_challenger
from mspn.labels.formats.yolo import read_yolo, write_yolo
from mspn.labels.label_set import LabeledSet
from mspn.labels.reading import check_label_table, paused_collection, refuse_outside
from mspn.structures.skeleton import Skeleton


class LabelFormat(NamedTuple):
    """How labels of one format are recognized, read and written."""

    summary: str
    read: Callable[..., LabeledSet]
    """From a file or folder; the skeleton says what keypoints are that the format itself does not name."""
    suffixes: tuple[str, ...]
    """Of its files; "/" stands for a folder."""
    signs: tuple[str, ...] = ()
    """What stands in every file of it, and tells it from those before it."""
    write: Callable[[LabeledSet, Path], None] | None = None
    """None where we only read."""
    options: tuple[str, ...] = ()
    """Which of the options of `read_labels` its reader takes."""


_JSON = (".json",)
FORMATS = {
    "crowdpose": LabelFormat(
        "CrowdPose JSON", read_crowdpose, _JSON, ('"crowdIndex"',), write_crowdpose, ("category",)
    ),
    "ochuman": LabelFormat("OCHuman's original JSON", read_ochuman, _JSON, ('"keypoint_visible"',)),
    "coco": LabelFormat(
        "COCO keypoint JSON", read_coco, _JSON, ('"annotations"', '"categories"'), write_coco, ("category",)
    ),
    "ai-challenger": LabelFormat(
        "AI Challenger's keypoint JSON", read_ai_challenger, _JSON, ('"keypoint_annotations"',), write_ai_challenger
    ),
    "mpii": LabelFormat("MPII in HRNet's JSON", read_mpii, _JSON, ('"center"', '"scale"'), write_mpii),
    "label-studio": LabelFormat(
        "Label Studio's JSON export", read_label_studio, _JSON, ('"annotations"', '"data"'), write_label_studio
    ),
    "cvat": LabelFormat("CVAT for images 1.1 (XML)", read_cvat, (".xml",), ("<annotations",), write_cvat),
    "yolo": LabelFormat(
        "YOLO-pose: data.yaml, labels/, images/",
        read_yolo,
        (".yaml", ".yml", "/"),
        (),
        write_yolo,
        ("category", "allow_outside"),
    ),
    "mpii-mat": LabelFormat("MPII's original .mat", read_mpii_mat, (".mat",), ("RELEASE",)),
    "lsp": LabelFormat("Leeds Sports Pose, also extended: joints.mat", read_lsp, (".mat",), ("joints",)),
}


@paused_collection()
def read_labels(
    path: Path,
    format: str | None = None,  # noqa: A002 (the word that people look for)
    skeleton: Skeleton | None = None,
    category: str | None = None,
    *,
    allow_outside: bool = False,
) -> LabeledSet:
    """Read labels of any format.

    Args:
        path: file, or folder where the format is one.
        format: a name of `FORMATS`; None: told from the content.
        skeleton: what the keypoints are, where the format does not say.
        category: whom to read, by the category's name or number; None: as the reader of the format.
        allow_outside: whether the labels may name images outside their folder.

    Raises:
        AnnotationError: if the file is missing or of no use, or its format is unknown, or has no categories.
    """
    name = recognize_format(path) if format is None else known_format(format)
    known = FORMATS[name]
    if category is not None and "category" not in known.options:
        raise AnnotationError(f"{path} is {known.summary}, which has no categories to choose {category!r} from")
    given = {"category": category, "allow_outside": allow_outside}
    labels = known.read(path, skeleton, **{option: given[option] for option in known.options})
    if not allow_outside:
        refuse_outside(path, (image.file_name for image in labels.images))
    return labels


def write_labels(labels: LabeledSet, path: Path, format: str) -> None:  # noqa: A002 (as above)
    """Write labels; what the format cannot hold is logged, a line a kind.

    Raises:
        AnnotationError: if the format is unknown or only read, or cannot hold this skeleton, or as
            `check_label_table`.
    """
    writers = {name: known.write for name, known in FORMATS.items() if known.write}
    if format not in writers:
        raise AnnotationError(f"labels cannot be written as {format}; there are {', '.join(writers)}")
    known = {image.id for image in labels.images}
    keypoints = np.array([person.keypoints_image for person in labels.people])
    check_label_table("the source", known, (person.image_id for person in labels.people), keypoints.reshape(-1, 3))
    writers[format](labels, path)


def known_format(name: str) -> str:
    """The name, if it is one of `FORMATS`.

    Raises:
        AnnotationError: naming those that there are.
    """
    if name not in FORMATS:
        raise AnnotationError(f"no format {name!r}; there are {', '.join(FORMATS)}")
    return name


def recognize_format(path: Path) -> str:
    """Name of the format that a file or folder is in, told from its suffix and content.

    Raises:
        AnnotationError: if there is no such file, or it looks like none of the formats.
    """
    if not path.exists():
        raise AnnotationError(f"no file at {path}; check the path")
    suffix = "/" if path.is_dir() else path.suffix.lower()
    candidates = [name for name, known in FORMATS.items() if suffix in known.suffixes]
    if suffix == "/":
        content = b""
    else:
        content = " ".join(mat_variables(path)).encode() if suffix == ".mat" else path.read_bytes()
        if not (encoding := json.detect_encoding(content)).startswith("utf-8"):
            content = content.decode(encoding, errors="replace").encode()
    for name in candidates:
        if all(sign.encode() in content for sign in FORMATS[name].signs):
            return name
    raise AnnotationError(
        f"the format of {path} cannot be told; is the file whole? If it is, name the format "
        f"(--from, or `format` of a set): {', '.join(candidates or FORMATS)}"
    )
