import warnings
from typing import get_args

import cv2
import numpy as np
import pytest
import torch

from mspn.config.protocol import FAITHFUL_TEST, MMPOSE_TEST, SIMPLE_BASELINE_TEST, ProtocolConfig
from mspn.heatmaps.decode import Decoded, average_mirrored, decode, expected_oks, gaussian_filter
from mspn.structures.boxes import Size
from mspn.structures.crop import CropFrame, heatmap_to_crop, transform_points
from mspn.structures.skeleton import COCO_17
from tests.golden import golden_decode, golden_pipeline


def _maps(*cells: tuple[int, int, float]) -> torch.Tensor:
    """One map of 8 rows and 6 columns with the given (x, y, value) cells, zero elsewhere."""
    maps = torch.zeros(1, 1, 8, 6)
    for x, y, value in cells:
        maps[0, 0, y, x] = value
    return maps


def _decode(maps: torch.Tensor, config: ProtocolConfig) -> Decoded:
    """Decode one map by a rule that asks for no sigma."""
    return decode(maps, config, [])


def _released_label_maps() -> torch.Tensor:
    """The golden keypoints' maps as the released code draws them: blurred with mirrored borders, then peak 1."""
    figures = golden_pipeline()["targets"]
    maps = np.zeros((1, 17, 64, 48), np.float32)
    for index, ((x, y), visibility) in enumerate(zip(figures["keypoints_crop"], figures["visibility"], strict=True)):
        if visibility > 0:
            maps[0, index, int(y / 4), int(x / 4)] = 1
            maps[0, index] = cv2.GaussianBlur(maps[0, index], (5, 5), 0)
            maps[0, index] /= maps[0, index].max()
    return torch.from_numpy(maps)


def test_decoded_points_and_scores_equal_the_released_codes():
    figures = golden_decode()
    frame = CropFrame(center_image=(320.5, 240.25), width_image=180.0, size=Size(256, 192))

    decoded = decode(_released_label_maps(), FAITHFUL_TEST, COCO_17.sigmas)

    keypoints_image = transform_points(heatmap_to_crop(decoded.keypoints_heatmap[0]).numpy(), frame.crop_to_image)
    np.testing.assert_allclose(keypoints_image, figures["keypoints_image"], atol=1e-4)
    np.testing.assert_allclose(decoded.scores[0] + 0.5, figures["ranking_scores"], atol=1e-6)


def test_mirrored_maps_turned_back_peak_where_the_released_code_has_them():
    maps = _released_label_maps()

    turned = average_mirrored(torch.zeros_like(maps), maps, COCO_17.mirror_order)

    assert turned.flatten(2).argmax(-1)[0].tolist() == golden_decode()["mirrored_back_argmax"]


def test_averaging_a_map_with_its_own_mirror_image_changes_nothing():
    random = torch.Generator().manual_seed(3)
    maps = torch.rand(2, 17, 8, 6, generator=random)

    averaged = average_mirrored(maps, maps.flip(-1)[:, COCO_17.mirror_order], COCO_17.mirror_order)

    torch.testing.assert_close(averaged, maps)


def test_maps_of_rounded_keypoints_are_moved_by_a_cell_after_mirroring():
    # A keypoint at crop x = 8 rounds to cell 2 of 6. Mirrored, it is at 23 - 8 = 15, which rounds to cell 4 (3.75), and
    # turned back that is cell 1: one too far left.
    seen, mirrored = _maps((2, 4, 1.0)), _maps((4, 4, 1.0))

    averaged = average_mirrored(seen, mirrored, [0], shift=1)

    assert torch.equal(averaged, seen)


def test_the_first_column_stays_when_maps_are_moved():
    mirrored = _maps((5, 0, 1.0))

    averaged = average_mirrored(torch.zeros_like(mirrored), mirrored, [0], shift=1)

    assert averaged[0, 0, 0].tolist() == [0.5, 0.5, 0, 0, 0, 0]


