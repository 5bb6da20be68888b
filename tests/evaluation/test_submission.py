import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from mspn.detectors.precomputed import BoxesFile
from mspn.errors import AnnotationError
from mspn.evaluation.submission import check_submission_name, read_unlabeled, submit_people, write_submission
from mspn.structures.skeleton import COCO_17
from tests.drawn_people import write_drawn_set
from tests.untrained import untrained_estimator

NAME = "person_keypoints_test-dev2017_mspn-4_results"


def _row(**changes: Any) -> dict[str, Any]:
    return {"image_id": 7, "category_id": 1, "keypoints": [10.26, 20.34, 0.987] * 17, "score": 0.1234567} | changes


def test_the_zip_holds_one_file_of_its_own_name_in_tenths_of_a_pixel(tmp_path: Path):
    write_submission(tmp_path / f"{NAME}.zip", [_row()])

    with zipfile.ZipFile(tmp_path / f"{NAME}.zip") as archive:
        assert archive.namelist() == [f"{NAME}.json"]
        (row,) = json.loads(archive.read(f"{NAME}.json"))
    assert row == {"image_id": 7, "category_id": 1, "keypoints": [10.3, 20.3, 1.0] * 17, "score": 0.12346}
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}.zip"]


def test_more_than_20_people_of_an_image_are_written(tmp_path: Path):
    write_submission(tmp_path / f"{NAME}.zip", [_row()] * 25)

    with zipfile.ZipFile(tmp_path / f"{NAME}.zip") as archive:
        assert len(json.loads(archive.read(f"{NAME}.json"))) == 25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"category_id": 2}, "0.category_id: Input should be 1"),
        ({"keypoints": [1.0] * 48}, "0.keypoints: List should have at least 51 items"),
        ({"score": float("nan")}, "0.score: Input should be a finite number"),
        ({"image_id": -1}, "0.image_id: Input should be greater than or equal to 0"),
        ({"bbox": [1, 2, 3, 4]}, "0.bbox: Extra inputs"),
    ],
)
def test_rows_that_the_server_does_not_take_are_refused(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=f"COCO's server would not take these results: {message}"):
        write_submission(tmp_path / f"{NAME}.zip", [_row(**changes)])


@pytest.mark.parametrize(
    "name",
    [
        "results.zip",
        "person_keypoints_test2017_mspn_results.zip",
        "person_keypoints_val2017__results.zip",
        "person_keypoints_val2017_my net_results.zip",
        f"{NAME}.json",
    ],
)
def test_names_that_the_server_does_not_take_are_refused(name: str):
    with pytest.raises(ValueError, match=r"takes person_keypoints_SPLIT_NAME_results\.zip with SPLIT val2017"):
        check_submission_name(Path(name))


def test_images_without_annotations_are_predicted_and_written(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    annotations = write_drawn_set(tmp_path / "set", num_images=2, people_per_image=2)
    content = json.loads(annotations.read_text())
    images = tmp_path / "image_info_test-dev2017.json"
    images.write_text(json.dumps({"images": content["images"]}))
    boxes = [{**row, "category_id": 1, "score": 0.5} for row in content["annotations"]]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    submission = tmp_path / f"{NAME}.zip"

    predictions = submit_people(
        untrained_estimator(tmp_path),
        images,
        tmp_path / "set" / "images",
        BoxesFile(tmp_path / "boxes.json"),
        submission,
    )

    assert predictions.failed == 0
    with zipfile.ZipFile(submission) as archive:
        rows = json.loads(archive.read(f"{NAME}.json"))
    assert [row["image_id"] for row in rows] == [1, 1, 2, 2]
    assert "not the images of COCO's test-dev2017 (it has 2 images, not 20288)" in caplog.text


def test_a_network_of_other_keypoints_is_refused(tmp_path: Path):
    estimator = untrained_estimator(tmp_path, ["skeleton=lsp-14", "model.num_keypoints=14"])
    (tmp_path / "boxes.json").write_text("[]")

    with pytest.raises(ValueError, match="takes the keypoints of coco-17, but this network predicts those of lsp-14"):
        submit_people(estimator, tmp_path, tmp_path, BoxesFile(tmp_path / "boxes.json"), tmp_path / f"{NAME}.zip")


@pytest.mark.parametrize(
    ("content", "message"),
    [({}, "images: Field required; it must name"), ({"images": []}, "images: List should have at least 1 item")],
)
def test_a_file_that_names_no_images_is_refused(tmp_path: Path, content: Any, message: str):
    path = tmp_path / "image_info.json"
    path.write_text(json.dumps(content))

    with pytest.raises(AnnotationError, match=message):
        read_unlabeled(path, COCO_17)
