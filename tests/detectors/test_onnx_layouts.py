"""Every family in the form that its authors publish, by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mspn.detectors.onnx_families import (
    FAMILIES,
    NANODET,
    NANODET_JOINED,
    NANODET_PLUS,
    RTDETR,
    RTDETR_QUERIES,
    RTMDET,
    RTMDET_RAW,
    YOLOX,
    Layout,
    Outputs,
    grid,
)
from mspn.structures.boxes import Size
from tests.detectors.family_outputs import (
    NUM_CATEGORIES,
    detr_query_outputs,
    nanodet_outputs,
    nanodet_plus_outputs,
    rtmdet_outputs,
    rtmdet_raw_outputs,
    yolox_outputs,
)

_SIZE = Size(64, 64)


def _nanodet_joined_outputs() -> Outputs:
    apart = nanodet_outputs()
    levels = [np.concatenate([apart[f"scores_{name}"], apart[f"sides_{name}"]], axis=2) for name in "abc"]
    return {"output": np.concatenate(levels, axis=1)}


def _detr_outputs() -> Outputs:
    boxes = np.array([[[16, 8, 48, 24], [0, 0, 9, 9]]], np.float32)
    return {"labels": np.array([[0, 16]]), "boxes": boxes, "scores": np.array([[0.5, 0.01]], np.float32)}


_CASES: list[tuple[Layout, Callable[[], Outputs], list[float], float]] = [
    (YOLOX, yolox_outputs, [24, 12, 56, 28], 0.4),
    (YOLOX, lambda: yolox_outputs(decoded=True), [24, 12, 56, 28], 0.4),
    (NANODET, nanodet_outputs, [0, 16, 48, 64], 0.6),
    (NANODET_JOINED, _nanodet_joined_outputs, [0, 16, 48, 64], 0.6),
    (NANODET_PLUS, nanodet_plus_outputs, [-16, 0, 32, 48], 0.6),
    (RTMDET_RAW, rtmdet_raw_outputs, [6, 12, 36, 40], 0.5),
    (RTDETR, _detr_outputs, [16, 8, 48, 24], 0.5),
    (RTDETR_QUERIES, detr_query_outputs, [16, 8, 48, 24], 0.5),
]


@pytest.mark.parametrize(("layout", "make_outputs", "corners", "score"), _CASES)
def test_a_box_is_decoded_as_its_family_wrote_it(
    layout: Layout, make_outputs: Callable[[], Outputs], corners: list[float], score: float
):
    candidates = layout.read(make_outputs(), _SIZE)

    assert candidates is not None
    np.testing.assert_allclose(candidates.boxes_xyxy_input, [corners], atol=1e-4)
    np.testing.assert_allclose(candidates.scores, [score], atol=1e-6)
    assert candidates.categories.tolist() == [0]


@pytest.mark.parametrize(("layout", "make_outputs", "_corners", "_score"), _CASES)
def test_no_other_layout_takes_the_outputs_for_its_own(
    layout: Layout, make_outputs: Callable[[], Outputs], _corners: list[float], _score: float
):
    layouts = {one for members in FAMILIES.values() for one in members}

    assert [one for one in layouts if one.read(make_outputs(), _SIZE) is not None] == [layout]


def test_boxes_without_duplicates_keep_their_category_and_lose_those_that_hardly_are_any():
    candidates = RTMDET.read(rtmdet_outputs(), _SIZE)

    assert candidates is not None
    assert candidates.boxes_xyxy_input.tolist() == [[8, 8, 40, 56], [0, 0, 16, 16]]
    assert candidates.categories.tolist() == [0, 16]
    assert candidates.num_categories is None


def test_raw_levels_of_four_categories_have_scores_first():
    four = {name: values[:, :4] for name, values in rtmdet_raw_outputs().items()}

    candidates = RTMDET_RAW.read(four, _SIZE)

    assert candidates is not None
    np.testing.assert_allclose(candidates.boxes_xyxy_input, [[6, 12, 36, 40]])


def test_one_box_of_several_categories_is_a_candidate_of_each():
    outputs = yolox_outputs(score=0.4, category=0)
    outputs["output"][0, 70, 5 + 16] = 0.5  # times the objectness of 0.8

    candidates = YOLOX.read(outputs, _SIZE)

    assert candidates is not None
    assert candidates.categories.tolist() == [0, 16]
    np.testing.assert_allclose(candidates.scores, [0.4, 0.4])
    assert candidates.num_categories == NUM_CATEGORIES


@pytest.mark.parametrize(
    "outputs",
    [
        {"output": np.zeros((1, 84), np.float32)},
        {"output": np.zeros((1, 84, 85), np.float32)},
        {"output": np.zeros((1, 83, 85), np.float32)},
        {name: values[:, :-1] for name, values in nanodet_outputs().items()},
        {name: values[..., :9] for name, values in nanodet_outputs().items()},
        {name: values[:, :3] for name, values in rtmdet_raw_outputs().items()},
        {"labels": np.zeros((1, 3)), "boxes": np.zeros((1, 4, 4)), "scores": np.zeros((1, 3))},
        {"dets": np.zeros((1, 3, 4)), "labels": np.zeros((1, 3))},
        {"logits": np.zeros((1, 3, 80)), "pred_boxes": np.zeros((1, 4, 4))},
    ],
)
def test_outputs_of_another_form_are_of_no_layout(outputs: Outputs):
    layouts = {one for members in FAMILIES.values() for one in members}

    assert all(layout.read(outputs, _SIZE) is None for layout in layouts)


@given(
    names=st.lists(
        st.sampled_from(["dets", "labels", "boxes", "scores", "logits", "pred_boxes", "a", "b"]),
        unique=True,
        max_size=6,
    ),
    shapes=st.lists(
        st.lists(st.sampled_from([0, 1, 2, 3, 4, 5, 8, 16, 44, 64, 84, 85, 112]), max_size=3).map(tuple),
        min_size=6,
        max_size=6,
    ),
    value=st.sampled_from([0.0, 0.5, -1.0, 1e30, np.inf, np.nan]),
)
def test_whatever_numbers_come_out_are_taken_or_left(names: list[str], shapes: list[tuple[int, ...]], value: float):
    outputs = {name: np.full((1, *shape), value, np.float32) for name, shape in zip(names, shapes, strict=False)}
    layouts = {one for members in FAMILIES.values() for one in members}

    for layout in layouts:
        candidates = layout.read(outputs, _SIZE)
        assert candidates is None or len(candidates.scores) == len(candidates.boxes_xyxy_input)


def test_a_grid_counts_cells_row_by_row_and_level_by_level():
    # 16x8 pixels: 2x1 cells of stride 8, then one of stride 16.
    assert grid(Size(16, 8), (8, 16), 0.5).tolist() == [[4, 4, 8], [4, 12, 8], [8, 8, 16]]


def test_pixels_are_normalized_in_the_networks_order_of_channels():
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 255

    prepared = {layout: layout.prepare(red)[0, :, 0, 0] for layout in (YOLOX, RTDETR, RTMDET)}

    np.testing.assert_allclose(prepared[YOLOX], [0, 0, 255])
    np.testing.assert_allclose(prepared[RTDETR], [1, 0, 0])
    # Red is the last channel of BGR: (255 - 123.675) / 58.395.
    np.testing.assert_allclose(prepared[RTMDET], [-103.53 / 57.375, -116.28 / 57.12, 131.325 / 58.395], rtol=1e-6)
