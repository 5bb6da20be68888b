from itertools import chain, islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from mspn.config.data import DataConfig, PeopleSetConfig
from mspn.config.model import ModelConfig, NetworkConfig, SimpleBaselineConfig
from mspn.config.recipe import Recipe
from mspn.config.train import NO_AUGMENTATION
from mspn.datasets.crop_dataset import CropDataset, read_training_sets
from mspn.datasets.samples import SampleRequest, SeededBatches
from mspn.structures.boxes import Size
from mspn.training.sample_sheets import draw_sheet, write_sheet
from tests.coco_files import person, write_annotations

_LEFT, _RIGHT, _CROSS = [255, 120, 40], [40, 170, 255], [150, 156, 165]
_SIZE = Size(192, 128)
# Headings end 16 + 2 * 18 + 16 pixels from the top; a panel is 256 high and 128 * 256 / 192 = 171 wide.
_TOP, _LEFT_EDGE, _PANEL = 68, 16, 171
_MSPN = ModelConfig(backbone="resnet18", stem_channels=8, up_channels=8, input_size=_SIZE)


def _dataset(folder: Path, *, people: int = 1, model: NetworkConfig = _MSPN, is_readable: bool = True) -> CropDataset:
    """Gray images as large as a crop; each box is the whole image, so that a crop is its image."""
    labeled = {"left_wrist": (40, 50, 2), "right_wrist": (90, 120, 1), "nose": (64, 30, 2)}
    rows = [person(number, 1, labeled, bbox=[0, 0, 128, 192]) for number in range(1, people + 1)]
    write_annotations(folder / "gray.json", rows, {1: "gray.png"})
    if is_readable:
        cv2.imwrite(str(folder / "gray.png"), np.full((*_SIZE, 3), 128, np.uint8))
    one = PeopleSetConfig(annotations="gray.json", images=".", never_labeled=("nose",))
    recipe = Recipe(
        name="gray", model=model, augmentation=NO_AUGMENTATION, data=DataConfig(root=str(folder), train=(one,))
    )
    (people_read,) = read_training_sets(recipe)
    return CropDataset(people_read, recipe)


def _draw(dataset: CropDataset, number: int = 1) -> np.ndarray:
    return draw_sheet(dataset, [SampleRequest(0, 0)] * number, [len(dataset.people)])


def _at(sheet: np.ndarray, *, panel: int, x_crop: float, y_crop: float) -> list[int]:
    """Color of the first tile where a panel shows a point of the crop, 4/3 times enlarged."""
    x = _LEFT_EDGE + panel * (_PANEL + 2) + x_crop * 4 / 3
    return sheet[round(_TOP + y_crop * 4 / 3), round(x)].tolist()


def test_the_crop_shows_visible_labels_as_discs_occluded_ones_as_rings_and_uncounted_ones_as_crosses(tmp_path: Path):
    sheet = _draw(_dataset(tmp_path))

    assert _at(sheet, panel=0, x_crop=40, y_crop=50) == _LEFT
    assert _at(sheet, panel=0, x_crop=90, y_crop=120) == [128, 128, 128]
    assert _at(sheet, panel=0, x_crop=93.75, y_crop=120) == _RIGHT  # the radius is 5 pixels
    assert _at(sheet, panel=0, x_crop=64, y_crop=30) == _CROSS


def test_the_targets_lie_on_their_cells_as_each_level_learns_them(tmp_path: Path):
    sheet = _draw(_dataset(tmp_path))

    dim = [51, 51, 51]  # 0.4 * 128
    finest, coarsest = 1, 2
    # Cells of 4x4 pixels: (10, 12) has its middle at (42, 50), (22, 30) at (90, 122).
    assert _at(sheet, panel=finest, x_crop=42, y_crop=50) == _LEFT
    assert _at(sheet, panel=finest, x_crop=90, y_crop=122) == _RIGHT
    assert _at(sheet, panel=coarsest, x_crop=42, y_crop=50) == _LEFT
    # Occluded keypoints are no target of a coarse level under the default, coarse_target=visible.
    assert _at(sheet, panel=coarsest, x_crop=90, y_crop=122) == dim
    # The nose does not count, the set never labels it.
    assert _at(sheet, panel=finest, x_crop=64, y_crop=30) == dim


def test_a_network_of_finest_levels_only_has_no_coarse_panel(tmp_path: Path):
    coarse = _draw(_dataset(tmp_path))
    fine = _draw(_dataset(tmp_path, model=SimpleBaselineConfig(backbone="resnet18", input_size=_SIZE)))

    assert coarse.shape[1] == 16 + 3 * 171 + 2 * 2 + 16
    assert fine.shape[1] == 16 + 2 * 171 + 2 + 16


def test_tiles_stand_in_rows_of_four(tmp_path: Path):
    sheet = _draw(_dataset(tmp_path), number=5)

    # A tile is a panel and two lines of text, 256 + 2 * 18 + 4 high.
    assert sheet.shape == (68 + 2 * (296 + 16), 16 + 4 * (517 + 16), 3)


def test_an_image_that_cannot_be_read_is_black_and_none_of_its_labels_counts(tmp_path: Path):
    sheet = _draw(_dataset(tmp_path, is_readable=False))

    assert _at(sheet, panel=0, x_crop=10, y_crop=10) == [0, 0, 0]
    assert _at(sheet, panel=0, x_crop=40, y_crop=50) == _CROSS
    assert _at(sheet, panel=1, x_crop=42, y_crop=50) == [0, 0, 0]


def test_the_sheet_of_the_first_draws_is_kept_in_the_run_folder(tmp_path: Path):
    dataset = _dataset(tmp_path, people=3)
    batches = SeededBatches([3], [1.0], 2, seed=0, start=0)

    path = write_sheet(tmp_path / "run", dataset, list(islice(chain.from_iterable(batches), 4)), [3])

    assert path == tmp_path / "run" / "crops.jpg"
    written = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    assert written.shape == (68 + 296 + 16, 16 + 4 * (517 + 16), 3)
    assert written[_TOP + 10, _LEFT_EDGE + 10].tolist() == pytest.approx([128, 128, 128], abs=4)
