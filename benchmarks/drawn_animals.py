"""Drawings of four-legged animals with five keypoints, whose place is known exactly: labels that cost nothing.

python -m benchmarks.drawn_animals animals --count 30
"""

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from mspn.io.files import prepare_folder
from mspn.labels.formats.coco import read_coco, write_coco
from mspn.labels.formats.label_studio import write_label_studio
from mspn.labels.label_set import LabeledImage, LabeledPerson, LabeledSet, box_around
from mspn.structures.boxes import Size
from mspn.structures.skeleton import Skeleton

KEYPOINTS = ("nose", "withers", "tail_base", "front_paw", "hind_paw")
"""Of an animal seen from the side: it has no left and no right."""
_SKELETON = Skeleton(
    name="animal",
    category="animal",
    keypoints=KEYPOINTS,
    limbs=(("nose", "withers"), ("withers", "tail_base"), ("withers", "front_paw"), ("tail_base", "hind_paw")),
)
_SIDE = 256


def write_animals(folder: Path, count: int, *, images: str = "images", seed: int = 0) -> Path:
    """Draw one animal a picture into a folder of images, and write their COCO `annotations.json`.

    The first pictures are the same for any count. Animals stand or lean, face either way, and differ in size, color,
    proportions and ground.
    """
    (folder / images).mkdir(parents=True, exist_ok=True)
    entries: list[LabeledImage] = []
    animals: list[LabeledPerson] = []
    for number in range(1, count + 1):
        pixels, keypoints = draw_animal(np.random.default_rng((seed, number)))
        name = f"animal-{number:03d}.png"
        cv2.imwrite(str(folder / images / name), pixels)
        entries.append(LabeledImage(number, name, Size(_SIDE, _SIDE)))
        visible = np.column_stack([keypoints, np.full(len(KEYPOINTS), 2.0)])
        animals.append(LabeledPerson(number, number, visible, box_around(visible)))
    path = folder / "annotations.json"
    write_coco(LabeledSet(_SKELETON, entries, animals, category=_SKELETON.category), path)
    return path


def write_material(folder: Path, count: int = 30, num_new: int = 50) -> None:
    """Write what the page about own keypoints starts from, see above."""
    labeled = read_coco(write_animals(folder, count, images="photos"))
    images = [replace(image, file_name=f"photos/{image.file_name}") for image in labeled.images]
    animals = [replace(animal, box=None, area=None) for animal in labeled.people]
    write_label_studio(replace(labeled, images=images, people=animals), folder / "export.json")
    write_animals(folder, num_new, images="new", seed=1).rename(folder / "truth.json")


def draw_animal(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture, BGR (256, 256, 3), and its keypoints (5, 2) in pixels."""
    canvas = _ground(random)
    body = random.uniform(60, 110)
    height, leg, neck = (
        body * random.uniform(0.3, 0.5),
        body * random.uniform(0.4, 0.7),
        body * random.uniform(0.4, 0.7),
    )
    head_angle, front, hind = random.uniform(-0.9, 0.3), random.uniform(-0.4, 0.4), random.uniform(-0.4, 0.4)
    withers, rump = np.array([body / 2, -height / 2]), np.array([-body / 2, -height / 2])
    shoulder, hip = withers + np.array([-0.08 * body, 0.6 * height]), rump + np.array([0.08 * body, 0.6 * height])
    nose = withers + neck * np.array([np.cos(head_angle), np.sin(head_angle)])
    paws = [start + leg * np.array([np.sin(angle), np.cos(angle)]) for start, angle in ((shoulder, front), (hip, hind))]
    tail_tip = rump + body * random.uniform(0.3, 0.5) * np.array([-0.8, random.uniform(-0.8, 0.8)])
    points = np.array([nose, withers, rump, *paws, shoulder, hip, tail_tip])
    points = _place(points, random)
    nose, withers, rump, front_paw, hind_paw, shoulder, hip, tail_tip = points
    color = random.integers(20, 236, 3)
    dark, light = (np.clip(color * share, 0, 255).tolist() for share in (0.55, 1.25))
    for start, end in ((shoulder, front_paw), (hip, hind_paw), (rump, tail_tip)):
        _line(canvas, start, end, dark, max(3, int(height * 0.2)))
    hull = cv2.convexHull(
        np.rint([withers, rump, hip + (hip - rump) * 0.4, shoulder + (shoulder - withers) * 0.4]).astype(np.int32)
    )
    cv2.polylines(
        canvas, [hull], isClosed=True, color=color.tolist(), thickness=int(height * 0.4), lineType=cv2.LINE_AA
    )
    cv2.fillConvexPoly(canvas, hull, color.tolist(), cv2.LINE_AA)
    _line(canvas, withers, nose, color.tolist(), max(4, int(height * 0.45)))
    cv2.circle(canvas, tuple(np.rint(nose).astype(int).tolist()), max(3, int(height * 0.12)), light, -1, cv2.LINE_AA)
    noise = random.normal(0, random.uniform(2, 10), canvas.shape)
    return np.clip(canvas + noise, 0, 255).astype(np.uint8), points[: len(KEYPOINTS)]


def _ground(random: np.random.Generator) -> np.ndarray:
    """A coarse pattern of two colors, and things that lie about."""
    pattern = random.uniform(0, 1, (6, 6)).astype(np.float32)
    share = cv2.resize(pattern, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)[..., None]
    canvas = np.clip(share * random.integers(60, 256, 3) + (1 - share) * random.integers(60, 256, 3), 0, 255)
    canvas = canvas.astype(np.uint8)
    for _ in range(int(random.integers(3, 9))):
        center, color = random.integers(0, _SIDE, 2).tolist(), random.integers(0, 256, 3).tolist()
        if random.uniform() < 0.5:
            cv2.circle(canvas, center, int(random.integers(4, 18)), color, -1, cv2.LINE_AA)
        else:
            cv2.line(
                canvas, center, random.integers(0, _SIDE, 2).tolist(), color, int(random.integers(1, 5)), cv2.LINE_AA
            )
    return canvas


def _place(points: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turn, scale, perhaps mirror, and move the animal to where all of it is seen."""
    angle, scale = random.normal(0, 0.25), random.uniform(0.7, 1.1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    points = points @ turn.T
    if random.uniform() < 0.5:
        points = points * (-1, 1)
    margin, low, high = 12, points.min(0), points.max(0)
    free = np.maximum(_SIDE - 2 * margin - (high - low), 0)
    moved: np.ndarray = points - low + margin + random.uniform(0, 1, 2) * free
    return moved


def _line(canvas: np.ndarray, start: np.ndarray, end: np.ndarray, color: list[float], width: int) -> None:
    first, last = np.rint([start, end]).astype(int).tolist()
    cv2.line(canvas, first, last, color, width, cv2.LINE_AA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=30)
    options = parser.parse_args()
    prepare_folder(options.out)
    write_material(options.out, options.count)


if __name__ == "__main__":
    main()
