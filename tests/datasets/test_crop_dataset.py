import multiprocessing
import os
import signal
import time
from collections import Counter
from itertools import islice, pairwise
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mspn.config.data import DataConfig, PeopleSetConfig
from mspn.config.model import ModelConfig
from mspn.config.recipe import Recipe, override
from mspn.config.train import (
    NO_AUGMENTATION,
    RELEASED_AUGMENTATION,
    STRONG_AUGMENTATION,
    AugmentationConfig,
    TrainConfig,
)
from mspn.datasets.crop_dataset import CropDataset, read_training_sets
from mspn.datasets.people import merge
from mspn.datasets.samples import Sample, SampleRequest, SeededBatches
from mspn.datasets.workers import prepare_worker
from mspn.errors import AnnotationError
from mspn.io.images import ReducedImage, read_reduced_image
from mspn.structures.boxes import Size
from mspn.structures.skeleton import COCO_17
from tests.coco_files import person, write_annotations
from tests.drawn_people import write_drawn_set
from tests.trained import tiny_recipe

RED, BLUE = (255, 0, 0), (0, 0, 255)
LEFT_WRIST, RIGHT_WRIST, LEFT_ANKLE, RIGHT_ANKLE = 9, 10, 15, 16
WRISTS = {"left_wrist": (70, 50, 2), "right_wrist": (30, 90, 1)}


def draw_image(path: Path) -> None:
    """Gray, 100 x 160 pixels, a red dot on the left wrist at (70, 50), a blue one on the right wrist at (30, 90)."""
    image = np.full((160, 100, 3), 90, np.uint8)
    for center, color in (((70, 50), RED), ((30, 90), BLUE)):
        cv2.circle(image, center, 6, color[::-1], thickness=-1)
    cv2.imwrite(str(path), image)


def recipe_of(root: Path, augmentation: AugmentationConfig, count: int = 3) -> Recipe:
    """A recipe of one set: the same person in `count` images of its own."""
    (root / "images").mkdir()
    for number in range(count):
        draw_image(root / "images" / f"{number}.png")
    annotations = [person(number, number, WRISTS, bbox=[5, 5, 90, 150]) for number in range(count)]
    write_annotations(root / "people.json", annotations, {number: f"{number}.png" for number in range(count)})
    return Recipe(
        name="drawn",
        model=ModelConfig(input_size=Size(128, 96)),
        augmentation=augmentation,
        data=DataConfig(root=str(root), train=(PeopleSetConfig(annotations="people.json", images="images"),)),
        train=TrainConfig(seed=1, batch_size=2),
    )


def dataset_of(recipe: Recipe) -> CropDataset:
    return CropDataset(merge(read_training_sets(recipe)), recipe)


def color_at(sample: Sample, keypoint: int) -> str:
    """The color of the crop where a keypoint's label is."""
    x, y = sample.labels.keypoints_crop[keypoint].round().int().tolist()
    red, _green, blue = sample.pixels[y, x].tolist()
    return "red" if red > 200 > blue else "blue" if blue > 200 > red else "neither"


def test_a_sample_is_a_crop_with_labels_of_every_keypoint(tmp_path: Path):
    dataset = dataset_of(recipe_of(tmp_path, NO_AUGMENTATION))

    sample = dataset[SampleRequest(position=0, sample_index=1)]

    assert sample.pixels.shape == (128, 96, 3)
    assert sample.pixels.dtype == torch.uint8
    assert sample.labels.keypoints_crop.shape == (17, 2)
    assert sample.labels.visibility[[LEFT_WRIST, RIGHT_WRIST]].tolist() == [2, 1]
    assert sample.labels.visibility.sum() == 3
    assert sample.labels.counted.all()


def test_labels_are_where_the_frame_puts_them(tmp_path: Path):
    dataset = dataset_of(recipe_of(tmp_path, NO_AUGMENTATION))

    sample = dataset[SampleRequest(position=0, sample_index=0)]

    # Box 90 x 150 around (50, 80) grows to 112.5 x 150; 96 / 112.5 crop pixels each, and (48, 64) is the middle.
    scale = 96 / 112.5
    expected = [[48 + 20 * scale, 64 - 30 * scale], [48 - 20 * scale, 64 + 10 * scale]]
    torch.testing.assert_close(sample.labels.keypoints_crop[[LEFT_WRIST, RIGHT_WRIST]], torch.tensor(expected))
    assert (color_at(sample, LEFT_WRIST), color_at(sample, RIGHT_WRIST)) == ("red", "blue")


