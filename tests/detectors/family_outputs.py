"""What detectors of each family say of an input of 64x64 pixels in which they see one box."""

import numpy as np

NUM_CATEGORIES = 80
_CELLS = (64, 16, 4)
"""Of strides 8, 16 and 32."""
_BINS = 8
_SURE = 50.0


def yolox_outputs(score: float = 0.4, category: int = 0, *, decoded: bool = False) -> dict[str, np.ndarray]:
    """A box with corners (24, 12, 56, 28): its middle (40, 20) is in row 1, column 2 of stride 16."""
    values = np.zeros((1, sum(_CELLS), 5 + NUM_CATEGORIES), np.float32)
    cell = _CELLS[0] + 1 * 4 + 2
    if decoded:
        columns = np.concatenate(
            [np.tile(np.arange(side), side) * stride for side, stride in ((8, 8), (4, 16), (2, 32))]
        )
        rows = np.concatenate(
            [np.repeat(np.arange(side), side) * stride for side, stride in ((8, 8), (4, 16), (2, 32))]
        )
        values[0, :, 0], values[0, :, 1] = columns, rows
        values[0, cell, :4] = 40, 20, 32, 16
    else:
        values[0, :, :4] = -0.5
        # The middle is 2.5 and 1.25 strides of 16 away, the box 2 and 1 wide and high, as logarithms.
        values[0, cell, :4] = 0.5, 0.25, np.log(2), 0
    values[0, cell, 4] = 0.8
    values[0, cell, 5 + category] = score / 0.8
    return {"output": values}


def nanodet_outputs(score: float = 0.6, category: int = 0) -> dict[str, np.ndarray]:
    """A box with corners (0, 16, 48, 64): distances of 0.5, 1, 1 and 0.5 strides from (16, 48), in stride 32."""
    outputs = {}
    for cells, name in zip(_CELLS, "abc", strict=True):
        outputs[f"scores_{name}"] = np.zeros((1, cells, NUM_CATEGORIES), np.float32)
        outputs[f"sides_{name}"] = np.full((1, cells, 4 * _BINS), -1, np.float32)
    cell = 2  # row 1, column 0
    outputs["scores_c"][0, cell, category] = score
    outputs["sides_c"][0, cell] = _half_and_whole_strides().ravel()
    return outputs


def nanodet_plus_outputs(score: float = 0.6) -> dict[str, np.ndarray]:
    """A box with corners (-16, 0, 32, 48): the same distances from (0, 32), in stride 32 of 8, 16, 32 and 64."""
    values = np.full((1, sum(_CELLS) + 1, NUM_CATEGORIES + 4 * _BINS), -1, np.float32)
    values[0, :, :NUM_CATEGORIES] = 0
    cell = _CELLS[0] + _CELLS[1] + 2
    values[0, cell, 0] = score
    values[0, cell, NUM_CATEGORIES:] = _half_and_whole_strides().ravel()
    return {"output": values}


def rtmdet_outputs(score: float = 0.7) -> dict[str, np.ndarray]:
    """A box with corners (8, 8, 40, 56), a worse one of a dog (category 16), and one that is hardly any."""
    dets = [[8, 8, 40, 56, score], [0, 0, 16, 16, 0.3], [0, 0, 32, 32, 0.01]]
    return {"dets": np.array([dets], np.float32), "labels": np.array([[0, 16, 0]])}


def rtmdet_raw_outputs() -> dict[str, np.ndarray]:
    """A box with corners (6, 12, 36, 40) and score 0.5: 10, 4, 20 and 24 pixels from (16, 16), in stride 16."""
    outputs = {}
    for side in (8, 4, 2):
        outputs[f"scores_{side}"] = np.full((1, NUM_CATEGORIES, side, side), -20, np.float32)
    for side in (8, 4, 2):
        outputs[f"boxes_{side}"] = np.ones((1, 4, side, side), np.float32)
    outputs["scores_4"][0, 0, 1, 1] = 0  # the sigmoid of 0 is a half
    outputs["boxes_4"][0, :, 1, 1] = 10, 4, 20, 24
    return outputs


def detr_query_outputs() -> dict[str, np.ndarray]:
    """A box with corners (16, 8, 48, 24) and score 0.5: middle (32, 16), 32 wide and 16 high."""
    logits = np.full((1, 5, NUM_CATEGORIES), -20, np.float32)
    logits[0, 3, 0] = 0
    boxes = np.full((1, 5, 4), 0.1, np.float32)
    boxes[0, 3] = 0.5, 0.25, 0.5, 0.25
    return {"logits": logits, "pred_boxes": boxes}


def _half_and_whole_strides() -> np.ndarray:
    """Logits of the four sides: 0.5 is the mean of 0 and 1."""
    sides = np.zeros((4, _BINS), np.float32)
    sides[[0, 0, 3, 3], [0, 1, 0, 1]] = _SURE
    sides[[1, 2], [1, 1]] = _SURE
    return sides
