import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from mspn import PoseEstimator
from mspn.errors import AnnotationError
from mspn.evaluation.evaluation_set import read_person_keypoints
from mspn.evaluation.predicting import predict_labeled
from mspn.labels.formats.coco import read_coco
from mspn.labels.formats.mpii import read_mpii
from mspn.labels.label_set import LabeledImage, LabeledSet
from mspn.predict.ensemble import PersonCrop
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17, LSP_14, MPII_16
from tests.apart import ProcessApart
from tests.labels.formats.mpii_files import joints, write_json
from tests.labels.label_sets import two_people
from tests.trained import overfitted

pytestmark = pytest.mark.usefixtures("mat_files_read_here")


def _write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text(json.dumps(rows))
    return path


def _row(image_id: int, x: float, count: int = 14, **more: Any) -> dict[str, Any]:
    """Every keypoint at (x, 7)."""
    return {"image_id": image_id, "category_id": 1, "keypoints": [x, 7, 0.5] * count, "score": 1} | more


def _one_in_each() -> LabeledSet:
    """LSP's way: one person an image; ids 1 and 2, as the images'."""
    first, second = two_people(LSP_14).people
    images = [LabeledImage(1, "im0001.jpg"), LabeledImage(2, "im0002.jpg"), LabeledImage(3, "empty.jpg")]
    return LabeledSet(LSP_14, images, [first, replace(second, image_id=2)])


def test_results_find_their_people_by_image_and_by_annotation_id(tmp_path: Path):
    alone = _write(tmp_path / "alone.json", _row(2, 20), _row(1, 10), _row(3, 30))
    by_id = _write(tmp_path / "by-id.json", _row(1, 20, annotation_id=2), _row(1, 10, annotation_id=1))

    # Of an image without labeled people, nothing is measured.
    for labels, path in ((_one_in_each(), alone), (two_people(LSP_14), by_id)):
        found = read_person_keypoints(path, labels)

        assert found.skeleton == LSP_14
        assert {number: rows[0].tolist() for number, rows in found.keypoints_image.items()} == {1: [10, 7], 2: [20, 7]}


@pytest.mark.parametrize("name", ["im0002.jpg", "photos/lsp/im0002.jpg"])
def test_file_names_find_the_image_where_ids_are_another_systems(tmp_path: Path, name: str):
    path = _write(tmp_path / "results.json", _row(77, 20, 17, file_name=name))

    found = read_person_keypoints(path, _one_in_each())

    assert found.skeleton == COCO_17
    assert found.keypoints_image[2].tolist() == [[20, 7]] * 17


def test_hrnets_mat_counts_from_one(tmp_path: Path):
    savemat(tmp_path / "pred.mat", {"preds": joints()})

    found = read_person_keypoints(tmp_path / "pred.mat", read_mpii(write_json(tmp_path / "valid.json")))

    assert found.skeleton == MPII_16
    assert found.keypoints_image[3][:2].tolist() == [[100, 202], [110, 202]]


def test_no_results_are_results(tmp_path: Path):
    assert read_person_keypoints(_write(tmp_path / "results.json"), _one_in_each()).keypoints_image == {}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([_row(1, 0, 16)], "rows of 48 keypoint numbers; all must have 42 or all 51"),
        ([_row(1, 0), _row(2, 0, 17)], "rows of 42, 51 keypoint numbers"),
        ([{"image_id": 1}], r"0\.keypoints: Field required; it must be a COCO results list"),
        ([_row(9, 0)], "row 0 is of image 9, which is not among the labeled ones"),
        ([_row(1, 0, file_name="x.jpg")], r"row 0 is of image x\.jpg, which is not among"),
        ([_row(1, 0), _row(1, 5)], "row 1 is a second result for person 1; leave one"),
        ([_row(1, 0, annotation_id=9)], "row 0 is of person 9, not in the labels"),
    ],
)
def test_results_of_no_use_are_refused(rows: list[dict[str, Any]], message: str, tmp_path: Path):
    with pytest.raises(AnnotationError, match=message):
        read_person_keypoints(_write(tmp_path / "results.json", *rows), _one_in_each())


