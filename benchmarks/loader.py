"""Our loader against a straightforward one: python -m benchmarks.loader [--annotations FILE --images FOLDER]

Both give the same people in the same frames, in one worker with one thread, in turns; medians of the worker's processor
time count, so that other programs matter little. The straightforward one decodes whole images and sends crops and
label maps as float32, as the released code does. Without a data set, photographs of 12 megapixels are drawn for the
occasion. The same people packed are measured, too.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from benchmarks.photographs import write_photographs
from benchmarks.straightforward import MapDataset, draw_frame, draw_label_maps, normalize_crop, read_whole
from mspn.config.data import DataConfig, PeopleSetConfig
from mspn.config.recipe import Recipe
from mspn.datasets.crop_dataset import CropDataset
from mspn.datasets.packing import pack_people
from mspn.datasets.people import People, read_people_set
from mspn.datasets.samples import SampleRequest, SeededBatches
from mspn.datasets.workers import prepare_worker
from mspn.heatmaps.targets import draw_targets
from mspn.io.images import read_reduced_image
from mspn.models.base import normalize
from mspn.structures.boxes import Size
from mspn.structures.crop import HEATMAP_STRIDE, crop_to_heatmap, cut_crop, transform_points

RECIPE = Recipe(name="benchmark")
BYTES_OF_PERSON = 6000
"""Packed."""


def main() -> None:
    """Print rates of both loaders, and where their time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, help="COCO keypoint file")
    parser.add_argument("--images", type=Path, help="its folder of images")
    parser.add_argument("--photographs", type=int, default=12, help="how many to draw without a data set")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, default=8, help="timed in each round")
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        if options.annotations:
            annotations, images = options.annotations, options.images
        else:
            annotations, images = write_photographs(Path(folder), options.photographs)
        config = PeopleSetConfig(annotations=str(annotations), images=str(images))
        people = read_people_set(config, Path(), RECIPE.keypoint_table)
        ours, straightforward = CropDataset(people, RECIPE), MapDataset(people, RECIPE)
        by_image = people.image_index
        packed = pack(people, Path(folder) / "people.zip")
        loaders = {
            "ours": (ours, None),
            "ours, packed": (CropDataset(packed, RECIPE), None),
            "ours, data.order=images": (ours, by_image),
            "straightforward": (straightforward, None),
        }
        print_steps(people, options.batch, options.batches)
        rates: dict[str, list[float]] = defaultdict(list)
        for _ in range(options.rounds):
            for name, (dataset, image_index) in loaders.items():
                sampler = SeededBatches([len(people)], [1.0], options.batch, seed=0, start=0, image_index=image_index)
                rates[name].append(measure_rate(dataset, list(islice(sampler, options.batches)), options.batch))
    yardstick = statistics.median(rates["straightforward"])
    for name, values in rates.items():
        spread = f"{min(values):.1f} to {max(values):.1f}"
        median = statistics.median(values)
        print(f"{name:26} {median:7.1f} samples per worker second ({spread}), {median / yardstick:.2f} times as fast")


def pack(people: People, path: Path) -> People:
    """The people in a packed file."""
    recipe = RECIPE.model_copy(update={"data": DataConfig(train=(PeopleSetConfig(annotations="people.json"),))})
    report = pack_people(path, recipe, [people], BYTES_OF_PERSON * len(people), num_workers=1)
    print(f"packed: {path.stat().st_size / len(people):.0f} bytes a person, {report.quality}")
    return read_people_set(PeopleSetConfig(annotations=str(path)), Path(), RECIPE.keypoint_table)


def measure_rate(dataset: Dataset[Any], batches: list[list[SampleRequest]], batch_size: int) -> float:
    """Samples per second of processor time that a worker spends, from its start to its end."""
    loader = DataLoader(dataset, batch_sampler=batches, num_workers=1, worker_init_fn=prepare_worker)
    before = _children_seconds()
    for _ in loader:
        pass
    return len(batches) * batch_size / (_children_seconds() - before)


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def print_steps(people: People, batch_size: int, batches: int) -> None:
    """Milliseconds of processor time per sample of each step, in this process."""
    seconds: dict[str, float] = defaultdict(float)
    size = RECIPE.model.input_size
    kernel_sizes = RECIPE.supervision.kernel_sizes
    dataset = CropDataset(people, RECIPE)
    factors = []

    @contextmanager
    def clock(step: str) -> Iterator[None]:
        began = time.process_time()
        yield
        seconds[step] += time.process_time() - began

    for draws in islice(SeededBatches([len(people)], [1.0], batch_size, seed=0, start=0), batches):
        samples = []
        for draw in draws:
            with clock("ours: frame"):
                frame = draw_frame(people, RECIPE, draw)
            factors.append(frame.width_image / size.width)
            path = people.images[people.image_index[draw.sample_index]]
            with clock("ours: read and decode"):
                image = read_reduced_image(path, factors[-1])
            with clock("ours: warp"):
                cut_crop(image.pixels, frame, image.reduction)
            with clock("ours: all of a sample"):
                samples.append(dataset[draw])
            with clock("straightforward: read and decode"):
                whole = read_whole(people, draw)
            with clock("straightforward: warp"):
                crop = cut_crop(whole, frame)
            with clock("straightforward: normalize"):
                normalize_crop(crop)
            keypoints_image = people.keypoints_image[draw.sample_index]
            keypoints_crop = transform_points(keypoints_image[:, :2], frame.image_to_crop)
            inside = ((keypoints_crop >= 0) & (keypoints_crop < (size.width, size.height))).all(1)
            with clock("straightforward: label maps"):
                draw_label_maps(keypoints_crop, keypoints_image[:, 2] * inside, size, kernel_sizes)
        with clock("ours: collate"):
            batch = default_collate(samples)
        with clock("training process, ours: normalize"):
            normalize(batch.pixels)
        points_heatmap = crop_to_heatmap(batch.labels.keypoints_crop)
        maps = Size(size.height // HEATMAP_STRIDE, size.width // HEATMAP_STRIDE)
        with clock("training process, ours: targets of all kernels"):
            for kernel_size in kernel_sizes:
                draw_targets(points_heatmap, batch.labels.visibility > 0, size=maps, kernel_size=kernel_size)

    halves = np.mean(np.array(factors) >= 2)
    print(f"{len(people)} people; {halves:.0%} of the crops show images at half their size or less")
    print("ms/sample  step")
    for step, total in seconds.items():
        print(f"{1000 * total / (batch_size * batches):9.3f}  {step}")


if __name__ == "__main__":
    main()
