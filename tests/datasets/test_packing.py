import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mspn.config.data import DataConfig, PeopleSetConfig
from mspn.config.model import ModelConfig
from mspn.config.recipe import Recipe
from mspn.config.train import (
    AUGMENTATIONS,
    NO_AUGMENTATION,
    RELEASED_AUGMENTATION,
    STRONG_AUGMENTATION,
    AugmentationConfig,
    TrainConfig,
)
from mspn.datasets.augmentation import augment_frame, reach_of_frames
from mspn.datasets.crop_dataset import CropDataset, read_training_sets
from mspn.datasets.packed import INDEX_FILE, LABELS_FILE, open_pack, with_packed_sets
from mspn.datasets.packing import QUALITIES, frame_to_store, pack_people
from mspn.datasets.people import merge
from mspn.datasets.samples import SampleRequest
from mspn.errors import AnnotationError, InvalidValueError
from mspn.labels.corrections import Correction, write_corrections
from mspn.labels.formats.coco import read_coco
from mspn.structures.boxes import Box, Size
from mspn.structures.crop import transform_points
from mspn.structures.skeleton import COCO_17, FACE
from tests.coco_files import person, write_annotations
from tests.drawn_people import write_drawn_set

PHOTO = Size(height=600, width=800)
BODY = {
    "left_shoulder": (440, 180, 2),
    "right_shoulder": (360, 185, 2),
    "left_hip": (430, 330, 1),
    "right_hip": (370, 335, 2),
    "left_ankle": (450, 500, 2),
    "right_ankle": (350, 505, 2),
}
BOX = [300, 120, 200, 420]


def recipe_of(root: Path, *sets: PeopleSetConfig, augmentation: AugmentationConfig = RELEASED_AUGMENTATION) -> Recipe:
    return Recipe(
        name="packed",
        model=ModelConfig(input_size=Size(128, 96)),
        augmentation=augmentation,
        data=DataConfig(root=str(root), train=sets or (PeopleSetConfig(annotations="people.json", images="images"),)),
        train=TrainConfig(seed=3, batch_size=2),
    )


def write_photo(root: Path, pixels: np.ndarray, box: list[float] = BOX) -> None:
    """One person in one photo."""
    (root / "images").mkdir(parents=True)
    cv2.imwrite(str(root / "images" / "1.png"), pixels[..., ::-1])
    write_annotations(root / "people.json", [person(7, 1, BODY, bbox=box)], {1: "1.png"})


def pack(recipe: Recipe, path: Path, max_bytes: float = 1e9) -> Recipe:
    """Pack a recipe's sets; the recipe that trains on the file."""
    pack_people(path, recipe, read_training_sets(recipe), max_bytes, num_workers=1)
    data = recipe.data.model_copy(update={"train": (PeopleSetConfig(annotations=str(path)),)})
    return with_packed_sets(recipe.model_copy(update={"data": data}))


def dataset_of(recipe: Recipe) -> CropDataset:
    return CropDataset(merge(read_training_sets(recipe)), recipe)