def test_rounded_cells_lie_at_their_corner():
    # The peak at (3, 4) leans right and down: 4 x 3 + 1, 4 x 4 + 1 in crop pixels. One in the border does not lean.
    inside, outside = _maps((3, 4, 1.0), (4, 4, 0.5), (3, 5, 0.5)), _maps((0, 4, 1.0), (1, 4, 0.5))

    points = [heatmap_to_crop(_decode(maps, SIMPLE_BASELINE_TEST).keypoints_heatmap) for maps in (inside, outside)]

    torch.testing.assert_close(points[0], torch.tensor([[[13.0, 17.0]]]))
    torch.testing.assert_close(points[1], torch.tensor([[[0.0, 16.0]]]))


def test_the_filter_spreads_a_cell_by_the_binomial_weights():
    # Weights of a width of 5: 1 4 6 4 1 over 16, in both directions.
    filtered = gaussian_filter(_maps((3, 4, 1.0)), 5)

    torch.testing.assert_close(filtered[0, 0, 4, 1:6], torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) * 6 / 256)
    torch.testing.assert_close(filtered[0, 0, 2, 3], torch.tensor(6.0 / 256))
    assert filtered[0, 0, 4, 0] == 0


def test_mass_that_the_filter_moves_over_the_edge_is_lost():
    filtered = gaussian_filter(_maps((0, 4, 1.0)), 5)

    # Columns 0, 1, 2 keep 6 + 4 + 1 of 16.
    torch.testing.assert_close(filtered.sum(), torch.tensor(11 / 16))


def test_a_filter_of_width_one_changes_nothing():
    maps = _maps((3, 4, 0.7))

    assert gaussian_filter(maps, 1) is maps


@pytest.mark.parametrize("decoder", get_args(ProtocolConfig.model_fields["decoder"].annotation))
def test_people_decode_in_a_large_batch_as_they_do_alone(decoder: str):
    random = torch.Generator().manual_seed(5)
    maps, mirrored = torch.rand(9, 17, 8, 6, generator=random), torch.rand(9, 17, 8, 6, generator=random)
    config = FAITHFUL_TEST.model_copy(update={"decoder": decoder})

    averaged = average_mirrored(maps, mirrored, COCO_17.mirror_order)
    together = decode(averaged, config, COCO_17.sigmas)

    for person in range(9):
        one = slice(person, person + 1)
        assert torch.equal(averaged[one], average_mirrored(maps[one], mirrored[one], COCO_17.mirror_order))
        alone = decode(averaged[one], config, COCO_17.sigmas)
        assert torch.equal(together.keypoints_heatmap[one], alone.keypoints_heatmap)
        assert torch.equal(together.scores[one], alone.scores)


class _Decoding(torch.nn.Module):
    def __init__(self, config: ProtocolConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, maps: torch.Tensor, mirrored: torch.Tensor) -> Decoded:
        averaged = average_mirrored(maps, mirrored, COCO_17.mirror_order, shift=self.config.mirror_shift)
        return decode(averaged, self.config, COCO_17.sigmas)


@pytest.mark.parametrize("decoder", get_args(ProtocolConfig.model_fields["decoder"].annotation))
def test_decoding_that_torch_exports_finds_the_same_points_for_any_number_of_people(decoder: str):
    # A broad bump in noise, so that every rule for the offset has something to do.
    random = torch.Generator().manual_seed(5)
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(12.0), indexing="ij")
    x, y = 3 + 6 * torch.rand(2, 5, 17, 1, 1, generator=random)
    maps = torch.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8) + 0.1 * torch.rand(5, 17, 16, 12, generator=random)
    mirrored = maps.flip(-1)[:, COCO_17.mirror_order] + 0.1 * torch.rand(5, 17, 16, 12, generator=random)
    config = FAITHFUL_TEST.model_copy(update={"decoder": decoder, "mirror_shift": 1})
    people = torch.export.Dim("people")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, about its own code
        exported = torch.export.export(_Decoding(config), (maps[:2], mirrored[:2]), dynamic_shapes=({0: people},) * 2)
    answer = exported.module()(maps, mirrored)

    expected = _Decoding(config)(maps, mirrored)
    torch.testing.assert_close(answer.keypoints_heatmap, expected.keypoints_heatmap, rtol=0, atol=1e-4)
    torch.testing.assert_close(answer.scores, expected.scores)


