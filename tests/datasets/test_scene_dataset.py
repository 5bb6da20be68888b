from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mspn.config.data import SceneConfig
from mspn.datasets.people import ImagePaths
from mspn.datasets.samples import IGNORE, PERSON, SampleRequest
from mspn.datasets.scenes import MAX_BOXES, SceneDataset, Scenes, SceneSample

RED, GRAY = (200, 20, 20), (114, 114, 114)
PLAIN = SceneConfig(
    side=64,
    scale=(1.0, 1.0),
    mosaic_probability=0,
    paste_probability=0,
    mirror_probability=0,
    gray_probability=0,
    max_brightness=0,
)


def write_image(path: Path, height: int, width: int, corners: list[int]) -> None:
    """A red person on black."""
    left, top, right, bottom = corners
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[top:bottom, left:right] = RED
    cv2.imwrite(str(path), pixels[..., ::-1])


def scenes_of(*images: tuple[Path, list[int]]) -> Scenes:
    boxes = np.array([corners for _, corners in images], np.float32)
    return Scenes(
        images=ImagePaths.of(path for path, _ in images),
        first_box=np.arange(len(images) + 1),
        boxes=boxes,
        kinds=np.full(len(images), PERSON),
    )


@pytest.fixture
def scenes(tmp_path: Path) -> Scenes:
    corners = [20, 10, 60, 110]
    write_image(tmp_path / "a.png", 128, 96, corners)
    return scenes_of((tmp_path / "a.png", corners))


def people_in(sample: SceneSample) -> list[list[float]]:
    return sample.labels.boxes[sample.labels.kinds == PERSON].tolist()


def changed(config: SceneConfig, **changes: object) -> SceneConfig:
    return config.model_copy(update=changes)


def test_an_image_keeps_its_shape_and_boxes_follow_it(scenes: Scenes):
    sample = SceneDataset(scenes, PLAIN, seed=0)[SampleRequest(0, 0)]

    assert sample.pixels.shape == (64, 64, 3)
    assert sample.pixels.dtype == torch.uint8
    ((left, top, right, bottom),) = people_in(sample)
    # The longer side of 128 becomes 64; sideways, the 48 columns lie anywhere.
    assert (right - left, top, bottom) == (20, 5, 55)
    assert sample.pixels[30, int(left) + 10].tolist() == list(RED)
    outside = sample.pixels[30, [column for column in range(64) if not left - 10 <= column < right + 18]]
    assert all(pixel == list(GRAY) for pixel in outside.tolist())


def test_mirrored_images_have_mirrored_boxes(scenes: Scenes):
    wide = changed(PLAIN, scale=(2.0, 2.0), mirror_probability=1.0)

    for position in range(5):
        sample = SceneDataset(scenes, wide, seed=0)[SampleRequest(position, 0)]
        for left, top, right, bottom in people_in(sample):
            middle = sample.pixels[int(top + bottom) // 2, int(left + right) // 2]
            assert middle.tolist() == list(RED)


def test_the_same_draw_gives_the_same_scene_and_another_another(scenes: Scenes):
    dataset = SceneDataset(scenes, SceneConfig(side=64), seed=3)

    first, again, other = dataset[SampleRequest(5, 0)], dataset[SampleRequest(5, 0)], dataset[SampleRequest(6, 0)]

    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.labels.boxes, again.labels.boxes)
    assert not torch.equal(first.pixels, other.pixels)


def test_a_mosaic_shows_four_images_that_meet(scenes: Scenes):
    config = changed(PLAIN, mosaic_probability=1.0, mosaic_scale=(0.5, 0.5))

    sample = SceneDataset(scenes, config, seed=1)[SampleRequest(0, 0)]

    assert len(people_in(sample)) == 4
    for left, top, right, bottom in people_in(sample):
        assert sample.pixels[int(top + bottom) // 2, int(left + right) // 2].tolist() == list(RED)


def test_people_who_are_mostly_cut_off_or_tiny_are_ignored(scenes: Scenes):
    # Twice the scene's size: of a person 100 pixels high, at most 64 are in sight.
    enlarged = changed(PLAIN, scale=(2.0, 2.0), min_visible=0.9)
    tiny = changed(PLAIN, scale=(0.1, 0.1))

    for config in (enlarged, tiny):
        sample = SceneDataset(scenes, config, seed=0)[SampleRequest(0, 0)]
        kinds = sample.labels.kinds
        assert (kinds == PERSON).sum() == 0
        assert (kinds == IGNORE).sum() == 1


def test_pasted_people_are_people_and_hide_others(scenes: Scenes):
    config = changed(PLAIN, paste_probability=1.0, max_pasted=6, paste_height=(0.8, 0.8))

    sample = SceneDataset(scenes, config, seed=2)[SampleRequest(1, 0)]

    pasted = people_in(sample)
    assert pasted
    assert (sample.labels.kinds > 0).sum() > 1
    for left, top, right, bottom in pasted:
        assert 0 <= left < right <= 64
        assert 0 <= top < bottom <= 64


def test_gray_scenes_have_equal_channels(scenes: Scenes):
    sample = SceneDataset(scenes, changed(PLAIN, gray_probability=1.0), seed=0)[SampleRequest(0, 0)]

    pixels = sample.pixels.int()
    assert (pixels.amax(-1) - pixels.amin(-1)).max() <= 1


def test_an_image_that_cannot_be_read_leaves_gray_and_is_told(tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    dataset = SceneDataset(scenes_of((tmp_path / "broken.png", [0, 0, 5, 9])), PLAIN, seed=0)

    sample = dataset[SampleRequest(0, 0)]

    assert not sample.is_readable
    assert (sample.pixels == 114).all()
    assert not sample.labels.kinds.any()


def test_people_come_before_ignored_boxes_where_not_all_fit(tmp_path: Path):
    write_image(tmp_path / "a.png", 128, 128, [0, 0, 128, 128])
    boxes = np.tile(np.array([[10, 10, 60, 110]], np.float32), (MAX_BOXES + 20, 1))
    kinds = np.array([IGNORE] * (MAX_BOXES + 10) + [PERSON] * 10)
    paths = ImagePaths.of([tmp_path / "a.png"])
    crowded = Scenes(paths, np.array([0, len(boxes)]), boxes, kinds)

    labels = SceneDataset(crowded, PLAIN, seed=0)[SampleRequest(0, 0)].labels

    assert (labels.kinds == PERSON).sum() == 10
    assert (labels.kinds == IGNORE).sum() == MAX_BOXES - 10
