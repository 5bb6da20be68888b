"""Measure tracks against labeled ones: MOTChallenge's boxes, and poses as PoseTrack has them.

HOTA, IDF1 and MOTA say how well people are followed, for boxes and poses alike.
"""

import csv
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from mspn.errors import AnnotationError
from mspn.labels.reading import read_json
from mspn.structures.boxes import iou, to_xyxy
from mspn.structures.oks import keypoint_similarity
from mspn.structures.shapes import Float, Int
from mspn.structures.skeleton import COCO_17, DEFAULT_SIGMA

_HOTA_THRESHOLDS = np.arange(1, 20) * 0.05
_THRESHOLD = 0.5
"""Lowest similarity of a right detection, for IDF1 and MOTA."""
_ROUNDING = np.finfo(float).eps
_KEEP_TRACK = 1000.0
"""Value of a pair that was one before, more than any similarity."""


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """A frame's labeled people, the tracks found in it, and how similar they are; ids are unique in all frames."""

    label_ids: Int[np.ndarray, " G"]
    track_ids: Int[np.ndarray, " T"]
    similarity: Float[np.ndarray, "G T"]
    """IoU or OKS, 0 to 1."""


class TrackingScores(NamedTuple):
    """What a set of videos comes to, all frames together."""

    hota: float
    """Geometric mean of detection and association, averaged over thresholds of similarity."""
    detection: float
    """DetA: right detections among all that were labeled or found."""
    association: float
    """AssA: for each right detection, how far its two tracks are the same."""
    idf1: float
    """Share of detections with the right id, where every labeled person has one track at most."""
    mota: float
    """1 less the misses, false detections and id switches for each labeled person; may be negative."""
    num_switches: int
    """How often a labeled person goes on with another id."""
    num_labels: int
    num_found: int


def measure_tracking(frames: Sequence[TrackedFrame]) -> TrackingScores:
    """The scores of frames in the order of time; several videos one after another, with different ids.

    Without any labels and detections, all shares are 0.

    Sources: Luiten et al., HOTA, IJCV 2020; Ristani et al. 2016 (IDF1); Bernardin and Stiefelhagen 2008 (MOTA).
    """
    numbered = _number_ids(frames)
    hota, detection, association = _measure_hota(numbered)
    mota, num_switches = _measure_mota(numbered)
    return TrackingScores(
        hota,
        detection,
        association,
        _measure_idf1(numbered),
        mota,
        num_switches,
        int(numbered.label_counts.sum()),
        int(numbered.track_counts.sum()),
    )


class _Numbered(NamedTuple):
    """Frames whose ids are numbers from 0 on, and in how many frames each is."""

    frames: list[TrackedFrame]
    label_counts: Int[np.ndarray, " L"]
    track_counts: Int[np.ndarray, " M"]


def _number_ids(frames: Sequence[TrackedFrame]) -> _Numbered:
    nothing = np.empty(0, int)
    _, labels, label_counts = np.unique(
        np.concatenate([nothing, *(frame.label_ids for frame in frames)]), return_inverse=True, return_counts=True
    )
    _, tracks, track_counts = np.unique(
        np.concatenate([nothing, *(frame.track_ids for frame in frames)]), return_inverse=True, return_counts=True
    )
    label_ends = np.cumsum([len(frame.label_ids) for frame in frames])
    track_ends = np.cumsum([len(frame.track_ids) for frame in frames])
    numbered = [
        TrackedFrame(
            labels[label_end - len(frame.label_ids) : label_end],
            tracks[track_end - len(frame.track_ids) : track_end],
            frame.similarity,
        )
        for frame, label_end, track_end in zip(frames, label_ends, track_ends, strict=True)
    ]
    return _Numbered(numbered, label_counts, track_counts)