def squares() -> np.ndarray:
    """A photo of squares of 40 pixels, each of a gray of its own, softened as lenses do."""
    grays = np.random.default_rng(5).uniform(60, 220, (PHOTO.height // 40, PHOTO.width // 40))
    photo = np.kron(grays, np.ones((40, 40))).astype(np.float32)
    return np.dstack([cv2.GaussianBlur(photo, (0, 0), 2)] * 3).astype(np.uint8)


def displacements(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """By how many pixels the corners of one crop lie elsewhere in another, (N, 2)."""
    first, second = (cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY) for crop in (one, other))
    corners = cv2.goodFeaturesToTrack(first, maxCorners=30, qualityLevel=0.2, minDistance=6)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, None, winSize=(15, 15))
    assert found.all()
    return (moved - corners)[:, 0]


@pytest.mark.parametrize("max_bytes", [1e9, 3500])
def test_the_same_seed_gives_the_same_crop_within_a_pixel(max_bytes: float, tmp_path: Path):
    write_photo(tmp_path, squares())
    recipe = recipe_of(tmp_path)
    photos, packed = dataset_of(recipe), dataset_of(pack(recipe, tmp_path / "people.zip", max_bytes))

    moved = []
    for position in range(12):
        one, other = (dataset[SampleRequest(position, 0)] for dataset in (photos, packed))
        moved.append(displacements(one.pixels.numpy(), other.pixels.numpy()))
        visible = one.labels.visibility > 0
        assert (one.labels.visibility == other.labels.visibility).all()
        np.testing.assert_allclose(
            one.labels.keypoints_crop[visible], other.labels.keypoints_crop[visible], rtol=0, atol=0.02
        )

    distances = np.linalg.norm(np.concatenate(moved), axis=1)
    assert len(distances) > 100
    assert distances.max() < 1
    # Half a pixel somewhere on the way would move all corners alike.
    assert np.abs(np.concatenate(moved).mean(0)).max() < 0.1


def test_pixels_are_those_of_the_photo_but_for_compression(tmp_path: Path):
    write_photo(tmp_path, squares())
    recipe = recipe_of(tmp_path)
    photos, packed = dataset_of(recipe), dataset_of(pack(recipe, tmp_path / "people.zip"))

    for position in range(6):
        one, other = (dataset[SampleRequest(position, 0)].pixels.numpy().astype(int) for dataset in (photos, packed))
        assert np.abs(one - other).mean() < 2
        assert ((one == 0) == (other == 0)).mean() > 0.98  # what lies beyond the photo is black in both


def test_a_person_who_is_small_is_stored_pixel_by_pixel(tmp_path: Path):
    write_photo(tmp_path, squares(), box=[500, 300, 20, 40])
    recipe = recipe_of(tmp_path)
    (people,) = read_training_sets(recipe)

    frame = frame_to_store(people, 0, PHOTO, recipe, resolution=1.0)

    shift = frame.image_to_crop
    np.testing.assert_allclose(shift[:, :2], np.eye(2), atol=1e-9)
    np.testing.assert_allclose(shift[:, 2], shift[:, 2].round(), atol=1e-6)


def test_a_person_who_is_large_is_stored_as_large_as_the_widest_crop_shows(tmp_path: Path):
    write_photo(tmp_path, squares(), box=[300, 120, 75, 400])
    recipe = recipe_of(tmp_path, augmentation=NO_AUGMENTATION)
    (people,) = read_training_sets(recipe)

    frame = frame_to_store(people, 0, PHOTO, recipe, resolution=1.0)

    # The box of 400 grows to the crop's shape, 300 x 400, and is shown in 128 rows: at 0.32.
    assert frame.size.width / frame.width_image == pytest.approx(0.32)
    # 2 stored pixels more on each side are 6.25 of the photo: from row 113 to row 527.
    assert frame.size.height == round(414 * 0.32)


def test_without_augmentation_crops_reach_as_far_as_the_one_frame():
    keypoints = np.zeros((17, 3))

    reach = reach_of_frames(Box(10, 20, 30, 100), keypoints, Size(128, 96), NO_AUGMENTATION, COCO_17)

    # 30 x 100 grows to 75 x 100 around (25, 70).
    assert reach == pytest.approx(Box(-12.5, 20, 75, 100))


def test_turned_crops_reach_as_far_as_their_corners():
    config = NO_AUGMENTATION.model_copy(update={"rotation_probability": 1.0, "max_rotation_degrees": 90.0})

    reach = reach_of_frames(Box(0, 0, 60, 80), np.zeros((17, 3)), Size(128, 96), config, COCO_17)

    # A rectangle of 60 x 80 has corners 50 from its middle.
    assert reach == pytest.approx(Box(-20, -10, 100, 100))


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_no_frame_that_is_drawn_reaches_further(name: str):
    random = np.random.default_rng(0)
    keypoints = np.column_stack([random.uniform(0, 200, (17, 2)), np.full(17, 2)])
    box, size = Box(20, 30, 150, 120), Size(128, 96)
    reach = reach_of_frames(box, keypoints, size, AUGMENTATIONS[name], COCO_17)
    corners_crop = np.array([[0, 0], [96, 0], [0, 128], [96, 128]], float)

    drawn = [
        transform_points(
            corners_crop, augment_frame(box, keypoints, size, AUGMENTATIONS[name], COCO_17, random).crop_to_image
        )
        for _ in range(500)
    ]

    low, high = np.min(drawn, axis=(0, 1)), np.max(drawn, axis=(0, 1))
    assert (low >= np.array([reach.left, reach.top]) - 1e-6).all()
    assert (high <= np.array([reach.left + reach.width, reach.top + reach.height]) + 1e-6).all()
    assert (high - low > 0.6 * np.array([reach.width, reach.height])).all()  # nor is far more kept than is shown


def two_sets(root: Path) -> Recipe:
    """Drawn people whose faces are proposed, one corrected; and others, at half the weight."""
    for name in ("first", "second"):
        write_drawn_set(root / name, num_images=2, people_per_image=2, seed=len(name))
    path = root / "first" / "annotations.json"
    write_corrections(root / "corrections.json", path, ("m",), {2: Correction(swap=(("left_hip", "right_hip"),))})
    faces = {"1": [[50, 30, 0.9], [60, 25, 0.9], [40, 25, 0.1], [0, 0, 0], [0, 0, 0]]}
    (root / "faces.json").write_text(json.dumps(faces))
    first = PeopleSetConfig(
        annotations="first/annotations.json", faces="faces.json", corrections="corrections.json", never_labeled=FACE
    )
    second = PeopleSetConfig(annotations="second/annotations.json", never_labeled=("nose",), weight=0.5)
    return recipe_of(root, first, second, augmentation=STRONG_AUGMENTATION)


def test_several_sets_come_back_with_their_weights_and_all_that_was_settled_for_them(tmp_path: Path):
    recipe = two_sets(tmp_path)
    packed = pack(recipe, tmp_path / "people.zip")

    assert [(config.subset, config.weight) for config in packed.data.train] == [("first", 1.0), ("second", 0.5)]
    for before, after in zip(read_training_sets(recipe), read_training_sets(packed), strict=True):
        assert after.annotation_ids.tolist() == before.annotation_ids.tolist()
        np.testing.assert_array_equal(after.keypoints_image[..., 2], before.keypoints_image[..., 2])
        np.testing.assert_array_equal(after.counted, before.counted)
    requests = [SampleRequest(position, position % 8) for position in range(16)]
    for one, other in zip(
        dataset_of(recipe).__getitems__(requests), dataset_of(packed).__getitems__(requests), strict=True
    ):
        visible = one.labels.visibility > 0
        np.testing.assert_allclose(one.labels.keypoints_crop[visible], other.labels.keypoints_crop[visible], atol=0.05)
        np.testing.assert_array_equal(one.labels.counted, other.labels.counted)


def test_a_weight_multiplies_those_of_the_file_and_a_subset_is_one_of_its_sets(tmp_path: Path):
    recipe = pack(two_sets(tmp_path), tmp_path / "people.zip")

    def sets_of(**settings: Any) -> list[tuple[str | None, float]]:
        config = PeopleSetConfig(annotations="people.zip", **settings)
        data = recipe.data.model_copy(update={"train": (config,)})
        expanded = with_packed_sets(recipe.model_copy(update={"data": data}))
        return [(config.subset, config.weight) for config in expanded.data.train]

    assert sets_of(weight=4.0) == [("first", 4.0), ("second", 2.0)]
    assert sets_of(subset="second", weight=4.0) == [("second", 4.0)]


def test_the_unpacked_file_is_an_ordinary_coco_set(tmp_path: Path):
    recipe = two_sets(tmp_path)
    pack(recipe, tmp_path / "people.zip")

    with zipfile.ZipFile(tmp_path / "people.zip") as archive:
        archive.extractall(tmp_path / "unpacked")

    labels = read_coco(tmp_path / "unpacked" / "second" / LABELS_FILE)
    assert [person.id for person in labels.people] == [1, 2, 3, 4]
    for image in labels.images:
        height, width, _ = cv2.imread(str(tmp_path / "unpacked" / "second" / image.file_name)).shape
        assert image.size == (height, width)
    assert labels.images[2].extra["photo"] == "000000000002.png"
    # Small people are stored as they are: a point of the crop, plus the corner, is one of the photo.
    photo = read_coco(tmp_path / "second" / "annotations.json")
    assert labels.images[2].extra["photo_scale"] == 1
    corner = np.array(labels.images[2].extra["photo_corner"])
    np.testing.assert_allclose(
        labels.people[2].keypoints_image[:, :2] + corner, photo.people[2].keypoints_image[:, :2], atol=0.01
    )


def test_the_same_people_are_the_same_bytes(tmp_path: Path):
    recipe = two_sets(tmp_path)

    pack(recipe, tmp_path / "a.zip")
    pack(recipe, tmp_path / "b.zip")

    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_smaller_file_is_of_lower_quality_and_too_small_a_one_is_refused(tmp_path: Path):
    recipe = two_sets(tmp_path)
    sets = read_training_sets(recipe)

    large = pack_people(tmp_path / "large.zip", recipe, sets, 1e6, num_workers=2)
    limit = 0.8 * (tmp_path / "large.zip").stat().st_size
    small = pack_people(tmp_path / "small.zip", recipe, sets, limit, num_workers=2)

    assert large.quality == QUALITIES[0]
    assert QUALITIES.index(small.quality) > 0
    assert (tmp_path / "small.zip").stat().st_size <= limit
    with pytest.raises(InvalidValueError, match=r"8 people do not fit into 0\.003 MB .*; allow more, or pack fewer"):
        pack_people(tmp_path / "none.zip", recipe, sets, 3000, num_workers=2)
    assert not (tmp_path / "none.zip").exists()


def test_photos_that_cannot_be_read_are_named_and_the_others_packed(tmp_path: Path):
    recipe = two_sets(tmp_path)
    (tmp_path / "first" / "images" / "000000000001.png").write_text("no image")
    sets = read_training_sets(recipe)

    report = pack_people(tmp_path / "people.zip", recipe, sets, 1e6, num_workers=1)

    assert report.num_people == 6
    (problem,) = report.problems
    assert "000000000001.png" in problem


Change = Callable[[dict[str, bytes]], None]


def rewrite(path: Path, change: Change, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    change(content)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def replace_text(member: str, old: str, new: str) -> Change:
    return lambda content: content.update({member: content[member].replace(old.encode(), new.encode())})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop(INDEX_FILE), r"people\.zip has no pack\.json that can be read"),
        (lambda content: content.update({INDEX_FILE: b"{"}), r"people\.zip/pack\.json is not JSON"),
        (lambda content: content.update({INDEX_FILE: b"[" * 10**6}), r"people\.zip/pack\.json is not JSON"),
        (replace_text(INDEX_FILE, '"people"', '"../etc"'), r"pack\.json: sets\.0\.name: String should match"),
        (replace_text(INDEX_FILE, '"people"', '"nobody"'), r"people\.zip has no set 'people'; it has nobody"),
        (lambda content: content.pop("people/annotations.json"), r"people\.zip has no people/annotations\.json"),
        (lambda content: content.update({INDEX_FILE: b" " * (2**20 + 1)}), r"pack\.json has more than 1 MiB"),
        (lambda content: content.pop("people/1.webp"), r"people\.zip/people/1\.webp is not in the file"),
        (lambda content: content.update({"people/1.webp": b""}), r"people/1\.webp is cut short"),
        (replace_text("people/annotations.json", '"1.webp"', '"../people/1.webp"'), r"is not in the file"),
        (replace_text("people/annotations.json", '"bbox"', '"box"'), None),
    ],
)
def test_files_that_are_not_as_they_should_be_are_refused_in_a_line(
    change: Change, message: str | None, tmp_path: Path
):
    write_photo(tmp_path, squares())
    recipe = pack(recipe_of(tmp_path), tmp_path / "people.zip")
    rewrite(tmp_path / "people.zip", change)

    if message is None:  # whoever has no box gets one around the keypoints, as everywhere
        assert len(read_training_sets(recipe)) == 1
        return
    with pytest.raises(AnnotationError, match=message) as refused:
        read_training_sets(recipe)
    assert "\n" not in str(refused.value)


