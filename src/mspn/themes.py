"""Themes: which colours skeletons are drawn in."""

import colorsys
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from mspn.settings import Settings
from mspn.skeleton import Skeleton

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

_BETWEEN = 2
_RAINBOW = (0.0, 0.83)
"""Hues from red to violet: beyond, they would come back to red."""
_LIGHTNESS = 0.6
"""Pure blue is too dark to be seen on most pictures."""


class Theme(Settings):
    """How skeletons look."""

    coloured_by: Literal["side", "limb", "person"]
    colours: tuple[Colour, ...] = ()
    """Left, right and between by side; one person after another by person; none by limb: they have the rainbow's."""
    outline_opacity: float = Field(0.5, ge=0, le=1)
    """Of the dark line around limbs and joints, which sets them off from the picture."""
    brightness: float = Field(1.0, gt=0, le=1)
    """What the picture's own colours are multiplied with."""


DEFAULT_THEME = Theme(coloured_by="side", colours=((255, 120, 40), (40, 170, 255), (120, 230, 80)))

THEMES = {
    "sides": DEFAULT_THEME,
    "limbs": Theme(coloured_by="limb"),
    "people": Theme(
        coloured_by="person",
        colours=(
            *((255, 120, 40), (40, 170, 255), (250, 225, 60), (200, 90, 240)),
            *((90, 220, 90), (255, 110, 160), (70, 225, 215), (190, 145, 95)),
        ),
    ),
    # Okabe and Ito's orange and sky blue, which nobody takes for each other, and white.
    "colour-blind": Theme(coloured_by="side", colours=((230, 159, 0), (86, 180, 233), (250, 250, 250))),
    "white-on-dark": Theme(coloured_by="person", colours=((255, 255, 255),), outline_opacity=0.9, brightness=0.45),
}


def find_theme(name: str) -> Theme:
    """The theme of that name.

    Raises:
        ValueError: naming those that there are.
    """
    if name not in THEMES:
        raise ValueError(f"no theme {name!r}; there are {', '.join(THEMES)}")
    return THEMES[name]


def side_colours(skeleton: Skeleton, colours: Sequence[Colour] = DEFAULT_THEME.colours) -> list[Colour]:
    """What each keypoint is drawn in by side.

    Args:
        skeleton: says which keypoints are pairs.
        colours: of the person's left, of the right, and of what lies between.
    """
    lefts, rights = zip(*skeleton.mirrored_pairs, strict=True) if skeleton.mirrored_pairs else ((), ())
    left, right, between = colours
    return [left if name in lefts else right if name in rights else between for name in skeleton.keypoints]


def colour_skeleton(theme: Theme, skeleton: Skeleton, person: int) -> tuple[list[Colour], list[Colour]]:
    """Colours of keypoints and of limbs.

    Args:
        theme: of the drawing.
        skeleton: to colour.
        person: number of the person in the picture.
    """
    if theme.coloured_by == "person":
        colour = theme.colours[person % len(theme.colours)]
        return [colour] * len(skeleton.keypoints), [colour] * len(skeleton.limbs)
    if theme.coloured_by == "limb":
        return _rainbow(len(skeleton.keypoints)), _rainbow(len(skeleton.limbs))
    keypoints = side_colours(skeleton, theme.colours)
    between = theme.colours[_BETWEEN]
    limbs = []
    for start, end in skeleton.limb_indices:
        sides = {keypoints[start], keypoints[end]} - {between}
        limbs.append(sides.pop() if len(sides) == 1 else between)
    return keypoints, limbs


def _rainbow(count: int) -> list[Colour]:
    first, last = _RAINBOW
    hues = [first + (last - first) * place / max(count - 1, 1) for place in range(count)]
    parts = [colorsys.hls_to_rgb(hue, _LIGHTNESS, 1.0) for hue in hues]
    return [(round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in parts]
