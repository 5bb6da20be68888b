"""Sheets: crops side by side with captions below, in rows, and heat maps laid over them."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.structures.skeleton import Skeleton
from mspn.visualize.themes import Color, side_colors

FAINT_INK: Color = (150, 156, 165)
_PANEL_HEIGHT = 256
_PANEL_GAP = 2
_GAP = 16
_LINE_HEIGHT = 18
_TEXT_SCALE = 0.42
_DIMMED = 0.4
_PAPER: Color = (24, 26, 31)
_INK: Color = (225, 228, 232)


def enlarge_crop(crop: UInt8[np.ndarray, "H W 3"]) -> tuple[UInt8[np.ndarray, "h w 3"], float]:
    """The crop at the height of a panel, and the factor that this is."""
    scale = _PANEL_HEIGHT / crop.shape[0]
    size = (round(crop.shape[1] * scale), _PANEL_HEIGHT)
    return cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), scale


def overlay_heatmaps(
    panel: UInt8[np.ndarray, "h w 3"], heatmaps: Float[Tensor, "K r c"], skeleton: Skeleton
) -> UInt8[np.ndarray, "h w 3"]:
    """The crop in dim gray, and on it every keypoint's map in the color of its side; cells stay visible.

    Args:
        panel: the crop, at any size.
        heatmaps: 0 shows the crop, 1 the color.
        skeleton: of the maps.
    """
    gray = cv2.cvtColor(panel, cv2.COLOR_RGB2GRAY).astype(np.float32) * _DIMMED
    canvas = np.repeat(gray[..., None], 3, axis=-1)
    colors = side_colors(skeleton)
    for color in dict.fromkeys(colors):
        merged = heatmaps[[index for index, one in enumerate(colors) if one == color]].amax(0).numpy()
        opacity = cv2.resize(merged, panel.shape[1::-1], interpolation=cv2.INTER_NEAREST)[..., None]
        canvas = canvas * (1 - opacity) + np.array(color, np.float32) * opacity
    return np.rint(canvas).astype(np.uint8)


def join_panels(panels: Sequence[UInt8[np.ndarray, "h w 3"]], captions: Sequence[str]) -> UInt8[np.ndarray, "H W 3"]:
    """Panels of one height side by side, captions below."""
    gap = np.full((panels[0].shape[0], _PANEL_GAP, 3), _PAPER, np.uint8)
    joined = np.hstack([part for panel in panels for part in (panel, gap)][:-1])
    footer = np.full((_LINE_HEIGHT * len(captions) + 4, joined.shape[1], 3), _PAPER, np.uint8)
    for row, text in enumerate(captions):
        _write(footer, text, (0, row), _INK if row == 0 else FAINT_INK)
    return np.vstack([joined, footer])


def arrange_tiles(
    tiles: Sequence[UInt8[np.ndarray, "h w 3"]], headings: Sequence[str], *, columns: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Tiles of one size in rows below the headings, if there are any."""
    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    top = _GAP + (_LINE_HEIGHT * len(headings) + _GAP if headings else 0)
    size = (top + rows * (height + _GAP), _GAP + columns * (width + _GAP), 3)
    sheet = np.full(size, _PAPER, np.uint8)
    for row, text in enumerate(headings):
        _write(sheet[_GAP:, _GAP:], text, (0, row), _INK if row == 0 else FAINT_INK)
    for index, tile in enumerate(tiles):
        y = top + index // columns * (height + _GAP)
        x = _GAP + index % columns * (width + _GAP)
        sheet[y : y + height, x : x + width] = tile
    return sheet


def _write(canvas: UInt8[np.ndarray, "H W 3"], text: str, place: tuple[int, int], color: Color) -> None:
    x, row = place
    baseline = (row + 1) * _LINE_HEIGHT - 4
    # The font has no other letters.
    ascii_text = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, ascii_text, (x, baseline), cv2.FONT_HERSHEY_SIMPLEX, _TEXT_SCALE, color, 1, cv2.LINE_AA)
