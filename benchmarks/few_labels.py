"""What few labels bring, by where training starts: our network, an ImageNet network, random weights.

python -m benchmarks.few_labels run RUNS --data DATA --imagenet efficientnet-lite0.pth [--model default]
    [--sizes 10 20 50 200]
python -m benchmarks.few_labels show RUNS [--figure FIGURE.png]

Sets: drawn animals, and fashion photos with five keypoints under names that our network does not know. A row that is
there is not measured again.
"""

import argparse
import csv
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.drawn_animals import write_animals
from mspn.config.embedded_recipes import NEW_KEYPOINTS_RATE
from mspn.errors import InvalidValueError
from mspn.evaluation.pck import PCK_BOX, PckResult, compute_pck
from mspn.evaluation.predicting import predict_labeled
from mspn.labels.formats.coco import read_coco, write_coco
from mspn.labels.label_set import LabeledSet
from mspn.predict.estimator import PoseEstimator
from mspn.structures.skeleton import Skeleton
from mspn.training.finetuning import plan_finetuning
from mspn.training.loop import train

FIVE = {
    "nose": "face",
    "left_wrist": "left_hand",
    "right_wrist": "right_hand",
    "left_ankle": "left_foot",
    "right_ankle": "right_foot",
}
"""COCO's keypoints, by other names, so that no map of the network's heads is taken over for its name."""
STARTS = ("ours", "imagenet", "random")
SETS = ("animals", "fashion")
_NUM_TEST = 100
_PCK = replace(PCK_BOX, threshold=0.1, strict_threshold=0.02)


class Row(NamedTuple):
    """What one training reached."""

    set_name: str
    start: str
    images: int
    """Labeled, the fifth that is held out among them."""
    pck: float
    """PCK@0.1 of the box, on images that training did not see."""
    pck_strict: float
    """PCK@0.02 of the same."""


class Material(NamedTuple):
    """A set to draw labels from, and one to measure on."""

    labels: LabeledSet
    images: Path
    test: Path
    test_images: Path


def make_material(name: str, folder: Path, data: Path) -> Material:
    if name == "animals":
        labels = read_coco(write_animals(folder / name, max(_NUM_TEST, 200)))
        test = write_animals(folder / f"{name}-test", _NUM_TEST, seed=1)
        return Material(labels, folder / name / "images", test, test.parent / "images")
    test = folder / f"{name}-test.json"
    write_coco(_first_images(_with_five(read_coco(data / "studio_val" / "annotations.json")), _NUM_TEST), test)
    labels = _with_five(read_coco(data / "studio_train" / "annotations.json"))
    return Material(labels, data / "studio_train" / "images", test, data / "studio_val" / "images")


def _with_five(labels: LabeledSet) -> LabeledSet:
    columns = [labels.skeleton.keypoints.index(name) for name in FIVE]
    skeleton = Skeleton(name="five", keypoints=tuple(FIVE.values()), category="person")
    people = [
        replace(person, keypoints_image=person.keypoints_image[columns], extra={})
        for person in labels.people
        if (person.keypoints_image[columns, 2] > 0).any()
    ]
    return LabeledSet(skeleton, labels.images, people, category="person")


def _first_images(labels: LabeledSet, count: int) -> LabeledSet:
    """A few images, drawn by a fixed seed; more of them contain fewer of them."""
    shown = {person.image_id for person in labels.people}
    images = [image for image in labels.images if image.id in shown]
    chosen = random.Random(0).sample(images, len(images))[:count]
    ids = {image.id for image in chosen}
    return replace(labels, images=chosen, people=[person for person in labels.people if person.image_id in ids])


def measure(material: Material, model: str, start: str, size: int, run: Path, imagenet: Path | None) -> PckResult:
    """Train on so many images as `mspn train finetune` does, but in batches of half the size; PCK on others.

    Of a network with several stages, ImageNet weights start the stem and the first.
    """
    labels = run.with_suffix(".json")
    write_coco(_first_images(material.labels, size), labels)
    plan = plan_finetuning(model, labels, run, images=material.images)
    if start == "imagenet" and imagenet is None:
        raise InvalidValueError("give --imagenet: the file of an EfficientNet-Lite0")
    begin = {"ours": model, "imagenet": str(imagenet), "random": None}[start]
    planned = plan.recipe.train
    # The rate of an iteration is in proportion to the batch: this one stays as it is.
    changed: dict[str, Any] = {
        "batch_size": planned.batch_size // 2,
        "learning_rate": planned.learning_rate * 2,
        "initial_weights": begin,
        "patience": None,
    }
    if start != "ours":
        changed |= {"initial_keypoints": {}, "learning_rate": NEW_KEYPOINTS_RATE * 2}
    if start == "random":
        changed["frozen_parts"] = ()
    recipe = plan.recipe.model_copy(
        update={
            "train": planned.model_copy(update=changed),
            "data": plan.recipe.data.model_copy(update={"workers": 0}),
        }
    )
    plan.write_labels(run)
    train(recipe, run, resume=True)
    estimator = PoseEstimator(run / "best.safetensors", "none", precision="float32")
    test = read_coco(material.test)
    found, _ = predict_labeled(estimator, test, material.test_images)
    labeled = np.array([person.keypoints_image for person in test.people])
    points = np.array([found.keypoints_image[person.id] for person in test.people])
    boxes = np.array([person.box for person in test.people])
    errors = np.linalg.norm(points - labeled[..., :2], axis=-1)
    return compute_pck(errors, boxes[:, 2:].max(1), labeled[..., 2] > 0, test.skeleton, _PCK)


