"""Skeletons of one's own, from YAML files."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mspn.errors import MspnError, SkeletonError, YamlError
from mspn.io.files import read_yaml
from mspn.structures.settings import first_problem
from mspn.structures.skeleton import Skeleton
from mspn.structures.skeletons import find_skeleton

SKELETON_SUFFIXES = (".yaml", ".yml")


def named_skeleton(name_or_file: str, folder: Path = Path()) -> Skeleton:
    """A built-in skeleton by its name, or the one of a YAML file.

    Args:
        name_or_file: what ends in .yaml or .yml is a file.
        folder: where a relative path starts.

    Raises:
        SkeletonError: as `read_skeleton`, or for an unknown name.
    """
    if name_or_file.lower().endswith(SKELETON_SUFFIXES):
        return read_skeleton(folder / name_or_file)
    try:
        return find_skeleton(name_or_file)
    except MspnError as error:
        raise SkeletonError(f"{error}, and files that end in .yaml") from error


def read_skeleton(path: Path) -> Skeleton:
    """Read a skeleton file: `name`, `keypoints`, and where wanted `pairs`, `limbs`, `sigmas` and `upper`.

    Raises:
        SkeletonError: if there is no such file, or with the first thing in it that is wrong.
    """
    try:
        values = read_yaml(path)
    except YamlError as error:
        raise SkeletonError(str(error)) from error
    try:
        return parse_skeleton(values)
    except SkeletonError as error:
        raise SkeletonError(f"{path}: {error}") from error


def parse_skeleton(values: Any) -> Skeleton:
    """Check plain values.

    Raises:
        SkeletonError: with the first thing that is wrong, in one line.
    """
    try:
        return Skeleton.model_validate(values)
    except ValidationError as error:
        raise SkeletonError(first_problem(error)) from error