def test_crops_that_were_compressed_once_more_are_refused(tmp_path: Path):
    write_photo(tmp_path, squares())
    recipe = pack(recipe_of(tmp_path), tmp_path / "people.zip")
    rewrite(tmp_path / "people.zip", lambda _content: None, zipfile.ZIP_DEFLATED)

    with pytest.raises(AnnotationError, match=r"people/1\.webp is not stored as it is; pack the set again"):
        read_training_sets(recipe)


@pytest.mark.parametrize("kept", [0, 10, 1000, -30])
def test_a_file_that_is_cut_short_is_refused(kept: int, tmp_path: Path):
    write_photo(tmp_path, squares())
    recipe = pack(recipe_of(tmp_path), tmp_path / "people.zip")
    content = (tmp_path / "people.zip").read_bytes()
    (tmp_path / "people.zip").write_bytes(content[:kept])

    with pytest.raises(AnnotationError, match=r"people\.zip is no ZIP file, or it is cut short"):
        read_training_sets(recipe)


def test_a_file_with_any_byte_changed_is_read_or_refused(tmp_path: Path):
    write_photo(tmp_path, np.full((60, 80, 3), 90, np.uint8), box=[5, 5, 60, 50])
    recipe = pack(recipe_of(tmp_path), tmp_path / "people.zip")
    content = (tmp_path / "people.zip").read_bytes()
    random = np.random.default_rng(0)

    num_read = 0
    for position in random.choice(len(content), 150, replace=False):
        changed = bytearray(content)
        changed[position] ^= 1 << int(random.integers(8))
        (tmp_path / "people.zip").write_bytes(changed)
        with suppress(AnnotationError):
            num_read += dataset_of(recipe)[SampleRequest(0, 0)].pixels.shape == (128, 96, 3)

    assert 0 < num_read < 150


