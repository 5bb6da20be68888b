"""What readers and writers of all formats share: their error, JSON, names, numbers."""

import gc
import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from mspn.errors import AnnotationError
from mspn.io.files import sha256_of
from mspn.structures.boxes import Size
from mspn.structures.settings import first_problem
from mspn.structures.shapes import Float
from mspn.structures.skeleton import COCO_17, DEFAULT_SIGMA, SKELETONS, Skeleton, keypoint_key, match_keypoints

logger = logging.getLogger(__name__)

_Form = TypeVar("_Form")
_LABEL_SUFFIXES = (".txt", ".yaml", ".yml")
"""Of the files in a folder of labels."""
_MAX_SIDE_PX = 1_000_000
"""Of an image; no format of images holds a longer side that our readers take."""


def _check_text(text: str) -> str:
    if "\0" in text or (not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text)):
        raise ValueError("the text has a letter that no file can hold (NUL, or half of a surrogate pair)")
    return text


Text = Annotated[str, AfterValidator(_check_text)]
"""Text that can be encoded, and be part of a path."""
FileName = Annotated[str, Field(min_length=1), AfterValidator(_check_text)]
Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""A number that fits an array of 64-bit integers."""
ImageSide = Annotated[int, Field(ge=1, le=_MAX_SIDE_PX)]
Flag = Annotated[int, BeforeValidator(lambda value: 0 if value is None else value)]
"""0 or 1; null is 0."""


def image_size(width: float | None, height: float | None, where: object) -> Size | None:
    """The size that labels say an image has; None where one side is missing or 0, which some tools write for it.

    Raises:
        AnnotationError: for a side below 0, or longer than any image's; `where` is what it calls the image.
    """
    if not width or not height:
        return None
    for side in (width, height):
        if not 1 <= side <= _MAX_SIDE_PX:
            raise AnnotationError(f"{where}: a side of {side:.6g} pixels; write the image's true size, or none")
    return Size(int(height), int(width))


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
    """Parse a JSON file in UTF-8, 16 or 32, with or without a byte order mark; JSON lines are a list of their values.

    Raises:
        AnnotationError: if there is none or it is no JSON.
    """
    try:
        encoded = path.read_bytes()
    except FileNotFoundError:
        raise AnnotationError(f"no file at {path}; check the path") from None
    try:
        text = encoded.decode(json.detect_encoding(encoded))
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return _parse_lines(text)
    # A number of thousands of digits is a ValueError, as is every other fault of the text.
    except ValueError as error:
        raise AnnotationError(f"{path} is not JSON ({error}); is the file whole?") from error
    except RecursionError as error:
        raise AnnotationError(f"{path} nests its values too deep to be labels; is it the right file?") from error


def _parse_lines(text: str) -> list[Any]:
    """The values of JSON lines; for text of another form, the error is that of all of it."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1:
        try:
            first, *others = lines
            return [json.loads(first), *map(json.loads, others)]
        except json.JSONDecodeError:
            pass
    return [json.loads(text)]


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


def field_of(extra: Mapping[str, Any], key: str, form: type[_Form]) -> _Form | None:
    """A field that one format has beyond our own, if it is there in that format's form.

    Whatever another format keeps under the same name may be anything.
    """
    try:
        return TypeAdapter(form).validate_python(extra[key])
    except (KeyError, ValidationError):
        return None


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
    # Labels may come from Windows, and go there.
    leads_out = any(path.root or ".." in path.parts for path in (PurePosixPath(name), PureWindowsPath(name)))
    if not parts or leads_out or (os.name == "nt" and any(sign in name for sign in ":\\")):
        raise AnnotationError(f"file name {name!r} leads out of {folder}; nothing is written there")
    return folder.joinpath(*parts)


def refuse_outside(source: object, file_names: Iterable[str]) -> None:
    """Refuse labels that name a file outside the folder of their images: labels come from others.

    Raises:
        AnnotationError: with the first one; `source` is what it calls the labels.
    """
    for name in file_names:
        path = Path(os.path.normpath(name))
        if path.is_absolute() or path.drive or ".." in path.parts:
            raise AnnotationError(
                f"{source} names the image {name!r}, which is outside the folder of its images;"
                " if you trust the labels, --allow-outside reads it (in a recipe: allow_outside of the set)"
            )


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
    sigmas = {keypoint_key(name): sigma for name, sigma in zip(COCO_17.keypoints, COCO_17.sigmas, strict=True)}
    try:
        return Skeleton(
            name=path.stem,
            keypoints=names,
            pairs=pairs if pairs is None else tuple(pairs),
            limbs=tuple(limbs),
            sigmas=tuple(sigmas.get(keypoint_key(name), DEFAULT_SIGMA) for name in names),
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


class OtherKeypointsError(AnnotationError):
    """Labels have other keypoints than the network."""

    labeled: Skeleton | None = None
    """Of the labels."""


def check_keypoint_names(source: Path | str, labeled: Skeleton, skeleton: Skeleton) -> tuple[str, ...]:
    """Refuse labels that share fewer than half of their keypoints with a skeleton; warn of those that are not shared.

    Args:
        source: what messages call the labels.
        labeled: of the labels.
        skeleton: of the network; names are compared as `match_keypoints` does.

    Returns:
        The skeleton's keypoints that are labeled.

    Raises:
        OtherKeypointsError: naming the keypoints that only one of the two has.
    """
    names = labeled.keypoints
    matched = match_keypoints(names, skeleton.keypoints)
    unknown = ", ".join(name for name in names if name not in matched.values())
    unlabeled = ", ".join(name for name in skeleton.keypoints if name not in matched)
    if 2 * len(matched) < min(len(names), len(skeleton.keypoints)):
        error = OtherKeypointsError(
            f"{source} labels {len(matched)} of {skeleton.name}'s {len(skeleton.keypoints)} keypoints; it labels"
            f" {unknown}, which {skeleton.name} does not have, and not {unlabeled}; is it the right network or"
            " skeleton? (--set skeleton=, or keypoint_names of a set)"
        )
        error.labeled = labeled
        raise error
    if unknown or unlabeled:
        parts = [
            f"{what}: {listed}"
            for what, listed in ((f"not in {skeleton.name}", unknown), ("not labeled", unlabeled))
            if listed
        ]
        logger.warning("%s: keypoints left out (%s)", source, "; ".join(parts))
    return tuple(matched)
