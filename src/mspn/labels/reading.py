"""What readers and writers of all formats share: their error, JSON, names, numbers."""

import gc
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from pydantic import TypeAdapter, ValidationError

from mspn.errors import AnnotationError
from mspn.io.files import sha256_of
from mspn.structures.settings import first_problem
from mspn.structures.skeleton import DEFAULT_SIGMA, Skeleton
from mspn.structures.skeletons import COCO_17, SKELETONS

_Form = TypeVar("_Form")
_LABEL_SUFFIXES = (".txt", ".yaml", ".yml")
"""Of the files in a folder of labels."""


@contextmanager
def paused_collection() -> Iterator[None]:
    """No garbage collection meanwhile: it would go through millions of new values again and again, twice the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@paused_collection()
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


def check_form(path: Path, content: Any, form: type[_Form], kind: str) -> _Form:
    """Check plain values against a pydantic type.

    Args:
        path: where they stood, for errors.
        content: plain values.
        form: what they must be.
        kind: the same in words: "it must be ...".

    Raises:
        AnnotationError: naming the first entry that is missing or wrong.
    """
    try:
        return TypeAdapter(form).validate_python(content)
    except ValidationError as error:
        raise AnnotationError(f"{path}: {first_problem(error, 'the file')}; it must be {kind}") from error


def digest_of_labels(path: Path) -> str:
    """SHA-256 of a file of labels; of a folder's names and digests, images left out."""
    if path.is_file():
        return sha256_of(path)
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _LABEL_SUFFIXES and file.is_file())
    lines = [f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n" for file in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def path_inside(folder: Path, name: str) -> Path:
    """The path of a file that labels name, which must lie in the folder.

    Raises:
        AnnotationError: if the name leads elsewhere.
    """
    parts = PurePosixPath(name).parts
    if not parts or "\\" in name or ":" in name or any(part in ("..", "/") for part in parts):
        raise AnnotationError(f"file name {name!r} leads out of {folder}; nothing is written there")
    return folder.joinpath(*parts)


def check_label_table(
    source: object, known_images: Set[int], image_ids: Iterable[int], keypoints_image: Float[np.ndarray, "*N 3"]
) -> None:
    """Refuse people of unknown images and labeled keypoints at no finite position.

    Readers let them pass, so that `mspn data check` can list them all; who trains, evaluates or writes asks here.

    Raises:
        AnnotationError: with the first one; `source` is what it calls the labels.
    """
    for number in image_ids:
        if number not in known_images:
            raise AnnotationError(
                f"{source}: annotation of image_id {number}, which is not among its images; see `mspn data check`"
            )
    if not np.isfinite(keypoints_image[keypoints_image[..., 2] > 0]).all():
        raise AnnotationError(
            f"{source} has a labeled keypoint whose position is not a finite number; see `mspn data check`"
        )


def plain_number(value: float) -> int | float:
    """A number as people write it: whole ones without a decimal point."""
    return int(value) if float(value).is_integer() else float(value)


def skeleton_of(
    path: Path,
    keypoints: Sequence[str],
    *,
    known: Skeleton | None = None,
    limbs: Sequence[tuple[str, str]] = (),
    pairs: Sequence[tuple[str, str]] | None = None,
) -> Skeleton:
    """The skeleton of the keypoints that a file names: one that we know, or a new one with COCO's sigmas.

    Args:
        path: of the file, for errors.
        keypoints: names in the file's order.
        known: is asked first, before our own.
        limbs: of a new skeleton.
        pairs: of a new skeleton; None: by the names.

    Raises:
        AnnotationError: if a name stands there twice.
    """
    names = tuple(keypoints)
    for skeleton in _candidates(known):
        if skeleton.keypoints == names:
            return skeleton
    sigmas = dict(zip(COCO_17.keypoints, COCO_17.sigmas, strict=True))
    try:
        return Skeleton(
            name=path.stem,
            keypoints=names,
            pairs=pairs if pairs is None else tuple(pairs),
            limbs=tuple(limbs),
            sigmas=tuple(sigmas.get(name, DEFAULT_SIGMA) for name in names),
        )
    except ValidationError as error:
        raise AnnotationError(f"{path}: {first_problem(error)}; mend the names of its keypoints") from error


def skeleton_of_labels(path: Path, names: Sequence[str], known: Skeleton | None) -> Skeleton:
    """The skeleton of keypoints that a file tells apart by their labels, so that the order is ours to choose.

    Args:
        path: of the file, for errors.
        names: the labels.
        known: as in `skeleton_of`.

    Raises:
        AnnotationError: if there are none.
    """
    if not names:
        raise AnnotationError(f"{path} has no labeled keypoint, nor a list of their labels; label some first")
    same = next((table for table in _candidates(known) if set(table.keypoints) == set(names)), None)
    return same or skeleton_of(path, list(dict.fromkeys(names)))


def _candidates(known: Skeleton | None) -> list[Skeleton]:
    return [*([known] if known else []), *SKELETONS.values()]


def check_keypoint_names(source: Path | str, names: Sequence[str], skeleton: Skeleton) -> None:
    """Refuse labels that share no keypoint with a skeleton: of their people nothing would be left.

    Raises:
        AnnotationError: naming the keypoints of both.
    """
    if not set(names) & set(skeleton.keypoints):
        raise AnnotationError(
            f"{source} labels {', '.join(names)}, none of which {skeleton.name} has "
            f"({', '.join(skeleton.keypoints)}); is it the right network or skeleton?"
        )