def test_the_point_moves_a_quarter_cell_along_the_line_to_the_second_highest_cell():
    # From (1, 1) to (4, 5) the unit vector is (3, 4) / 5; a quarter of it is (0.15, 0.2).
    unfiltered = FAITHFUL_TEST.model_copy(update={"blur_kernel": 1})

    decoded = _decode(_maps((1, 1, 0.9), (4, 5, 0.5)), unfiltered)

    torch.testing.assert_close(decoded.keypoints_heatmap[0, 0], torch.tensor([1.15, 1.2]))
    assert decoded.scores.item() == pytest.approx(0.9)


def test_mmpose_moves_a_quarter_cell_along_each_axis():
    unfiltered = MMPOSE_TEST.model_copy(update={"blur_kernel": 1})

    decoded = _decode(_maps((3, 4, 0.9), (4, 4, 0.5), (3, 3, 0.2)), unfiltered)

    torch.testing.assert_close(decoded.keypoints_heatmap[0, 0], torch.tensor([3.25, 3.75]))


@pytest.mark.parametrize(("x", "y"), [(1, 4), (0, 4), (5, 4), (3, 1), (3, 7)])
def test_mmpose_leaves_points_in_the_outer_cells_at_the_cells_corner(x: int, y: int):
    # MMPose writes 4 x there instead of 4 x + 2: half a cell to the left and up.
    decoded = _decode(_maps((x, y, 0.9), (2, 2, 0.1)), MMPOSE_TEST.model_copy(update={"blur_kernel": 1}))

    torch.testing.assert_close(decoded.keypoints_heatmap[0, 0], torch.tensor([x - 0.5, y - 0.5]))


DARK_UNFILTERED = FAITHFUL_TEST.model_copy(update={"decoder": "dark", "blur_kernel": 1})


def test_dark_finds_the_top_of_a_gaussian_between_cells():
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
    maps = torch.exp(-((columns - 2.3) ** 2 + (rows - 3.6) ** 2) / 2).reshape(1, 1, 8, 6)

    decoded = _decode(maps, DARK_UNFILTERED)

    torch.testing.assert_close(decoded.keypoints_heatmap[0, 0], torch.tensor([2.3, 3.6]))
    # The highest cell is (2, 4), off by 0.3 and 0.4: exp(-0.25 / 2).
    assert decoded.scores.item() == pytest.approx(0.8825, abs=1e-4)


def test_dark_follows_a_gaussian_that_is_turned():
    # Its logarithm is -(dx^2 + dy^2 + dx dy) / 2 around (2.8, 3.9): the mixed derivative counts too.
    dy, dx = torch.meshgrid(torch.arange(8.0) - 3.9, torch.arange(6.0) - 2.8, indexing="ij")
    maps = torch.exp(-(dx**2 + dy**2 + dx * dy) / 2).reshape(1, 1, 8, 6)

    decoded = _decode(maps, DARK_UNFILTERED)

    torch.testing.assert_close(decoded.keypoints_heatmap[0, 0], torch.tensor([2.8, 3.9]))


def test_dark_leaves_cells_at_the_border_and_saddles_alone():
    # The ridge from corner to corner bends the logarithm by (0 - 2 log 0.5 + 0) / 4 = 0.35 across, far more than the
    # (log 0.98 + log 0.98) / 4 = -0.01 along each axis: no maximum.
    border = _maps((1, 4, 1.0), (2, 4, 0.9))
    ridge = [(2, 3, 0.99), (4, 5, 0.99), (2, 5, 0.5), (4, 3, 0.5), (2, 4, 0.7), (4, 4, 0.8), (3, 3, 0.7), (3, 5, 0.8)]
    saddle = _maps((3, 4, 1.0), *ridge, (1, 4, 0.98), (5, 4, 0.98), (3, 2, 0.98), (3, 6, 0.98))

    points = [_decode(maps, DARK_UNFILTERED).keypoints_heatmap[0, 0].tolist() for maps in (border, saddle)]

    assert points == [[1.0, 4.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("x", "y", "step"),
    [(1, 4, 0.0), (2, 4, 0.3), (3, 4, 0.3), (4, 4, 0.0), (3, 1, 0.0), (3, 2, 0.3), (3, 5, 0.3), (3, 6, 0.0)],
)
def test_dark_moves_all_cells_but_the_outer_two_on_each_side(x: int, y: int, step: float):
    # A Gaussian around a point 0.3 to the right of the cell and 0.3 below it, in 8 rows and 6 columns.
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(6.0), indexing="ij")
    maps = torch.exp(-((columns - x - 0.3) ** 2 + (rows - y - 0.3) ** 2) / 2).reshape(1, 1, 8, 6)

    decoded = _decode(maps, DARK_UNFILTERED)

    torch.testing.assert_close(decoded.keypoints_heatmap[0, 0], torch.tensor([x + step, y + step]))