def test_a_recipe_whose_crops_show_more_is_refused(tmp_path: Path):
    write_photo(tmp_path, squares())
    packed = pack(recipe_of(tmp_path, augmentation=NO_AUGMENTATION), tmp_path / "people.zip")
    wider = packed.model_copy(update={"augmentation": RELEASED_AUGMENTATION})

    with pytest.raises(AnnotationError, match=r"packed for other crops \(augmentation\.\*, model\.input_size\)"):
        read_training_sets(wider)


def test_a_recipe_whose_crops_show_less_is_trained(tmp_path: Path):
    write_photo(tmp_path, squares())
    packed = pack(recipe_of(tmp_path), tmp_path / "people.zip")

    assert len(read_training_sets(packed.model_copy(update={"augmentation": NO_AUGMENTATION}))) == 1


@pytest.mark.parametrize(
    "setting", [{"faces": "f.json"}, {"corrections": "c.json"}, {"images": "images"}, {"format": "coco"}]
)
def test_what_was_settled_when_packing_is_refused_later(setting: dict[str, str], tmp_path: Path):
    write_photo(tmp_path, squares())
    recipe = pack(recipe_of(tmp_path), tmp_path / "people.zip")
    config = recipe.data.train[0].model_copy(update=setting)
    data = recipe.data.model_copy(update={"train": (config,)})

    with pytest.raises(
        AnnotationError, match=rf"{next(iter(setting))} of .*people\.zip was settled when it was packed"
    ):
        read_training_sets(recipe.model_copy(update={"data": data}))


def test_a_set_that_is_not_there_is_named(tmp_path: Path):
    pack(two_sets(tmp_path), tmp_path / "people.zip")

    with open_pack(tmp_path / "people.zip") as packed:
        with pytest.raises(AnnotationError, match=r"has no set 'third'; it has first, second"):
            packed.find_set("third")
        with pytest.raises(AnnotationError, match=r"has several sets, of which subset names one; it has first, second"):
            packed.find_set(None)


def test_sets_of_the_same_name_get_names_of_their_own(tmp_path: Path):
    write_photo(tmp_path / "a" / "set", squares())
    write_photo(tmp_path / "b" / "set", squares())
    configs = [PeopleSetConfig(annotations=f"{name}/set/people.json") for name in "ab"]

    packed = pack(recipe_of(tmp_path, *configs), tmp_path / "people.zip")

    assert [config.subset for config in packed.data.train] == ["people", "people-2"]


def test_a_packed_file_is_no_set_to_measure_on():
    with pytest.raises(ValueError, match=r"people\.zip is packed for training; name labels and photos to measure on"):
        DataConfig(validation=PeopleSetConfig(annotations="people.zip"))
