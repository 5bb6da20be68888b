import os
import pickle
from collections.abc import Iterable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from mspn.datasets.people import ImagePaths, People, merge

SMAPS = Path("/proc/self/smaps_rollup")


def people(first: int, count: int, images: list[str]) -> People:
    """People numbered from `first`, each in the last image."""
    numbers = np.arange(first, first + count)
    return People(
        images=ImagePaths.of(Path(name) for name in images),
        image_index=np.full(count, len(images) - 1),
        image_ids=numbers + 100,
        annotation_ids=numbers,
        boxes=np.repeat(numbers[:, None], 4, axis=1).astype(float),
        keypoints_image=np.zeros((count, 17, 3), np.float32) + numbers[:, None, None],
        counted=np.ones((count, 17), bool),
    )


def test_merged_people_keep_their_images():
    merged = merge([people(0, 2, ["a", "b"]), people(5, 1, ["c"]), people(7, 1, ["d", "e"])])

    assert len(merged) == 4
    assert [str(merged.images[index]) for index in merged.image_index] == ["b", "b", "c", "e"]
    assert merged.annotation_ids.tolist() == [0, 1, 5, 7]
    assert merged.image_ids.tolist() == [100, 101, 105, 107]
    assert merged.boxes[:, 0].tolist() == [0, 1, 5, 7]
    assert merged.keypoints_image[:, 0, 0].tolist() == [0, 1, 5, 7]
    assert merged.counted.shape == (4, 17)


def test_people_can_be_taken_by_position_and_by_a_mask():
    everyone = people(0, 4, ["a"])

    assert everyone.take(np.array([3, 1])).annotation_ids.tolist() == [3, 1]
    assert everyone.take(np.array([True, False, False, True])).boxes[:, 0].tolist() == [0, 3]
    assert everyone.take(np.array([2])).images is everyone.images


def test_paths_come_back_as_they_were():
    paths = [Path("a/b.jpg"), Path("/räksmörgås.png"), Path(os.fsdecode(b"not-utf8-\xff.jpg")), Path("c")]

    kept = ImagePaths.of(paths)

    assert len(kept) == 4
    assert list(kept) == paths
    assert kept[2] == paths[2]


def test_pickled_people_are_the_same():
    everyone = people(3, 2, ["a", "bc"])

    again = pickle.loads(pickle.dumps(everyone))

    assert list(again.images) == [Path("a"), Path("bc")]
    for name in ("image_index", "image_ids", "annotation_ids", "boxes", "keypoints_image", "counted"):
        np.testing.assert_array_equal(getattr(again, name), getattr(everyone, name))


def test_new_processes_share_one_copy_of_the_arrays():
    everyone = people(0, 1000, ["a"])

    first, second = (_sent_to_a_process(everyone) for _ in range(2))
    first.boxes[999, 0] = 5

    assert second.boxes[999, 0] == 5


def _sent_to_a_process(everyone: People) -> People:
    """What a process gets that is started afresh."""
    return pickle.loads(bytes(ForkingPickler.dumps(everyone)))


@pytest.mark.skipif(not SMAPS.is_file(), reason="Linux counts a process's own memory")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 on
def test_forked_processes_that_read_every_path_do_not_copy_them():
    paths = ImagePaths.of(Path(f"{'long' * 80}/{number:0100d}.jpg") for number in range(20_000))
    flat = _growth_in_a_fork(paths)
    listed = _growth_in_a_fork(list(paths))

    # Reference counts are written into all 20,000 paths of a list, some 700 bytes each; what the array costs is the
    # interpreter's own, for making paths.
    assert listed > 10_000_000
    assert flat < listed / 2


def _growth_in_a_fork(paths: Iterable[Path]) -> int:
    """Bytes that a forked process has for itself more after reading each path than before."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before = _own_bytes()
            for path in paths:
                str(path)
            os.write(sender, str(_own_bytes() - before).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(receiver, 100))


def _own_bytes() -> int:
    return sum(int(line.split()[1]) * 1024 for line in SMAPS.read_text().splitlines() if line.startswith("Private_"))
