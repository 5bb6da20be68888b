import json
from pathlib import Path

import pytest

from mspn.errors import AnnotationError
from mspn.evaluation.tracks import evaluate_tracks
from mspn.structures.skeleton import COCO_17
from tests.cli.runner import error_line, run

_PEOPLE = {1: (10, 20, 40, 100), 2: (200, 20, 40, 100)}
"""Boxes by id, which move by 5 pixels a frame."""


def _mot(folder: Path, *, name: str = "gt.txt", rename: dict[int, int] | None = None, extra: str = "") -> Path:
    rows = [
        f"{frame + 1},{(rename or {}).get(person, person)},{left + 5 * frame},{top},{width},{height},1,1,1"
        for frame in range(4)
        for person, (left, top, width, height) in _PEOPLE.items()
    ]
    path = folder / name
    path.write_text("\n".join([*rows, extra]) + "\n")
    return path


def _row(frame: int, ids: dict[int, int | None], *, source: str = "street.mp4", shift: float = 0) -> dict[str, object]:
    people = []
    for person, track in ids.items():
        left, top, width, height = _PEOPLE[person]
        left += 5 * frame
        keypoints = {name: [left + number + shift, top + number, 0.9] for number, name in enumerate(COCO_17.keypoints)}
        track_fields = {} if track is None else {"track_id": track}
        people.append({**track_fields, "box": [left, top, width, height], "keypoints": keypoints})
    return {"source": source, "frame": frame, "seconds": frame / 25, "people": people}


def _jsonl(folder: Path, rows: list[dict[str, object]]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_results_of_a_video_are_compared_with_motchallenges_boxes(tmp_path: Path):
    results = _jsonl(tmp_path / "out", [_row(frame, {1: 5, 2: 9 if frame < 2 else 6}) for frame in range(4)])

    scores = evaluate_tracks(results, _mot(tmp_path))

    # 4 and 2 of 8 boxes with the right id.
    assert (scores.idf1, scores.mota, scores.num_switches) == (6 / 8, 7 / 8, 1)
    assert scores.detection == 1


def test_rows_that_do_not_count_and_other_classes_are_left_out(tmp_path: Path):
    labels = _mot(tmp_path, extra="1,3,300,20,40,100,0,1,1\n1,4,400,20,40,100,1,3,1")

    assert evaluate_tracks(_mot(tmp_path, name="found.txt"), labels).num_labels == 8


def test_places_in_the_world_of_2015_are_no_classes(tmp_path: Path):
    labels = tmp_path / "gt.txt"
    labels.write_text("1,1,10,20,40,100,1,4.48,5.5,0\n1,2,200,20,40,100,1,-1,-1,-1\n")

    assert evaluate_tracks(labels, labels).num_labels == 2


def test_people_without_a_track_do_not_count(tmp_path: Path):
    results = _jsonl(tmp_path / "out", [_row(frame, {1: 5, 2: None}) for frame in range(4)])

    scores = evaluate_tracks(results, _mot(tmp_path))

    assert (scores.num_found, scores.mota) == (4, 0.5)


def _posetrack(folder: Path, *, videos: tuple[str, ...] = ("street",)) -> Path:
    """Labels of three frames of each video, and a fourth that is not labeled; noses are not labeled."""
    images, annotations = [], []
    for video in videos:
        for frame in range(4):
            image_id = len(images)
            name = f"images/val/{video}/00000{frame}.jpg"
            images.append({"id": image_id, "file_name": name, "is_labeled": frame < 3})
            for person, (left, top, width, height) in _PEOPLE.items() if frame < 3 else ():
                points = [(left + 5 * frame + number, top + number, 2 if number else 0) for number in range(17)]
                annotations.append(
                    {
                        "image_id": image_id,
                        "track_id": person,
                        "bbox": [left + 5 * frame, top, width, height],
                        "keypoints": [value for point in points for value in point],
                    }
                )
    content = {"images": images, "annotations": annotations, "categories": [{"keypoints": COCO_17.keypoints}]}
    path = folder / "labels.json"
    path.write_text(json.dumps(content))
    return path


def test_poses_are_compared_by_their_labeled_keypoints(tmp_path: Path):
    right = _jsonl(tmp_path / "right", [_row(frame, {1: 5, 2: 9}) for frame in range(4)])
    # The boxes are right, and the keypoints 60 pixels beside.
    wrong = _jsonl(tmp_path / "wrong", [_row(frame, {1: 5, 2: 9}, shift=60) for frame in range(4)])

    assert evaluate_tracks(right, _posetrack(tmp_path))[3:] == (1, 1, 0, 6, 6)
    assert evaluate_tracks(wrong, _posetrack(tmp_path)).idf1 == 0


def test_labels_of_people_at_no_place_do_not_count(tmp_path: Path):
    labels = _posetrack(tmp_path)
    content = json.loads(labels.read_text())
    content["annotations"].append({"image_id": 0, "track_id": 3, "keypoints": [0] * 51})
    labels.write_text(json.dumps(content))
    rows = [_row(frame, {1: 5, 2: 9}) for frame in range(4)]

    assert evaluate_tracks(_jsonl(tmp_path / "out", rows), labels).num_labels == 6


def test_several_videos_are_matched_by_name_and_their_ids_are_different_people(tmp_path: Path):
    rows = [_row(frame, {1: 1, 2: 2}, source=f"{name}.mp4") for name in ("street", "yard") for frame in range(4)]

    scores = evaluate_tracks(_jsonl(tmp_path / "out", rows), _posetrack(tmp_path, videos=("yard", "street")))

    assert (scores.hota, scores.num_labels) == (1, 12)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([_row(0, {1: None})], "out has nobody with a track; predict a video, without --no-track"),
        ([_row(0, {1: 1}, source=f"{name}.mp4") for name in "ab"], r"out has no video street; it has a, b"),
        ([{"frame": 0, "source": "a"}], r"has no tracks that can be read \(KeyError: 'people'\); give MOTChallenge's"),
    ],
)
def test_results_of_no_use_are_one_line(tmp_path: Path, rows: list[dict[str, object]], message: str):
    labels = _posetrack(tmp_path)

    with pytest.raises(AnnotationError, match=message):
        evaluate_tracks(_jsonl(tmp_path / "out", rows), labels)


