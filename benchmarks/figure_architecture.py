"""The figure of docs/paper-to-code.md: stages, levels, aggregation and targets, as the paper's Figures 2 and 3.

python -m benchmarks.figure_architecture mspn-2 docs/images/architecture.svg
"""

import argparse
from pathlib import Path

import torch

from mspn.config.model import ModelConfig
from mspn.config.recipe import Recipe
from mspn.config.recipes import find_recipe
from mspn.io.files import write_text
from mspn.models.mspn import MSPN
from mspn.training.losses import kernel_size_at

_STAGE_WIDTH, _LEVEL_HEIGHT, _TOP, _LEFT = 370.0, 84.0, 104.0, 150.0
_BOX_HEIGHT = 34.0
_DOWN_X, _UP_X, _HEAD_X = 20.0, 170.0, 268.0
_WIDEST, _NARROWEST = 104.0, 70.0
_DOWN, _UP, _HEAT, _ACROSS, _INK = "#2a78d6", "#1b8f76", "#d95926", "#8a5bd0", "#333a42"


def main() -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description="the architecture of a network")
    parser.add_argument("recipe")
    parser.add_argument("figure", type=Path)
    chosen = parser.parse_args()
    write_text(chosen.figure, draw(find_recipe(chosen.recipe)))


def draw(recipe: Recipe) -> str:
    """The figure as SVG; channels, sizes and kernels are those of the recipe's network."""
    assert isinstance(recipe.model, ModelConfig)
    with torch.device("meta"):
        network = MSPN(recipe.model)
    num_stages = len(network.stages)
    width = _LEFT + num_stages * _STAGE_WIDTH
    levels = network.stages[0].down.out_channels
    height = _TOP + len(levels) * _LEVEL_HEIGHT + 56
    crop, stem = recipe.model.input_size, network.stages[0].down.in_channels
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        f' font-family="sans-serif" font-size="12" fill="{_INK}">',
        _arrow_heads(),
        '<rect width="100%" height="100%" rx="8" fill="#fff"/>',
        _box(14, _TOP, 92, f"crop {crop.height}x{crop.width}", _INK),
        _box(14, _TOP + _LEVEL_HEIGHT, 92, f"stem, {stem}", _INK),
        _line((60, _TOP + _BOX_HEIGHT), (60, _TOP + _LEVEL_HEIGHT), _INK),
        _path(f"M106 {_TOP + _LEVEL_HEIGHT + 17} h20 V{_TOP + 17} H{_LEFT + _DOWN_X}", _INK),
    ]
    for stage, module in enumerate(network.stages):
        left = _LEFT + stage * _STAGE_WIDTH
        parts += [
            f'<text x="{left + 160:.0f}" y="40" text-anchor="middle" font-size="16" font-weight="bold">'
            f"stage {stage + 1}</text>",
            _caption(left + _DOWN_X + _WIDEST / 2, "down", _DOWN),
            _caption(left + _UP_X + 40, "up", _UP),
            _caption(left + _HEAD_X + 38, "targets", _HEAT),
        ]
        for level, channels in enumerate(module.down.out_channels):
            kernel = kernel_size_at(recipe.supervision, stage=stage, num_stages=num_stages, level=level)
            parts += _draw_level(left, level, channels, recipe.model.up_channels, kernel, num_levels=len(levels))
        if stage + 1 < num_stages:
            parts += _draw_link(left, len(levels), aggregates=recipe.model.aggregation)
    notes = (
        "Each box: channels, at a share of the crop. Targets narrow from coarse to fine, and from stage to stage.",
        "Violet: 1x1 convolutions from both ways of a stage, added to the next one's way down.",
    )
    parts += [
        f'<text x="{_LEFT + _DOWN_X:.0f}" y="{height - 34 + 18 * line:.0f}">{note}</text>'
        for line, note in enumerate(notes)
    ]
    return "\n".join([*parts, "</svg>", ""])


