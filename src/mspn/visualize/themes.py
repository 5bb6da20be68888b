"""Themes: the colors of drawn skeletons."""

import colorsys
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from mspn.errors import InvalidValueError
from mspn.structures.settings import Settings
from mspn.structures.skeleton import Skeleton

Color = tuple[int, int, int]
"""RGB, 0 to 255."""

_MIDDLE = 2
_RAINBOW_HUES = (0.0, 0.83)
"""From red to violet; higher hues would return to red."""
_LIGHTNESS = 0.6
"""Pure blue is too dark to be seen on most images."""


class Theme(Settings):
    """Appearance of drawn skeletons."""

    colored_by: Literal["side", "limb", "person"]
    colors: tuple[Color, ...] = ()
    """By side: left, right and middle; by person: used in turn; by limb: none, since those are a rainbow."""
    outline_opacity: float = Field(0.5, ge=0, le=1)
    """Of the dark line around limbs and joints, which sets them off from the image."""
    brightness: float = Field(1.0, gt=0, le=1)
    """Factor on the image's own colors."""


DEFAULT_THEME = Theme(colored_by="side", colors=((255, 120, 40), (40, 170, 255), (120, 230, 80)))

THEMES = {
    "sides": DEFAULT_THEME,
    "limbs": Theme(colored_by="limb"),
    "people": Theme(
        colored_by="person",
        colors=(
            *((255, 120, 40), (40, 170, 255), (250, 225, 60), (200, 90, 240)),
            *((90, 220, 90), (255, 110, 160), (70, 225, 215), (190, 145, 95)),
        ),
    ),
    # Orange, sky blue and white of Okabe and Ito's palette.
    "color-blind": Theme(colored_by="side", colors=((230, 159, 0), (86, 180, 233), (250, 250, 250))),
    "white-on-dark": Theme(colored_by="person", colors=((255, 255, 255),), outline_opacity=0.9, brightness=0.45),
}


def find_theme(name: str) -> Theme:
    """The theme of that name.

    Raises:
        ValueError: if there is none; the message lists the themes.
    """
    if name not in THEMES:
        raise InvalidValueError(f"no theme {name!r}; there are {', '.join(THEMES)}")
    return THEMES[name]


def side_colors(skeleton: Skeleton, colors: Sequence[Color] = DEFAULT_THEME.colors) -> list[Color]:
    """Colors of the keypoints by side.

    Args:
        skeleton: says which keypoints are pairs.
        colors: of the person's left, right and middle.
    """
    lefts, rights = zip(*skeleton.mirrored_pairs, strict=True) if skeleton.mirrored_pairs else ((), ())
    left, right, middle = colors
    return [left if name in lefts else right if name in rights else middle for name in skeleton.keypoints]


def color_skeleton(theme: Theme, skeleton: Skeleton, person: int) -> tuple[list[Color], list[Color]]:
    """Colors of keypoints and of limbs.

    Args:
        theme: of the drawing.
        skeleton: to color.
        person: number of the person in the image.
    """
    if theme.colored_by == "person":
        color = theme.colors[person % len(theme.colors)]
        return [color] * len(skeleton.keypoints), [color] * len(skeleton.limbs)
    if theme.colored_by == "limb":
        return _rainbow(len(skeleton.keypoints)), _rainbow(len(skeleton.limbs))
    keypoints = side_colors(skeleton, theme.colors)
    middle = theme.colors[_MIDDLE]
    limbs = []
    for start, end in skeleton.limb_indices:
        sides = {keypoints[start], keypoints[end]} - {middle}
        limbs.append(sides.pop() if len(sides) == 1 else middle)
    return keypoints, limbs


def track_color(track_id: int) -> Color:
    """The color of a track's trail and number, whatever the theme."""
    colors = THEMES["people"].colors
    return colors[track_id % len(colors)]


def _rainbow(count: int) -> list[Color]:
    first, last = _RAINBOW_HUES
    hues = [first + (last - first) * index / max(count - 1, 1) for index in range(count)]
    parts = [colorsys.hls_to_rgb(hue, _LIGHTNESS, 1.0) for hue in hues]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in parts]