def read_rows(runs: Path) -> list[Row]:
    file = runs / "rows.csv"
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as lines:
        return [
            Row(name, start, int(images), float(pck), float(strict))
            for name, start, images, pck, strict in csv.reader(lines)
        ]


def run_all(
    runs: Path, data: Path, model: str, sets: Sequence[str], sizes: Sequence[int], imagenet: Path | None
) -> None:
    runs.mkdir(parents=True, exist_ok=True)
    done = {row[:3] for row in read_rows(runs)}
    for name in sets:
        material = make_material(name, runs, data)
        for size in sizes:
            for start in STARTS:
                if (name, start, size) in done:
                    continue
                run = runs / f"{name}-{start}-{size}"
                stats = measure(material, model, start, size, run, imagenet).stats
                row = Row(name, start, size, stats["PCK@0.1"], stats["PCK@0.02"])
                with (runs / "rows.csv").open("a", newline="", encoding="utf-8") as file:
                    csv.writer(file).writerow(row)
                print(f"{name}, {size} images, {start}: PCK@0.1 {row.pck:.3f}, @0.02 {row.pck_strict:.3f}", flush=True)


def table_lines(rows: Sequence[Row]) -> list[str]:
    """A table in Markdown: sets and starts down, numbers of images across; PCK@0.1 and PCK@0.02 in percent."""
    sizes = sorted({row.images for row in rows})
    values = {row[:3]: f"{100 * row.pck:.1f}, {100 * row.pck_strict:.1f}" for row in rows}
    lines = ["| set | start | " + " | ".join(map(str, sizes)) + " |", "|---|---|" + "---|" * len(sizes)]
    for name in SETS:
        for start in STARTS:
            cells = [values.get((name, start, size)) for size in sizes]
            if any(cell is not None for cell in cells):
                shown = " | ".join(cell or "" for cell in cells)
                lines.append(f"| {name} | {start} | {shown} |")
    return lines


def draw_figure(rows: Sequence[Row], path: Path) -> None:
    from matplotlib import pyplot as plt  # noqa: PLC0415 (an extra, for the figure alone)

    names = [name for name in SETS if any(row.set_name == name for row in rows)]
    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names), 3.2), layout="constrained", squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        for start in STARTS:
            points = sorted(row[2:] for row in rows if (row.set_name, row.start) == (name, start))
            if points:
                images, pck, strict = np.array(points).T
                (line,) = axis.plot(images, 100 * pck, marker="o", label=start)
                axis.plot(images, 100 * strict, marker="o", linestyle="dotted", color=line.get_color())
        axis.set(title=name, xlabel="labeled images", xscale="log", ylim=(0, 102))
        axis.set_ylabel("PCK@0.1, and @0.02 dotted, in percent")
        sizes = sorted({row.images for row in rows})
        axis.set_xticks(sizes, labels=map(str, sizes))
        axis.minorticks_off()
    axes[0][0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run")
    runner.add_argument("runs", type=Path)
    runner.add_argument("--data", type=Path, required=True)
    runner.add_argument("--model", default="default", help="ours, to start from and whose architecture all three have")
    runner.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    runner.add_argument("--sizes", nargs="+", type=int, default=[10, 20, 50, 200])
    runner.add_argument("--imagenet", type=Path)
    shower = commands.add_parser("show")
    shower.add_argument("runs", type=Path)
    shower.add_argument("--figure", type=Path)
    options = parser.parse_args()
    if options.command == "run":
        run_all(options.runs, options.data, options.model, options.sets, options.sizes, options.imagenet)
        return
    rows = read_rows(options.runs)
    print("\n".join(table_lines(rows)))
    if options.figure:
        draw_figure(rows, options.figure)


if __name__ == "__main__":
    main()
