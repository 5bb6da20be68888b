from pathlib import Path

import numpy as np
import pytest

from mspn.datasets.people import ImagePaths, People
from mspn.datasets.workers import read_by_first
from mspn.distributed import Processes
from mspn.errors import AnnotationError
from tests.training.several import run_together


def two_people() -> People:
    return People(
        images=ImagePaths.of([Path("a.jpg"), Path("b/é.jpg")]),
        image_index=np.array([1, 0]),
        image_ids=np.array([7, 8]),
        annotation_ids=np.array([2**40, 5]),
        boxes=np.array([[0.5, 1, 2, 3], [4, 5, 6, 7]]),
        keypoints_image=np.arange(12, dtype=np.float32).reshape(2, 2, 3),
        counted=np.array([[True, False], [False, True]]),
        category="fish",
    )


def read_together(processes: Processes) -> None:
    """What each process does: only the first one may read."""

    def read() -> list[People]:
        assert processes.is_first
        return [two_people(), two_people().take(np.zeros(2, bool))]

    def fail() -> list[People]:
        raise AnnotationError("no labels at a.json")

    people, nobody = read_by_first(processes, read)

    expected = two_people()
    assert [str(path) for path in people.images] == ["a.jpg", "b/é.jpg"]
    for name in ("image_index", "image_ids", "annotation_ids", "boxes", "keypoints_image", "counted"):
        received, right = getattr(people, name), getattr(expected, name)
        assert received.dtype == right.dtype
        np.testing.assert_array_equal(received, right)
    assert people.category == "fish"
    assert (len(nobody), nobody.keypoints_image.shape) == (0, (0, 2, 3))
    with pytest.raises(AnnotationError, match=r"no labels at a\.json"):
        read_by_first(processes, fail)


def test_one_process_reads_and_the_others_have_the_same():
    run_together(2, read_together)
