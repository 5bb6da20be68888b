"""The figure of docs/kinematics.md, which shows what each joint angle is.

python -m benchmarks.figure_kinematics docs/images/kinematics.svg
"""

import argparse
from pathlib import Path

import numpy as np

from mspn.io.files import write_text
from mspn.structures.shapes import Float

_TRUNK, _THIGH, _SHANK, _UPPER_ARM, _FOREARM, _HEAD = 150.0, 130.0, 130.0, 100.0, 85.0, 26.0
_LEAN, _HIP, _KNEE, _SHOULDER, _ELBOW = 15.0, 55.0, 50.0, 50.0, 45.0
"""Degrees of the pose that is drawn."""
_SIZE = (460, 520)
_HIPS = np.array([160.0, 270.0])
_ARC_RADIUS = 58.0
_BODY, _AUXILIARY, _INK = "#2a78d6", "#8a9099", "#d95926"

Point = Float[np.ndarray, "2"]


def main() -> None:
    """Write the figure."""
    parser = argparse.ArgumentParser(description="what the joint angles are")
    parser.add_argument("figure", type=Path)
    write_text(parser.parse_args().figure, draw())


def draw() -> str:
    """The figure as SVG: a person who looks to the right, with an arc for each angle."""
    shoulders = _HIPS + _TRUNK * from_down(180 - _LEAN)
    thigh, upper_arm = _HIP - _LEAN, _SHOULDER - _LEAN
    knee = _HIPS + _THIGH * from_down(thigh)
    ankle = knee + _SHANK * from_down(thigh - _KNEE)
    elbow = shoulders + _UPPER_ARM * from_down(upper_arm)
    wrist = elbow + _FOREARM * from_down(upper_arm + _ELBOW)
    head = shoulders + (_HEAD + 22) * from_down(180 - _LEAN)
    lines = [(_HIPS, shoulders), (_HIPS, knee), (knee, ankle), (shoulders, elbow), (elbow, wrist)]
    arcs = [
        (_HIPS, 180.0, 180 - _LEAN, "trunk lean", 105.0, (-88, -98)),
        (_HIPS, -_LEAN, thigh, "hip", _ARC_RADIUS, (6, 80)),
        (knee, thigh, thigh - _KNEE, "knee", _ARC_RADIUS, (8, 78)),
        (shoulders, -_LEAN, upper_arm, "shoulder", _ARC_RADIUS, (-14, 98)),
        (elbow, upper_arm, upper_arm + _ELBOW, "elbow", _ARC_RADIUS, (58, 50)),
    ]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_SIZE[0]} {_SIZE[1]}" width="{_SIZE[0]}"'
        ' font-family="sans-serif" font-size="15">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<circle cx="{head[0]:.1f}" cy="{head[1]:.1f}" r="{_HEAD}" fill="none" stroke="{_BODY}" stroke-width="5"/>',
        f'<path d="M{head[0] + _HEAD - 2:.1f} {head[1] - 6:.1f} l14 8 l-13 6" fill="none" stroke="{_BODY}"'
        ' stroke-width="5"/>',
        *(draw_line(start, end, f'stroke="{_BODY}" stroke-width="7" stroke-linecap="round"') for start, end in lines),
        *(draw_arc(*arc) for arc in arcs),
        *(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="#fff" stroke="{_BODY}" stroke-width="3"/>'
            for x, y in (shoulders, _HIPS, knee, ankle, elbow, wrist)
        ),
        f'<text x="{_SIZE[0] - 14}" y="{_SIZE[1] - 14}" text-anchor="end" fill="{_AUXILIARY}">forward →</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def from_down(degrees: float) -> Point:
    """The unit vector at an angle from straight down, forward positive."""
    return np.array([np.sin(np.radians(degrees)), np.cos(np.radians(degrees))])


def draw_line(start: Point, end: Point, style: str) -> str:
    return f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" {style}/>'


def draw_arc(corner: Point, start: float, end: float, name: str, radius: float, label: tuple[int, int]) -> str:
    """A dashed line where the angle is 0, and an arrow from there to the segment that is measured."""
    first, last = corner + radius * from_down(start), corner + radius * from_down(end)
    zero = corner + (radius + 22) * from_down(start)
    sweep = 0 if end > start else 1  # on the screen, y points down
    tip = end - np.sign(end - start) * 8
    barbs = [corner + (radius + shift) * from_down(tip) for shift in (-5, 5)]
    ink = f'fill="none" stroke="{_INK}" stroke-width="2.5"'
    return "\n".join(
        [
            draw_line(corner, zero, f'stroke="{_AUXILIARY}" stroke-dasharray="6 5"'),
            f'<path d="M{first[0]:.1f} {first[1]:.1f} A{radius} {radius} 0 0 {sweep}'
            f' {last[0]:.1f} {last[1]:.1f}" {ink}/>',
            f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in (barbs[0], last, barbs[1]))}" {ink}/>',
            f'<text x="{corner[0] + label[0]:.1f}" y="{corner[1] + label[1]:.1f}" fill="{_INK}">{name}</text>',
        ]
    )


if __name__ == "__main__":
    main()
