"""Contact sheets: crops side by side with captions, in rows, with heat maps laid over them."""

from collections.abc import Sequence

import cv2
import numpy as np
from torch import Tensor

from mspn.structures.shapes import Float, UInt8
from mspn.structures.skeleton import Skeleton
from mspn.visualize.themes import Color, side_colors

FAINT_TEXT_COLOR: Color = (150, 156, 165)
_PANEL_HEIGHT_PX = 256
_PANEL_GAP_PX = 2
_GAP_PX = 16
_LINE_HEIGHT_PX = 18
_TEXT_SCALE = 0.42
_DIMMED_BRIGHTNESS = 0.4
_BACKGROUND_COLOR: Color = (24, 26, 31)
_TEXT_COLOR: Color = (225, 228, 232)


def enlarge_crop(crop: UInt8[np.ndarray, "H W 3"]) -> tuple[UInt8[np.ndarray, "h w 3"], float]:
    """The crop resized to the height of a panel, and the scale factor."""
    scale = _PANEL_HEIGHT_PX / crop.shape[0]
    size = (round(crop.shape[1] * scale), _PANEL_HEIGHT_PX)
    return cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), scale


def overlay_heatmaps(
    panel: UInt8[np.ndarray, "h w 3"], heatmaps: Float[Tensor, "K r c"], skeleton: Skeleton
) -> UInt8[np.ndarray, "h w 3"]:
    """The crop in dim gray with every keypoint's heat map in the color of its side; cells stay visible.

    Args:
        panel: the crop, at any size.
        heatmaps: 0 shows the crop, 1 the color.
        skeleton: of the maps.
    """
    gray = cv2.cvtColor(panel, cv2.COLOR_RGB2GRAY).astype(np.float32) * _DIMMED_BRIGHTNESS
    height, width = heatmaps.shape[1:]
    # Colors are laid over each other in the cells, which are few, and over the crop once.
    added, seen = np.zeros((height, width, 3), np.float32), np.ones((height, width, 1), np.float32)
    colors = side_colors(skeleton)
    for color in dict.fromkeys(colors):
        opacity = (
            heatmaps[[index for index, keypoint_color in enumerate(colors) if keypoint_color == color]].amax(0).numpy()
        )[..., None]
        added = added * (1 - opacity) + np.array(color, np.float32) * opacity
        seen *= 1 - opacity
    size = panel.shape[1::-1]
    shown = gray * cv2.resize(seen, size, interpolation=cv2.INTER_NEAREST)
    overlaid = shown[..., None] + cv2.resize(added, size, interpolation=cv2.INTER_NEAREST)
    canvas: UInt8[np.ndarray, "h w 3"] = np.rint(overlaid).astype(np.uint8)
    return canvas


def join_panels(panels: Sequence[UInt8[np.ndarray, "h w 3"]], captions: Sequence[str]) -> UInt8[np.ndarray, "H W 3"]:
    """Panels of one height side by side, captions below."""
    gap = np.full((panels[0].shape[0], _PANEL_GAP_PX, 3), _BACKGROUND_COLOR, np.uint8)
    joined = np.hstack([part for panel in panels for part in (panel, gap)][:-1])
    footer = np.full((_LINE_HEIGHT_PX * len(captions) + 4, joined.shape[1], 3), _BACKGROUND_COLOR, np.uint8)
    for row, text in enumerate(captions):
        _write(footer, text, (0, row), _TEXT_COLOR if row == 0 else FAINT_TEXT_COLOR)
    return np.vstack([joined, footer])


def arrange_tiles(
    tiles: Sequence[UInt8[np.ndarray, "h w 3"]], headings: Sequence[str], *, columns: int
) -> UInt8[np.ndarray, "H W 3"]:
    """Tiles of one size in rows below the headings, if there are any."""
    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    top = _GAP_PX + (_LINE_HEIGHT_PX * len(headings) + _GAP_PX if headings else 0)
    size = (top + rows * (height + _GAP_PX), _GAP_PX + columns * (width + _GAP_PX), 3)
    sheet = np.full(size, _BACKGROUND_COLOR, np.uint8)
    for row, text in enumerate(headings):
        _write(sheet[_GAP_PX:, _GAP_PX:], text, (0, row), _TEXT_COLOR if row == 0 else FAINT_TEXT_COLOR)
    for index, tile in enumerate(tiles):
        y = top + index // columns * (height + _GAP_PX)
        x = _GAP_PX + index % columns * (width + _GAP_PX)
        sheet[y : y + height, x : x + width] = tile
    return sheet


def _write(canvas: UInt8[np.ndarray, "H W 3"], text: str, position: tuple[int, int], color: Color) -> None:
    x, row = position
    baseline = (row + 1) * _LINE_HEIGHT_PX - 4
    # OpenCV's fonts have ASCII only.
    ascii_text = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, ascii_text, (x, baseline), cv2.FONT_HERSHEY_SIMPLEX, _TEXT_SCALE, color, 1, cv2.LINE_AA)
