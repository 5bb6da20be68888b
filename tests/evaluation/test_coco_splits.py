import logging
from pathlib import Path

import pytest

from mspn.evaluation.submission import SPLITS, claimed_split, confirm_split

TRAIN, VAL, TEST_DEV, TEST = SPLITS


def _ids(split_ids: frozenset[int], count: int) -> list[int]:
    """That many numbers, the given ones among them; the others are no image's."""
    return [*split_ids, *range(10_000_000, 10_000_000 + count - len(split_ids))]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("person_keypoints_val2017.json", "val2017"),
        ("minival_2014.json", "val2017"),
        ("train_val_minus_minival_2014.json", "train2017"),
        ("person_keypoints_train2017.json", "train2017"),
        ("image_info_test-dev2017.json", "test-dev2017"),
        ("image_info_test2017.json", "test2017"),
    ],
)
def test_file_names_claim_splits(name: str, split: str):
    claimed = claimed_split(name)

    assert claimed is not None
    assert claimed.name == split


def test_a_file_of_the_right_number_with_the_right_images_is_the_split():
    assert confirm_split(Path("person_keypoints_val2017.json"), _ids(VAL.sample_ids, 5000)) == "val2017"
    assert confirm_split(Path("image_info_test-dev2017.json"), _ids(frozenset(), 20_288)) == "test-dev2017"
    assert confirm_split(Path("labels.json"), [1, 2, 3]) is None


def test_the_number_of_images_claims_a_split_too():
    assert confirm_split(Path("labels.json"), _ids(VAL.sample_ids, 5000)) == "val2017"


@pytest.mark.parametrize(
    ("name", "ids", "problem"),
    [
        ("val2017.json", _ids(VAL.sample_ids, 4999), "it has 4999 images, not 5000"),
        ("val2017.json", _ids(VAL.sample_ids | {36}, 5000), "image 36 in it belongs to train2017"),
        ("labels.json", _ids(VAL.sample_ids - {40036}, 5000), "image 40036 is missing"),
    ],
)
def test_a_false_claim_is_warned_of(name: str, ids: list[int], problem: str, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        assert confirm_split(Path(name), ids) is None

    assert f"{name}: not the images of COCO's val2017 ({problem})" in caplog.text


def test_no_image_is_of_two_splits():
    assert not TRAIN.sample_ids & VAL.sample_ids
