"""What readers of all formats share: the error that they end in, JSON, plain numbers."""

import gc
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mspn.settings import first_problem
from mspn.skeleton import COCO_17, DEFAULT_SIGMA, SKELETONS, Skeleton


class AnnotationError(ValueError):
    """An annotation file that cannot be used as it is."""


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
    candidates: list[Skeleton] = [*([known] if known else []), *SKELETONS.values()]
    for skeleton in candidates:
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
