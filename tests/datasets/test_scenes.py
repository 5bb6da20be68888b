import json
from pathlib import Path

import numpy as np
import pytest

from mspn.config.data import SceneDataConfig, SceneSetConfig
from mspn.datasets.samples import IGNORE, PERSON
from mspn.datasets.scenes import merge_scenes, read_scenes
from mspn.errors import AnnotationError


def write_set(folder: Path, labeled: list[list[float]], proposed: list[list[float]], *, crowds: int = 0) -> None:
    """One image with boxes left, top, width, height; the first ones are of crowds."""
    folder.mkdir(parents=True)
    rows = [
        {
            "id": number,
            "image_id": 1,
            "category_id": 1,
            "bbox": box,
            "area": 50.0,
            "iscrowd": int(number <= crowds),
            "keypoints": [5, 5, 2] + [0] * 48,
            "num_keypoints": 1,
        }
        for number, box in enumerate(labeled, start=1)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 100, "width": 100}],
        "annotations": rows,
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    (folder / "people_boxes.json").write_text(json.dumps({"a.png": proposed}))


def read(folder: Path, labeled: str = "people") -> list[tuple[list[float], int]]:
    """Boxes (left, top, right, bottom) and kinds of the only image."""
    config = SceneSetConfig(
        annotations="annotations.json", images="images", proposals="people_boxes.json", labeled=labeled
    )
    scenes = read_scenes(config, SceneDataConfig(root=str(folder)))
    boxes, kinds = scenes.boxes_of(0)
    return list(zip(boxes.tolist(), kinds.tolist(), strict=True))


LABELED = [10, 10, 20, 40]
ITS_CORNERS = [10, 10, 30, 50]


@pytest.mark.parametrize(
    ("proposal", "expected"),
    [
        ([10, 10, 20, 38, 0.9], []),  # IoU 0.95: the same person
        ([60, 10, 20, 40, 0.9], [([60, 10, 80, 50], PERSON)]),
        ([60, 10, 20, 40, 0.3], [([60, 10, 80, 50], IGNORE)]),
        ([20, 10, 20, 40, 0.9], [([20, 10, 40, 50], IGNORE)]),  # IoU 1/3: the same person, or somebody beside
    ],
)
def test_exact_labels_are_people_and_proposals_add_to_them(
    tmp_path: Path, proposal: list[float], expected: list[tuple[list[float], int]]
):
    write_set(tmp_path / "set", [LABELED], [proposal])

    assert read(tmp_path / "set") == [(ITS_CORNERS, PERSON), *expected]


def test_a_likely_proposal_takes_the_place_of_a_rough_label(tmp_path: Path):
    write_set(tmp_path / "set", [LABELED, [60, 10, 20, 40]], [[12, 10, 18, 40, 0.8], [60, 10, 20, 40, 0.3]])

    # The second label and its unlikely proposal are both ignored.
    assert read(tmp_path / "set", "ignore") == [
        ([60, 10, 80, 50], IGNORE),
        ([12, 10, 30, 50], PERSON),
        ([60, 10, 80, 50], IGNORE),
    ]


def test_a_crowd_is_neither_people_nor_background(tmp_path: Path):
    write_set(tmp_path / "set", [LABELED], [], crowds=1)

    assert read(tmp_path / "set") == [(ITS_CORNERS, IGNORE)]


def test_sets_are_merged_one_after_another(tmp_path: Path):
    write_set(tmp_path / "a", [LABELED, [60, 10, 20, 40]], [])
    write_set(tmp_path / "b", [[1, 2, 3, 4]], [])
    config = SceneSetConfig(annotations="annotations.json", images="images")
    sets = [read_scenes(config, SceneDataConfig(root=str(tmp_path / name))) for name in "ab"]

    merged = merge_scenes(sets)

    assert [path.parent.parent.name for path in merged.images] == ["a", "b"]
    assert merged.boxes_of(1)[0].tolist() == [[1, 2, 4, 6]]
    assert np.array_equal(merged.first_box, [0, 2, 3])


def test_proposals_of_another_form_are_refused(tmp_path: Path):
    write_set(tmp_path / "set", [LABELED], [[1, 2, 3, 4]])

    with pytest.raises(AnnotationError, match=r"people_boxes\.json is no table of proposals; write"):
        read(tmp_path / "set")