def test_a_dark_step_is_no_longer_than_a_cell():
    # Along x: slope log(0.999 / 0.5) / 2 = 0.35, bend (log 0.98 + log 0.98) / 4 = -0.01: a step of 34 cells.
    maps = _maps((2, 4, 1.0), (1, 4, 0.5), (3, 4, 0.999), (0, 4, 0.98), (4, 4, 0.98))

    decoded = _decode(maps, DARK_UNFILTERED)

    assert decoded.keypoints_heatmap[0, 0].tolist() == [3.0, 4.0]


def test_dark_starts_from_a_lone_high_cell_and_dark_filtered_from_a_broad_bump():
    # The filter's middle weight is far below 1: the lone cell falls under the bump around (3, 5), which stays.
    bump = [(x, y, 0.9 - 0.1 * (abs(x - 3) + abs(y - 5))) for x in range(1, 6) for y in range(3, 8)]
    maps = _maps((1, 0, 1.0), *bump)

    points = {
        decoder: _decode(maps, FAITHFUL_TEST.model_copy(update={"decoder": decoder})).keypoints_heatmap[0, 0].round()
        for decoder in ("dark", "dark_filtered")
    }

    assert {decoder: point.tolist() for decoder, point in points.items()} == {"dark": [1, 0], "dark_filtered": [3, 5]}


EXPECTED_OKS = FAITHFUL_TEST.model_copy(update={"decoder": "expected_oks"})
# The usual area is 0.09 of 8 x 6 cells: with this sigma, OKS falls to exp(-1/2) = 0.607 from one cell to the next.
ONE_CELL = 1 / (2 * (0.09 * 8 * 6) ** 0.5)


def test_expected_oks_weighs_the_cells_around_by_how_similar_they_are():
    # Squared and summed to 1, the cells are 0.36 and 0.64 probable: 0.64 + 0.36 x 0.607 = 0.858 is the most to expect.
    maps = _maps((2, 4, 0.6), (3, 4, 0.8))

    expected = expected_oks(maps, [ONE_CELL])

    torch.testing.assert_close(expected[0, 0, 4, 2:4], torch.tensor([0.7482, 0.8583]), rtol=0, atol=1e-4)
    assert decode(maps, EXPECTED_OKS, [ONE_CELL]).scores.item() == pytest.approx((0.8 * 0.8583) ** 0.5, abs=1e-4)


def test_expected_oks_of_a_lone_cell_is_one_there_and_of_an_empty_map_zero():
    lone, empty = decode(_maps((3, 4, 0.5)), EXPECTED_OKS, [ONE_CELL]), decode(_maps(), EXPECTED_OKS, [ONE_CELL])

    torch.testing.assert_close(lone.keypoints_heatmap[0, 0], torch.tensor([3.0, 4.0]))
    assert (lone.scores.item(), empty.scores.item()) == (pytest.approx(0.5**0.5), 0.0)


def test_expected_oks_takes_the_broad_bump_only_for_a_keypoint_that_may_lie_far_off():
    # Squared: 1 in the lone cell, 0.49 in each of three: 0.49 x (1 + 2 x 0.607) = 1.08 in their middle, or, at a tenth
    # of the tolerance, 0.49.
    maps = _maps((1, 1, 1.0), (3, 5, 0.7), (3, 6, 0.7), (3, 4, 0.7)).expand(1, 2, 8, 6)

    decoded = decode(maps, EXPECTED_OKS, [ONE_CELL, ONE_CELL / 10])

    assert decoded.keypoints_heatmap[0].round().tolist() == [[3, 5], [1, 1]]


def test_points_stay_on_the_map():
    # The second highest cell pulls left and up, out of the corner cell.
    negative = torch.full((1, 1, 8, 6), -1.0)
    negative[0, 0, 0, 0] = 0.5

    decoded = _decode(negative, FAITHFUL_TEST.model_copy(update={"blur_kernel": 1}))

    assert (decoded.keypoints_heatmap >= 0).all()