def test_a_mirrored_person_has_left_and_right_swapped(tmp_path: Path):
    dataset = dataset_of(recipe_of(tmp_path, NO_AUGMENTATION.model_copy(update={"mirror_probability": 1.0})))

    sample = dataset[SampleRequest(position=0, sample_index=0)]

    # What was the left wrist, red and visible, is a right wrist in the mirror.
    assert (color_at(sample, LEFT_WRIST), color_at(sample, RIGHT_WRIST)) == ("blue", "red")
    assert sample.labels.visibility[[LEFT_WRIST, RIGHT_WRIST]].tolist() == [1, 2]
    scale = 96 / 112.5
    torch.testing.assert_close(
        sample.labels.keypoints_crop[RIGHT_WRIST], torch.tensor([48 - 20 * scale, 64 - 30 * scale])
    )


def test_labels_stay_on_their_dots_whatever_the_augmentation(tmp_path: Path):
    dataset = dataset_of(recipe_of(tmp_path, RELEASED_AUGMENTATION))

    seen = Counter()
    for position in range(60):
        sample = dataset[SampleRequest(position, sample_index=0)]
        visible = [keypoint for keypoint in (LEFT_WRIST, RIGHT_WRIST) if sample.labels.visibility[keypoint]]
        seen.update(
            (keypoint, sample.labels.visibility[keypoint].item(), color_at(sample, keypoint)) for keypoint in visible
        )

    # The red dot is the visible left wrist or, mirrored, the visible right one; the blue dot is the occluded other one.
    assert set(seen) == {
        *((LEFT_WRIST, 2, "red"), (RIGHT_WRIST, 2, "red")),
        *((LEFT_WRIST, 1, "blue"), (RIGHT_WRIST, 1, "blue")),
    }


def test_the_mirror_swaps_what_is_counted(tmp_path: Path):
    recipe = recipe_of(tmp_path, NO_AUGMENTATION.model_copy(update={"mirror_probability": 1.0}))
    one_set = recipe.data.train[0].model_copy(update={"never_labeled": ("left_ankle",)})
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": (one_set,)})})

    sample = dataset_of(recipe)[SampleRequest(position=0, sample_index=0)]

    assert sample.labels.counted[[LEFT_ANKLE, RIGHT_ANKLE]].tolist() == [True, False]


def test_keypoints_outside_the_crop_are_unlabeled(tmp_path: Path):
    recipe = recipe_of(tmp_path, NO_AUGMENTATION)
    # A box around the left wrist only: 30 wide and 40 high, 96 / 30 crop pixels each.
    annotation = person(0, 0, WRISTS | {"left_ankle": (85, 50, 2), "nose": (84.6, 50, 2)}, bbox=[55, 30, 30, 40])
    write_annotations(tmp_path / "people.json", [annotation], {0: "0.png"})

    sample = dataset_of(recipe)[SampleRequest(position=0, sample_index=0)]

    # The right wrist is far away; the ankle at x = 96 is just beyond the last pixel, 95; the nose is at 94.72.
    visibility = dict(zip(COCO_17.keypoints, sample.labels.visibility.tolist(), strict=True))
    assert {name for name, value in visibility.items() if value} == {"left_wrist", "nose"}


def test_a_draws_position_decides_the_augmentation(tmp_path: Path):
    dataset = dataset_of(recipe_of(tmp_path, RELEASED_AUGMENTATION))

    first, again, other = (dataset[SampleRequest(position, sample_index=0)] for position in (4, 4, 5))

    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.labels.keypoints_crop, again.labels.keypoints_crop)
    assert not torch.equal(first.labels.keypoints_crop, other.labels.keypoints_crop)


def test_strong_augmentation_changes_pixels_and_leaves_frames_and_labels_alone(tmp_path: Path):
    recipe = recipe_of(tmp_path, RELEASED_AUGMENTATION)
    plain, changed = (
        dataset_of(recipe.model_copy(update={"augmentation": augmentation}))[SampleRequest(position=4, sample_index=0)]
        for augmentation in (RELEASED_AUGMENTATION, STRONG_AUGMENTATION)
    )

    assert not torch.equal(plain.pixels, changed.pixels)
    assert torch.equal(plain.labels.keypoints_crop, changed.labels.keypoints_crop)
    assert torch.equal(plain.labels.visibility, changed.labels.visibility)


def test_an_image_that_cannot_be_read_gives_a_black_crop_in_which_nothing_counts(tmp_path: Path):
    recipe = recipe_of(tmp_path, NO_AUGMENTATION)
    (tmp_path / "images" / "1.png").unlink()

    sample = dataset_of(recipe)[SampleRequest(position=0, sample_index=1)]

    assert not sample.is_readable
    assert sample.sample_index == 1
    assert not sample.pixels.any()
    assert not sample.labels.counted.any()
    assert dataset_of(recipe)[SampleRequest(position=0, sample_index=0)].is_readable


