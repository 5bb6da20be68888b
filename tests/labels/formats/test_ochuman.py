import json
from pathlib import Path
from typing import Any

import pytest

from mspn.errors import AnnotationError
from mspn.labels.formats.public_datasets import read_ochuman
from mspn.structures.boxes import Box, Size

CONTENT = {
    "keypoint_names": ["right_wrist", "head", "nose", "left_ear"],
    "keypoint_visible": {"missing": 0, "vis": 1, "self_occluded": 2, "others_occluded": 3},
    "images": [
        {
            "image_id": "000017",
            "file_name": "000017.jpg",
            "width": 640,
            "height": 480,
            "annotations": [
                {
                    "bbox": [10, 20, 110, 220],
                    "keypoints": [15, 25, 1, 16, 26, 2, 17, 27, 3, 0, 0, 0],
                    "segms": None,
                    "max_iou": 0.6,
                },
                {"bbox": [1, 2, 3, 4], "keypoints": None, "segms": None, "max_iou": 0.1},
            ],
        }
    ],
}


def write(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(CONTENT | changes))
    return path


def test_boxes_are_corners_and_visibility_is_translated(tmp_path: Path):
    labels = read_ochuman(write(tmp_path / "ochuman.json"))

    (image,) = labels.images
    somebody, box_only = labels.people
    assert (image.id, image.file_name, image.size) == (1, "000017.jpg", Size(480, 640))
    assert labels.skeleton.keypoints == ("right_wrist", "head", "nose", "left_ear")
    assert somebody.box == Box(10, 20, 100, 200)
    # Visible, hidden by oneself (which their own conversion counts as visible), hidden by others, missing.
    assert somebody.keypoints_image.tolist() == [[15, 25, 2], [16, 26, 2], [17, 27, 1], [0, 0, 0]]
    assert somebody.extra["max_iou"] == 0.6
    assert not box_only.keypoints_image.any()


@pytest.mark.parametrize(
    ("person", "message"),
    [
        ({"bbox": [1, 2, 3, 4], "keypoints": [1, 2]}, r"ochuman\.json: a\.jpg has 2 keypoint numbers, not 3 x 4"),
        ({"bbox": [1, 2, 3, 4], "keypoints": [1, 2, 4] * 4}, r"a\.jpg has a visibility that is none of 0, 1, 2, 3"),
        (
            {"bbox": [1, 2, 3]},
            r"images\.0\.annotations\.0\.bbox\.3: Field required; it must be OCHuman's",
        ),
    ],
)
def test_a_person_of_another_form_is_named(person: dict, message: str, tmp_path: Path):
    images = [{"file_name": "a.jpg", "width": 1, "height": 1, "annotations": [person]}]

    with pytest.raises(AnnotationError, match=message):
        read_ochuman(write(tmp_path / "ochuman.json", images=images))
