import json
from pathlib import Path

import pytest
from PIL import Image

from mspn import PoseEstimator
from mspn.config.protocol import FAITHFUL_TEST
from mspn.detectors.precomputed import BoxesFile
from mspn.errors import AnnotationError
from mspn.evaluation.average_precision import average_precision, read_ground_truth
from mspn.evaluation.predicting import predict_people
from mspn.labels.formats.coco import CocoPeople
from mspn.structures.skeleton import COCO_17
from tests.drawn_people import write_drawn_set
from tests.trained import overfitted


def _estimator() -> PoseEstimator:
    return PoseEstimator(overfitted()[1], "none", precision="float32", batch_size=5)


def _truth(folder: Path) -> CocoPeople:
    return read_ground_truth(folder / "annotations.json", COCO_17)


def test_eight_people_learned_by_heart_are_found_again():
    folder, _ = overfitted()

    predictions = predict_people(_estimator(), _truth(folder), folder / "images", None)

    assert (predictions.num_boxes, predictions.failed) == (8, 0)
    stats = average_precision(_truth(folder), predictions.rows, COCO_17)
    assert stats["AP"] >= 0.9


def test_results_are_sorted_by_image_and_falling_score():
    folder, _ = overfitted()

    rows = predict_people(_estimator(), _truth(folder), folder / "images", None).rows

    keys = [(row["image_id"], -row["score"]) for row in rows]
    assert keys == sorted(keys)
    assert {row["category_id"] for row in rows} == {1}


def test_a_boxes_file_takes_the_place_of_the_labeled_boxes(tmp_path: Path):
    folder, _ = overfitted()
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"000000000003.png": [[20, 10, 80, 130, 0.4], [0, 0, 240, 160, 0.01]]}))

    predictions = predict_people(_estimator(), _truth(folder), folder / "images", BoxesFile(boxes))

    assert [row["image_id"] for row in predictions.rows] == [3, 3]
    assert predictions.num_boxes == 2


def test_boxes_for_other_images_are_refused(tmp_path: Path):
    folder, _ = overfitted()
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"elsewhere.png": [[20, 10, 80, 130, 0.4]]}))

    with pytest.raises(AnnotationError, match="has no box for any of the 4 images"):
        predict_people(_estimator(), _truth(folder), folder / "images", BoxesFile(boxes))


def test_equal_poses_are_kept_unless_the_protocol_suppresses_them(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=1)
    images = tmp_path / "set" / "images"
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps({"000000000001.png": [[20, 10, 80, 130, 0.4]] * 2}))
    ground_truth, detected = read_ground_truth(annotations, COCO_17), BoxesFile(boxes)
    suppressing = FAITHFUL_TEST.model_copy(update={"suppression_oks": 0.9})

    kept = predict_people(PoseEstimator("mspn-tiny", "none"), ground_truth, images, detected)
    suppressed = predict_people(PoseEstimator("mspn-tiny", "none", test=suppressing), ground_truth, images, detected)

    assert (len(kept.rows), len(suppressed.rows)) == (2, 1)


def test_images_and_boxes_of_no_use_are_counted_and_the_others_done(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=3)
    (tmp_path / "set" / "images" / "000000000002.png").write_bytes(b"")
    content = json.loads(annotations.read_text())
    content["annotations"][2]["bbox"] = [5000, 5000, 10, 10]
    annotations.write_text(json.dumps(content))

    predictions = predict_people(
        _estimator(), read_ground_truth(annotations, COCO_17), tmp_path / "set" / "images", None
    )

    assert [row["image_id"] for row in predictions.rows] == [1]
    assert predictions.failed == 2


def test_of_an_image_with_several_pages_the_first_is_evaluated(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=1)
    content = json.loads(annotations.read_text())
    (image,) = content["images"]
    images = tmp_path / "set" / "images"
    first = Image.open(images / image["file_name"])
    first.save(images / "pages.tif", save_all=True, append_images=[Image.new("RGB", first.size)])
    expected = predict_people(_estimator(), read_ground_truth(annotations, COCO_17), images, None).rows
    image["file_name"] = "pages.tif"
    annotations.write_text(json.dumps(content))

    rows = predict_people(_estimator(), read_ground_truth(annotations, COCO_17), images, None).rows

    assert rows == expected


def test_a_missing_folder_of_images_is_named(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=1)

    with pytest.raises(FileNotFoundError, match=r"no folder of images at .*elsewhere; --images must name it"):
        predict_people(_estimator(), read_ground_truth(annotations, COCO_17), tmp_path / "elsewhere", None)


def test_not_one_image_that_can_be_used_is_an_error_and_no_ap_of_0(tmp_path: Path):
    annotations = write_drawn_set(tmp_path / "set", num_images=2)
    (tmp_path / "empty").mkdir()

    with pytest.raises(AnnotationError, match=r"not one of 2 images in .*empty could be used; is it"):
        predict_people(_estimator(), read_ground_truth(annotations, COCO_17), tmp_path / "empty", None)