def test_a_missing_folder_of_images_is_named(tmp_path: Path):
    recipe = recipe_of(tmp_path, NO_AUGMENTATION)
    (tmp_path / "images").rename(tmp_path / "elsewhere")

    with pytest.raises(FileNotFoundError, match=r"no folder of images at .*images; set data.train or data.root"):
        read_training_sets(recipe)


def test_a_missing_set_is_named(tmp_path: Path):
    recipe = recipe_of(tmp_path, NO_AUGMENTATION)
    (tmp_path / "people.json").unlink()

    with pytest.raises(AnnotationError, match=r"no labels at .*people\.json; set data\.train or data\.root"):
        read_training_sets(recipe)


def loader_of(recipe: Recipe, workers: int, start: int = 0, method: str | None = None) -> DataLoader[Sample]:
    """A loader; `method` is how its workers are started."""
    dataset = dataset_of(recipe)
    return DataLoader(
        dataset,
        batch_sampler=SeededBatches([len(dataset.people)], [1.0], recipe.train.batch_size, recipe.train.seed, start),
        num_workers=workers,
        worker_init_fn=prepare_worker if workers else None,
        multiprocessing_context=method,
    )


def load_batches(recipe: Recipe, workers: int, start: int, count: int, method: str | None = None) -> list[Sample]:
    return list(islice(loader_of(recipe, workers, start, method), count))


def assert_same_batches(one: list[Sample], other: list[Sample]) -> None:
    for first, second in zip(one, other, strict=True):
        assert torch.equal(first.pixels, second.pixels)
        assert all(torch.equal(a, b) for a, b in zip(first.labels, second.labels, strict=True))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # Python 3.12 on: the loader's way to start workers
def test_the_same_seed_gives_the_same_batches_with_any_number_of_workers(tmp_path: Path):
    recipe = recipe_of(tmp_path, RELEASED_AUGMENTATION)

    alone = load_batches(recipe, workers=0, start=0, count=4)

    assert alone[0].pixels.shape == (2, 128, 96, 3)
    assert alone[0].labels.keypoints_crop.shape == (2, 17, 2)
    assert_same_batches(load_batches(recipe, workers=2, start=0, count=4), alone)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_workers_give_the_same_batches_however_they_are_started(method: str, tmp_path: Path):
    recipe = recipe_of(tmp_path, RELEASED_AUGMENTATION)

    started = load_batches(recipe, workers=1, start=0, count=3, method=method)

    assert_same_batches(started, load_batches(recipe, workers=0, start=0, count=3))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_workers_leave_ctrl_c_to_the_main_process(tmp_path: Path):
    batches = iter(loader_of(recipe_of(tmp_path, NO_AUGMENTATION), workers=1))
    next(batches)

    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGINT)

    assert len(list(islice(batches, 8))) == 8


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="processes are looked up in /proc")
def test_workers_end_when_the_main_process_is_killed(tmp_path: Path):
    recipe = recipe_of(tmp_path, NO_AUGMENTATION)
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    main = fork.Process(target=load_and_wait, args=(recipe, sender))
    main.start()
    pids = receiver.recv()

    main.kill()
    main.join()

    deadline = time.monotonic() + 3  # torch's own watch takes five seconds
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(pids) == 2
    assert not any(map(is_running, pids))


def load_and_wait(recipe: Recipe, sender: Connection) -> None:
    """A training process that stops taking batches, so that its workers wait for room in the queue."""
    batches = iter(loader_of(recipe, workers=2))
    next(batches)
    sender.send([worker.pid for worker in multiprocessing.active_children()])
    time.sleep(60)