def _draw_level(left: float, level: int, channels: int, up_channels: int, kernel: int, *, num_levels: int) -> list[str]:
    y = _TOP + level * _LEVEL_HEIGHT
    wide = _WIDEST - (_WIDEST - _NARROWEST) * level / max(1, num_levels - 1)
    down_x, up_width = left + _DOWN_X, 80.0
    share = f"1/{4 * 2**level}"
    parts = [
        _box(down_x, y, wide, f"{channels}, {share}", _DOWN),
        _box(left + _UP_X, y, up_width, f"{up_channels}, {share}", _UP),
        _line((down_x + wide, y + 17), (left + _UP_X, y + 17), _INK),
        _line((left + _UP_X + up_width, y + 17), (left + _HEAD_X, y + 17), _HEAT),
        f'<circle cx="{left + _HEAD_X + 22:.0f}" cy="{y + 17:.0f}" r="{kernel:.0f}" fill="{_HEAT}" opacity="0.35"/>',
        f'<circle cx="{left + _HEAD_X + 22:.0f}" cy="{y + 17:.0f}" r="{kernel / 2.5:.1f}" fill="{_HEAT}"/>',
        f'<text x="{left + _HEAD_X + 44:.0f}" y="{y + 21:.0f}">{kernel}x{kernel}</text>',
    ]
    if level + 1 < num_levels:
        below = y + _LEVEL_HEIGHT
        middle = left + _UP_X + up_width / 2
        parts += [
            _line((down_x + 30, y + _BOX_HEIGHT), (down_x + 30, below), _DOWN),
            _line((middle, below), (middle, y + _BOX_HEIGHT), _UP),
        ]
    return parts


def _draw_link(left: float, num_levels: int, *, aggregates: bool) -> list[str]:
    """From one stage to the next: its input, and at each level what is added on the way down."""
    following = left + _STAGE_WIDTH + _DOWN_X
    start = left + _UP_X + 60
    parts = [_path(f"M{start:.0f} {_TOP} V{_TOP - 18:.0f} H{following + 20:.0f} V{_TOP:.0f}", _INK)]
    for level in range(num_levels if aggregates else 0):
        y = _TOP + level * _LEVEL_HEIGHT + _BOX_HEIGHT
        end = f"H{following + 12:.0f} V{y:.0f}"
        parts += [
            _path(f"M{left + _DOWN_X + 12:.0f} {y:.0f} v26 {end}", _ACROSS),
            _path(f"M{left + _UP_X + 12:.0f} {y:.0f} v26", _ACROSS, head=False),
        ]
    return parts


def _arrow_heads() -> str:
    heads = [
        f'<marker id="{color[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"'
        f' orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{color}"/></marker>'
        for color in (_DOWN, _UP, _HEAT, _ACROSS, _INK)
    ]
    return f"<defs>{''.join(heads)}</defs>"


def _box(x: float, y: float, width: float, text: str, color: str) -> str:
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{_BOX_HEIGHT:.0f}" rx="5" fill="{color}"'
        f' fill-opacity="0.12" stroke="{color}"/><text x="{x + width / 2:.0f}" y="{y + 21:.0f}" text-anchor="middle"'
        f' font-size="11">{text}</text>'
    )


def _caption(x: float, text: str, color: str) -> str:
    return f'<text x="{x:.0f}" y="70" text-anchor="middle" fill="{color}">{text}</text>'


def _line(start: tuple[float, float], end: tuple[float, float], color: str) -> str:
    return _path(f"M{start[0]:.0f} {start[1]:.0f} L{end[0]:.0f} {end[1]:.0f}", color)


def _path(steps: str, color: str, *, head: bool = True) -> str:
    end = f' marker-end="url(#{color[1:]})"' if head else ""
    return f'<path d="{steps}" fill="none" stroke="{color}" stroke-width="1.4"{end}/>'


if __name__ == "__main__":
    main()
