"""Many pictures: find everyone, and let the people of several pictures share batches."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mspn.images import PICTURE_SUFFIXES, PictureError, read_picture
from mspn.picture import Picture
from mspn.predict.estimator import PoseEstimator, Subject
from mspn.records import Detection, Pose

_MOST_PIXELS_WAITING = 50_000_000
"""Pictures wait for their batch in memory, at most about this much (3 bytes a pixel)."""


@dataclass(frozen=True, eq=False)
class PictureResult:
    """What was found in one source."""

    source: str
    picture: Picture | None
    """None where it could not be read."""
    poses: list[Pose]
    """Best first."""
    problems: list[str]
    """A line for everything that could not be done."""


@dataclass(eq=False)
class _Waiting:
    picture: Picture
    subjects: list[Subject] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def find_pictures(sources: Sequence[str | Path]) -> list[Path]:
    """Pictures that the sources name: files as they are, folders searched one level deep, sorted by name.

    Raises:
        FileNotFoundError: for a source that does not exist, or a folder without pictures.
    """
    pictures: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            inside = sorted(path for path in source.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
            if not inside:
                raise FileNotFoundError(f"no pictures in {source} (looked for {', '.join(sorted(PICTURE_SUFFIXES))})")
            pictures += inside
        elif source.is_file():
            pictures.append(source)
        else:
            raise FileNotFoundError(f"no picture or folder at {source}; check the path")
    return pictures


def predict_pictures(
    estimator: PoseEstimator, paths: Iterable[Path], find: Callable[[Picture], list[Detection]] | None = None
) -> Iterator[PictureResult]:
    """Estimate the poses in each picture, in order; a picture or box that is of no use is a line in `problems`.

    Args:
        estimator: cuts people out and estimates their poses.
        paths: of pictures.
        find: gives the people of a picture; None asks the estimator's detector.
    """
    find = find or estimator.find
    waiting: list[_Waiting] = []
    for path in paths:
        try:
            picture = Picture(str(path), read_picture(path))
        except (PictureError, OSError) as error:
            yield from _finish(estimator, waiting)
            waiting = []
            yield PictureResult(str(path), None, [], [str(error)])
            continue
        waiting.append(_cut_everyone(estimator, picture, find(picture)))
        people = sum(len(one.subjects) for one in waiting)
        pixels = sum(one.picture.size.height * one.picture.size.width for one in waiting)
        if people >= estimator.batch_size or pixels >= _MOST_PIXELS_WAITING:
            yield from _finish(estimator, waiting)
            waiting = []
    yield from _finish(estimator, waiting)


def _cut_everyone(estimator: PoseEstimator, picture: Picture, detections: Sequence[Detection]) -> _Waiting:
    one = _Waiting(picture)
    for detection in detections:
        try:
            one.subjects.append(estimator.cut(picture, detection))
        except ValueError as error:
            one.problems.append(f"{picture.source}: {error}")
    return one


def _finish(estimator: PoseEstimator, waiting: Sequence[_Waiting]) -> Iterator[PictureResult]:
    poses = iter(estimator.estimate([subject for one in waiting for subject in one.subjects]))
    for one in waiting:
        found = estimator.choose([next(poses) for _ in one.subjects])
        yield PictureResult(one.picture.source, one.picture, found, one.problems)