def is_running(pid: int) -> bool:
    """Neither gone nor a zombie that waits for its parent."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_resumed_training_sees_the_batches_it_would_have_seen(tmp_path: Path):
    recipe = recipe_of(tmp_path, RELEASED_AUGMENTATION)

    whole = load_batches(recipe, workers=0, start=0, count=5)

    assert_same_batches(load_batches(recipe, workers=0, start=3, count=2), whole[3:])


def first_batches(count: int, start: int = 0, seed: int = 3, **settings) -> list[list[SampleRequest]]:
    batches = SeededBatches(
        **({"set_sizes": [7, 4], "weights": [1.0, 1.0], "batch_size": 2} | settings), seed=seed, start=start
    )
    return list(islice(batches, count))


@pytest.mark.parametrize("start", range(12))
def test_batches_resume_identically_from_any_iteration(start: int):
    assert first_batches(12 - start, start=start) == first_batches(12)[start:]


def test_positions_count_all_draws():
    positions = [draw.position for batch in first_batches(12) for draw in batch]

    assert positions == list(range(24))


def test_an_epoch_draws_everyone_once_and_leaves_out_what_fills_no_batch():
    # 11 people in batches of 2: five batches, one person waits for the next epoch.
    batches = first_batches(10)
    epochs = [[draw.sample_index for batch in batches[first : first + 5] for draw in batch] for first in (0, 5)]

    assert SeededBatches([7, 4], [1.0, 1.0], 2, seed=3, start=0).batches_per_epoch == 5
    assert all(len(set(epoch)) == 10 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_another_seed_gives_another_order():
    assert first_batches(5, seed=3) != first_batches(5, seed=4)


@pytest.mark.parametrize(
    ("weights", "draws"),
    [
        # Of eight and four people: half of the first set, and the second set twice.
        ([0.5, 2.0], (4, 8)),
        ([2.0, 0.5], (16, 2)),
        ([1.25, 1.0], (10, 4)),
    ],
)
def test_a_sets_weight_says_how_often_its_people_are_drawn(weights: list[float], draws: tuple[int, int]):
    total = sum(draws)

    batches = first_batches(total, set_sizes=[8, 4], weights=weights, batch_size=1)

    counts = Counter(batch[0].sample_index for batch in batches)
    assert sum(counts[person] for person in range(8)) == draws[0]
    assert sum(counts[person] for person in range(8, 12)) == draws[1]
    for size, weight, first in ((8, weights[0], 0), (4, weights[1], 8)):
        assert {counts[person] for person in range(first, first + size)} <= {int(weight), int(weight) + 1}


def test_which_half_of_a_set_is_drawn_changes_with_the_epoch():
    batches = first_batches(40, set_sizes=[8], weights=[0.5], batch_size=1)

    # Ten epochs of four people each.
    epochs = {frozenset(batch[0].sample_index for batch in batches[first : first + 4]) for first in range(0, 40, 4)}
    assert len(epochs) > 5
    assert frozenset.union(*epochs) == set(range(8))


def test_fewer_people_than_a_batch_are_drawn_again():
    batches = first_batches(3, set_sizes=[3], weights=[1.0], batch_size=8)

    for batch in batches:
        counts = Counter(draw.sample_index for draw in batch)
        assert sorted(counts.values()) == [2, 3, 3]


def test_a_tiny_weight_still_draws_different_people():
    # A tenth of three people rounds to none.
    batches = first_batches(40, set_sizes=[3], weights=[0.1], batch_size=1)

    assert {batch[0].sample_index for batch in batches} == {0, 1, 2}


def test_the_people_of_an_image_share_its_decoding_and_look_as_they_do_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_drawn_set(tmp_path, num_images=2, people_per_image=3)
    recipe = tiny_recipe(tmp_path, iterations=2)
    (people,) = read_training_sets(recipe)
    dataset = CropDataset(people, recipe)
    draws = [SampleRequest(position, person) for position, person in enumerate((5, 0, 4, 1))]
    alone = [dataset[draw] for draw in draws]
    read: list[Path] = []

    def count(path: Path, reduction: float) -> ReducedImage:
        read.append(path)
        return read_reduced_image(path, reduction)

    monkeypatch.setattr("mspn.datasets.people.read_reduced_image", count)
    together = dataset.__getitems__(draws)

    assert len(read) == 2
    assert [int(sample.sample_index) for sample in together] == [5, 0, 4, 1]
    assert all(torch.equal(one.pixels, other.pixels) for one, other in zip(together, alone, strict=True))


def test_an_epoch_by_images_draws_everyone_once_with_the_people_of_an_image_together():
    image_index = np.array([0, 1, 0, 2, 1, 0, 2, 3])
    batches = SeededBatches([8], [1.0], 2, seed=4, start=0, image_index=image_index)

    drawn = [draw.sample_index for batch in islice(batches, 8) for draw in batch]

    first, second = drawn[:8], drawn[8:]
    assert sorted(first) == sorted(second) == list(range(8))
    assert first != second
    images = image_index[first].tolist()
    # Each image comes up in one go: as many changes as there are other images.
    assert sum(one != other for one, other in pairwise(images)) == 3


def test_crops_of_whole_images_show_them_whatever_the_box(tmp_path: Path):
    recipe = recipe_of(tmp_path, NO_AUGMENTATION, count=1)
    (sure,) = read_training_sets(recipe)
    whole = recipe.model_copy(update={"data": recipe.data.model_copy(update={"boxes": "image"})})

    (people,) = read_training_sets(whole)

    assert sure.boxes.tolist() == [[5, 5, 90, 150]]
    assert people.boxes.tolist() == [[0, 0, 100, 160]]


def test_whole_images_are_refused_where_two_share_one(tmp_path: Path):
    write_drawn_set(tmp_path, num_images=1, people_per_image=2)
    recipe = override(tiny_recipe(tmp_path, iterations=2), ["data.boxes=image"])

    with pytest.raises(AnnotationError, match=r"data\.boxes=image is for one an image, but 000000000001\.png has 2"):
        read_training_sets(recipe)