def _measure_hota(numbered: _Numbered) -> tuple[float, float, float]:
    labels, tracks = numbered.label_counts, numbered.track_counts
    shared = np.zeros((len(labels), len(tracks)))
    for frame in numbered.frames:
        similarity = frame.similarity
        union = similarity.sum(0, keepdims=True) + similarity.sum(1, keepdims=True) - similarity
        shared[np.ix_(frame.label_ids, frame.track_ids)] += np.where(
            union > _ROUNDING, similarity / np.maximum(union, _ROUNDING), 0.0
        )
    alignment = shared / np.maximum(labels[:, None] + tracks - shared, _ROUNDING)
    pairs_of_frames: list[Int[np.ndarray, " M"]] = [np.empty(0, int)]  # label and track as one number
    right_of_frames = [np.empty((len(_HOTA_THRESHOLDS), 0), bool)]
    for frame in numbered.frames:
        pairs = np.ix_(frame.label_ids, frame.track_ids)
        rows, columns = _assign(alignment[pairs] * frame.similarity)
        pairs_of_frames.append(frame.label_ids[rows] * len(tracks) + frame.track_ids[columns])
        right_of_frames.append(frame.similarity[rows, columns] >= _HOTA_THRESHOLDS[:, None] - _ROUNDING)
    # Of all pairs of many videos, few are ever in one frame.
    met, numbers = np.unique(np.concatenate(pairs_of_frames), return_inverse=True)
    matches = np.stack([np.bincount(numbers[is_right], minlength=len(met)) for is_right in np.hstack(right_of_frames)])
    num_right = matches.sum(1)
    num_any = labels.sum() + tracks.sum() - num_right
    detection = num_right / np.maximum(num_any, 1)
    jaccard = matches / (labels[met // len(tracks)] + tracks[met % len(tracks)] - matches)
    association = (matches * jaccard).sum(1) / np.maximum(num_right, 1)
    return float(np.sqrt(detection * association).mean()), float(detection.mean()), float(association.mean())


def _measure_idf1(numbered: _Numbered) -> float:
    labels, tracks = numbered.label_counts, numbered.track_counts
    shared = np.zeros((len(labels), len(tracks)))
    for frame in numbered.frames:
        shared[np.ix_(frame.label_ids, frame.track_ids)] += frame.similarity >= _THRESHOLD
    # Frames with the right id number 2 of all labels and detections; the assignment makes them as many as can be.
    right = shared[_assign(shared)].sum()
    return float(2 * right / max(labels.sum() + tracks.sum(), 1))


def _measure_mota(numbered: _Numbered) -> tuple[float, int]:
    """MOTA, and the number of switches."""
    num_labels = int(numbered.label_counts.sum())
    last_tracks = np.full(len(numbered.label_counts), -1)
    """The latest track of each labeled person."""
    tracks_before = last_tracks.copy()
    """Its track in the frame before, if it had one."""
    num_right = num_switches = 0
    for frame in numbered.frames:
        continues = tracks_before[frame.label_ids][:, None] == frame.track_ids
        value = np.where(frame.similarity >= _THRESHOLD - _ROUNDING, _KEEP_TRACK * continues + frame.similarity, 0.0)
        rows, columns = _assign(value)
        is_right = value[rows, columns] > 0
        people, tracks = frame.label_ids[rows[is_right]], frame.track_ids[columns[is_right]]
        num_right += len(people)
        num_switches += int(((last_tracks[people] >= 0) & (last_tracks[people] != tracks)).sum())
        last_tracks[people] = tracks
        tracks_before[:] = -1
        tracks_before[people] = tracks
    num_false = int(numbered.track_counts.sum()) - num_right
    return (num_right - num_false - num_switches) / max(num_labels, 1), num_switches


def _assign(value: Float[np.ndarray, "R C"]) -> tuple[Int[np.ndarray, " M"], Int[np.ndarray, " M"]]:
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415  # a second of imports, for tracks alone

    rows, columns = linear_sum_assignment(value, maximize=True)
    return rows, columns


_PEDESTRIAN = 1
"""MOTChallenge's class; others are vehicles, reflections and the like."""
_NUM_COLUMNS_WITH_CLASS = 9
_MOT_NAMES = ("gt", "det")
"""Of files and folders in that of a video."""
_RESULT_FILES = ("predictions.jsonl", "predictions.json")
_MAX_ID = 2**31


@dataclass(frozen=True)
class TrackedPerson:
    """Somebody in one frame."""

    track_id: int
    box: tuple[float, float, float, float]
    """Left, top, width, height in image pixels."""
    keypoints: Mapping[str, tuple[float, float]]
    """(x, y) by name; of labels, only labeled ones; empty for boxes alone."""


Frames = dict[int, list[TrackedPerson]]
"""The people of a video by the number of the frame, from 0 on."""


def evaluate_tracks(results: Path, labels: Path) -> TrackingScores:
    """HOTA, IDF1 and MOTA of tracked people: by OKS where labels have keypoints, else by IoU of boxes.

    Args:
        results: folder of `mspn predict`, its `predictions.jsonl` or `predictions.json`, or a file as labels are.
        labels: MOTChallenge's text, such as gt.txt, or PoseTrack's JSON. Frames that it says are not labeled do not
            count.

    Raises:
        AnnotationError: if a file cannot be read, nobody in the results has a track, or a labeled video is not there.
    """
    labeled, found = read_videos(labels), read_videos(_find_results(results))
    if not any(people for frames in found.values() for people in frames.values()):
        raise AnnotationError(f"{results} has nobody with a track; predict a video, without --no-track")
    frames: list[TrackedFrame] = []
    for place, (name, label_frames) in enumerate(labeled.items()):
        result_frames = _find_video(name, labeled, found, results)
        is_complete = labels.suffix.lower() != ".json"  # text has no row for a frame without people
        numbers = sorted({*label_frames, *result_frames} if is_complete else label_frames)
        frames += (_compare(label_frames.get(number, []), result_frames.get(number, []), place) for number in numbers)
    return measure_tracking(frames)


def _compare(labels: Sequence[TrackedPerson], people: Sequence[TrackedPerson], place: int) -> TrackedFrame:
    similarity = np.zeros((len(labels), len(people)))
    if labels and people:
        similarity = iou(to_xyxy([label.box for label in labels])[:, None], to_xyxy([each.box for each in people]))
        for row, label in enumerate(labels):
            if label.keypoints:
                similarity[row] = [_oks(label, person) for person in people]
    first_id = place * 2 * _MAX_ID  # videos have the same ids for other people
    label_ids, track_ids = ([first_id + person.track_id for person in group] for group in (labels, people))
    return TrackedFrame(np.array(label_ids, int), np.array(track_ids, int), similarity)


_SIGMAS = dict(zip(COCO_17.keypoints, COCO_17.sigmas, strict=True))


def _oks(label: TrackedPerson, person: TrackedPerson) -> float:
    """Over the labeled keypoints that the person has too."""
    names = [name for name in label.keypoints if name in person.keypoints]
    if not names:
        return 0.0
    expected, actual = (np.array([each.keypoints[name] for name in names]) for each in (label, person))
    distances = np.linalg.norm(expected - actual, axis=1)
    sigmas = np.array([_SIGMAS.get(name, DEFAULT_SIGMA) for name in names])
    area = max(label.box[2] * label.box[3], 1.0)
    return float(keypoint_similarity(distances, area, sigmas).mean())


def _find_results(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in _RESULT_FILES if (path / name).is_file()]
    if not found:
        raise AnnotationError(f"no {' or '.join(_RESULT_FILES)} in {path}; predict with --save jsonl")
    return found[0]


def _find_video(name: str, labeled: Mapping[str, Frames], found: Mapping[str, Frames], results: Path) -> Frames:
    """The results of a labeled video: by name, unless there is only one of each."""
    if len(labeled) == len(found) == 1:
        return next(iter(found.values()))
    if name not in found:
        raise AnnotationError(f"{results} has no video {name}; it has {', '.join(sorted(found)[:5])}")
    return found[name]


def read_videos(path: Path) -> dict[str, Frames]:
    """The tracked people of each video, by its name: of labels, or of results.

    Raises:
        AnnotationError: if the file cannot be read, or has no frames of a video.
    """
    videos: dict[str, Frames] = defaultdict(dict)
    try:
        if path.suffix.lower() not in (".json", ".jsonl"):
            parts = [path.stem, *(folder.name for folder in path.resolve().parents)]
            name = next(part for part in parts if part not in _MOT_NAMES)
            videos[name] = _read_mot(path)
            return videos
        content = read_json(path)
        rows = _read_posetrack(content) if isinstance(content, dict) and "images" in content else _read_ours(content)
        for name, frame, people in rows:
            videos[name].setdefault(frame, []).extend(people)
    except AnnotationError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise AnnotationError(
            f"{path} has no tracks that can be read ({type(error).__name__}: {error}); give MOTChallenge's text,"
            " PoseTrack's JSON or results of mspn predict"
        ) from error
    if not any(videos.values()):
        raise AnnotationError(f"{path} has no frames of a video; images alone have no tracks")
    return videos


def _read_mot(path: Path) -> Frames:
    """Rows of frame (from 1 on), id, left, top, width, height, and of labels whether they count, class, visibility.

    Those of 2015 have a place in the world, three numbers, after the sixth and seventh.
    """
    frames: Frames = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in filter(None, csv.reader(file)):
                frame, track_id, *box = map(float, row[:6])
                counts = len(row) <= 6 or float(row[6]) != 0
                is_person = len(row) != _NUM_COLUMNS_WITH_CLASS or float(row[7]) == _PEDESTRIAN
                if counts and is_person:
                    frames.setdefault(int(frame) - 1, []).append(_make_person(track_id, box, {}))
    except OSError as error:
        raise AnnotationError(f"{path} cannot be read ({error.strerror}); check the path") from error
    return frames


def _read_posetrack(content: Mapping[str, Any]) -> Iterator[tuple[str, int, list[TrackedPerson]]]:
    categories = content.get("categories") or [{}]
    names = categories[0].get("keypoints", COCO_17.keypoints)
    people: dict[Any, list[TrackedPerson]] = defaultdict(list)
    for annotation in content["annotations"]:
        rows = np.array(annotation.get("keypoints", ()), float).reshape(-1, 3)
        named = zip(names, rows.tolist(), strict=len(rows) > 0)
        keypoints = {name: (x, y) for name, (x, y, visibility) in named if visibility > 0}
        box = annotation.get("bbox")
        if not box and not keypoints:
            continue  # somebody at no known place
        box = box or _box_around(list(keypoints.values()))
        people[annotation["image_id"]].append(_make_person(annotation["track_id"], box, keypoints))
    for image in content["images"]:
        if image.get("is_labeled", True):
            file = PurePosixPath(image["file_name"])
            yield file.parent.name, int(file.stem), people[image["id"]]


def _make_person(track_id: float, box: Sequence[float], keypoints: Mapping[str, tuple[float, float]]) -> TrackedPerson:
    left, top, width, height = map(float, box)
    if not np.isfinite([left, top, width, height, *chain.from_iterable(keypoints.values())]).all():
        raise ValueError(f"person {track_id} is at no place in the image")
    number = int(track_id)
    if not abs(number) < _MAX_ID:
        raise ValueError(f"{number} is no id of a track")
    return TrackedPerson(number, (left, top, width, height), keypoints)


def _box_around(points: Sequence[tuple[float, float]]) -> list[float]:
    lowest, highest = np.min(points, axis=0), np.max(points, axis=0)
    return [*lowest.tolist(), *(highest - lowest).tolist()]


def _read_ours(content: Any) -> Iterator[tuple[str, int, list[TrackedPerson]]]:
    for row in content if isinstance(content, list) else [content]:  # a single line is no list
        if "frame" in row:
            yield (
                Path(row["source"]).stem,
                int(row["frame"]),
                [
                    _make_person(
                        person["track_id"],
                        person["box"],
                        {name: (float(x), float(y)) for name, (x, y, _) in person["keypoints"].items()},
                    )
                    for person in row["people"]
                    if person.get("track_id") is not None
                ],
            )
