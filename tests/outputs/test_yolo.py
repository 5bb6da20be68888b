from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.labels.formats.yolo import read_yolo
from mspn.outputs.annotations import YoloWriter
from mspn.structures.boxes import Box
from tests.full_disk import full_disk
from tests.outputs.results import SIZE, a_pose, a_video, of_frame, of_image


def test_labels_come_back_as_they_were_predicted(tmp_path: Path):
    writer = YoloWriter(tmp_path, Path("in"))
    writer.write(of_image("in/b/photo (1).jpg", poses=[a_pose(), replace(a_pose(), box=Box(4, 5, 10, 20))]))
    writer.write(of_image("in/nobody.jpg", poses=[]))
    writer.close()
    (tmp_path / "yolo" / "images" / "b").mkdir(parents=True)
    for name in ("b/photo (1).png", "nobody.png"):
        cv2.imwrite(str(tmp_path / "yolo" / "images" / name), np.zeros((*SIZE, 3), np.uint8))

    labels = read_yolo(tmp_path / "yolo")

    assert [image.file_name for image in labels.images] == ["b/photo (1).png", "nobody.png"]
    first, second = labels.people
    np.testing.assert_allclose(first.keypoints_image[:, :2], a_pose().keypoints_image, atol=1e-5)
    assert first.keypoints_image[:, 2].tolist() == [2] * 17
    np.testing.assert_allclose(first.box, (1, 2, 30, 40), atol=1e-5)
    np.testing.assert_allclose(second.box, (4, 5, 10, 20), atol=1e-5)


def test_labels_of_images_in_a_folder_called_images_come_back_too(tmp_path: Path):
    writer = YoloWriter(tmp_path, Path("in"))
    for name in ("images/a.jpg", "other/b.jpg"):
        writer.write(of_image(f"in/{name}"))
        image = tmp_path / "yolo" / "images" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), np.zeros((*SIZE, 3), np.uint8))
    writer.close()

    labels = read_yolo(tmp_path / "yolo")

    written = {path.relative_to(tmp_path / "yolo").as_posix() for path in tmp_path.rglob("*.txt")}
    assert written == {"images/labels/a.txt", "labels/other/b.txt"}
    assert [person.image_id for person in labels.people] == [1, 2]


def test_a_row_is_class_box_and_keypoints_as_shares_of_the_image(tmp_path: Path):
    writer = YoloWriter(tmp_path, Path("in"))

    writer.write(of_image("in/a.jpg"))

    words = (tmp_path / "yolo" / "labels" / "a.txt").read_text().split()
    # The image is 50 wide and 60 high, the box's middle at (16, 22); the left eye at (2, 3) is visible.
    assert len(words) == 5 + 17 * 3
    assert words[0] == "0"
    assert [float(word) for word in words[1:5]] == pytest.approx([16 / 50, 22 / 60, 30 / 50, 40 / 60])
    assert [float(word) for word in words[8:11]] == pytest.approx([2 / 50, 3 / 60, 2])


def test_what_is_doubtful_or_outside_is_unlabeled_and_boxes_end_at_the_border(tmp_path: Path):
    pose = replace(a_pose(), box=Box(-10, 30, 30, 60))
    pose.keypoints_image[1] = (-1, 5)
    pose.keypoint_scores[2] = 0.29
    writer = YoloWriter(tmp_path, Path("in"))

    writer.write(of_image("in/a.jpg", poses=[pose]))

    numbers = [float(word) for word in (tmp_path / "yolo" / "labels" / "a.txt").read_text().split()]
    # From (0, 30) to (20, 60): 20 wide and 30 high around (10, 45).
    assert numbers[1:5] == pytest.approx([0.2, 0.75, 0.4, 0.5])
    assert numbers[8:14] == [0] * 6
    assert numbers[14:17] == pytest.approx([6 / 50, 7 / 60, 2])


def test_frames_have_their_number_in_the_name(tmp_path: Path):
    writer = YoloWriter(tmp_path, Path("in"))

    writer.write(of_frame(a_video("in/match.mp4"), 12, 0.48))

    assert [path.name for path in (tmp_path / "yolo" / "labels").iterdir()] == ["match-000012.txt"]


def test_a_full_disk_is_named(tmp_path: Path):
    writer = YoloWriter(tmp_path, Path("in"))

    with full_disk(100), pytest.raises(OSError, match=r"could not write .*a.txt \(.*\); is there room on the disk"):
        writer.write(of_image("a.jpg"))