@pytest.mark.parametrize(
    "content",
    [
        "1,2,3",
        "no,text,of,this,kind,at all",
        "{}",
        "[1]",
        "inf,1,0,0,9,9",
        "1,inf,0,0,9,9",
        "1,1e12,0,0,9,9",
        "1,1,nan,0,9,9",
        '[{"frame": 0, "source": "a", "people": [{"track_id": 1, "box": [0, 0, NaN, 9], "keypoints": {}}]}]',
    ],
)
def test_labels_that_are_none_are_one_line(tmp_path: Path, content: str):
    results = _jsonl(tmp_path / "out", [_row(0, {1: 1})])
    labels = tmp_path / ("labels.json" if content[0] in "[{" else "gt.txt")
    labels.write_text(content)

    with pytest.raises(AnnotationError, match=r"has no tracks that can be read|has no frames of a video"):
        evaluate_tracks(results, labels)


def test_what_is_wrong_with_a_file_is_told_once(tmp_path: Path):
    results = _jsonl(tmp_path / "out", [_row(0, {1: 1})])
    (tmp_path / "cut.json").write_text("[{")

    for name, problem in (("gt.txt", "cannot be read"), ("gt.json", "no file at"), ("cut.json", "is not JSON")):
        with pytest.raises(AnnotationError, match=problem) as caught:
            evaluate_tracks(results, tmp_path / name)
        assert str(caught.value).count(name) == 1


def test_the_command_prints_the_scores_and_refuses_what_it_does_not_use(tmp_path: Path):
    labels = _mot(tmp_path)
    results = _jsonl(tmp_path / "out", [_row(frame, {1: 5, 2: 9}) for frame in range(4)])

    shown = run("evaluate", "--tracks", "--results", results, "--annotations", labels)
    refused = run("evaluate", "--tracks", "--results", results, "--annotations", labels, "--flip")
    missing = run("evaluate", "--tracks", "--annotations", labels)

    assert shown.exit_code == 0, shown.output
    assert "HOTA" in shown.stdout
    assert "1.000" in shown.stdout
    assert "--flip is not used with --tracks" in error_line(refused)
    assert "give --results to --tracks" in error_line(missing)
