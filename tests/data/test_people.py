from pathlib import Path

import numpy as np

from mspn.data.people import People, merge


def people(first: int, count: int, pictures: list[str]) -> People:
    """People numbered from `first`, each in the last picture."""
    numbers = np.arange(first, first + count)
    return People(
        pictures=[Path(name) for name in pictures],
        picture_index=np.full(count, len(pictures) - 1),
        image_ids=numbers + 100,
        annotation_ids=numbers,
        boxes=np.repeat(numbers[:, None], 4, axis=1).astype(float),
        keypoints_image=np.zeros((count, 17, 3), np.float32) + numbers[:, None, None],
        counted=np.ones((count, 17), bool),
    )


def test_merged_people_keep_their_pictures():
    merged = merge([people(0, 2, ["a", "b"]), people(5, 1, ["c"]), people(7, 1, ["d", "e"])])

    assert len(merged) == 4
    assert [str(merged.pictures[index]) for index in merged.picture_index] == ["b", "b", "c", "e"]
    assert merged.annotation_ids.tolist() == [0, 1, 5, 7]
    assert merged.image_ids.tolist() == [100, 101, 105, 107]
    assert merged.boxes[:, 0].tolist() == [0, 1, 5, 7]
    assert merged.keypoints_image[:, 0, 0].tolist() == [0, 1, 5, 7]
    assert merged.counted.shape == (4, 17)


def test_people_can_be_taken_by_position_and_by_a_mask():
    everyone = people(0, 4, ["a"])

    assert everyone.take(np.array([3, 1])).annotation_ids.tolist() == [3, 1]
    assert everyone.take(np.array([True, False, False, True])).boxes[:, 0].tolist() == [0, 3]
    assert everyone.take(np.array([2])).pictures == everyone.pictures