def test_in_an_image_of_several_people_a_result_must_say_whose_it_is(tmp_path: Path):
    with pytest.raises(
        AnnotationError, match=r"row 0 is of an image with 2 labeled people; it must have an annotation_id"
    ):
        read_person_keypoints(_write(tmp_path / "results.json", _row(1, 0)), two_people(LSP_14))


def test_mat_results_must_be_of_mpii_and_of_everyone(tmp_path: Path):
    labels = read_mpii(write_json(tmp_path / "valid.json"))
    for name, preds in (("two.mat", joints()[:2]), ("nan.mat", np.full((3, 16, 2), np.nan))):
        savemat(tmp_path / name, {"preds": preds})

        with pytest.raises(AnnotationError, match=r"preds are \(\d, 16, 2\), not \(3, 16, 2\) finite numbers"):
            read_person_keypoints(tmp_path / name, labels)
    with pytest.raises(AnnotationError, match=r"in \.mat are read for MPII's labels only; give a COCO results list"):
        read_person_keypoints(tmp_path / "two.mat", _one_in_each())


def test_everyone_is_predicted_in_the_labeled_box():
    folder, weights = overfitted()
    labels = read_coco(folder / "annotations.json")
    estimator = PoseEstimator(weights, "none", precision="float32")

    found, rows = predict_labeled(estimator, labels, folder / "images")

    assert found.skeleton == COCO_17
    assert found.failed == 0
    assert [row["annotation_id"] for row in rows] == list(range(1, 9))
    for person in labels.people:
        errors = np.linalg.norm(found.keypoints_image[person.id] - person.keypoints_image[:, :2], axis=1)
        assert np.median(errors) < 3


def test_people_who_cannot_be_predicted_are_counted_and_the_others_done(tmp_path: Path):
    folder, weights = overfitted()
    labels = read_coco(folder / "annotations.json")
    images = [replace(labels.images[0], file_name="missing.png"), *labels.images[1:]]
    without_box = replace(labels.people[2], box=None)
    people = [*labels.people[:2], without_box, *labels.people[3:]]

    found, _ = predict_labeled(
        PoseEstimator(weights, "none", precision="float32"),
        LabeledSet(COCO_17, images, people),
        folder / "images",
    )

    # Two people are in the missing image; who has no box gets the one around the keypoints.
    assert sorted(found.keypoints_image) == [3, 4, 5, 6, 7, 8]
    assert found.failed == 1


def test_a_folder_without_the_images_is_refused(tmp_path: Path):
    folder, weights = overfitted()
    estimator = PoseEstimator(weights, "none", precision="float32")
    labels = read_coco(folder / "annotations.json")

    with pytest.raises(AnnotationError, match=r"not one of 4 images in .* could be used; is it the right folder\?"):
        predict_labeled(estimator, labels, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder of images at .*elsewhere; --images must name it"):
        predict_labeled(estimator, labels, tmp_path / "elsewhere")


def test_processes_share_whole_batches():
    folder, weights = overfitted()
    labels = read_coco(folder / "annotations.json")
    estimator = PoseEstimator(weights, "none", precision="float32", batch_size=3)

    parts = [
        predict_labeled(estimator, labels, folder / "images", processes=ProcessApart(rank, 2))[0].keypoints_image
        for rank in range(2)
    ]

    # Eight people are batches of 3, 3 and 2; the second image has people in the first two.
    assert [sorted(part) for part in parts] == [[1, 2, 3], [4, 5, 6, 7, 8]]


def test_batches_are_full_across_images(monkeypatch: pytest.MonkeyPatch):
    folder, weights = overfitted()
    labels = read_coco(folder / "annotations.json")
    estimator = PoseEstimator(weights, "none", precision="float32", batch_size=3)
    sizes: list[int] = []
    estimate = estimator.top_down.estimate

    def count(people: Sequence[PersonCrop]) -> list[Pose]:
        sizes.append(len(people))
        return estimate(people)

    monkeypatch.setattr(estimator.top_down, "estimate", count)
    predict_labeled(estimator, labels, folder / "images")

    assert sizes == [3, 3, 2]
