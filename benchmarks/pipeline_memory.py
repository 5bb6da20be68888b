"""Does predicting take more memory the more images there are?

A video of 10,000 frames, made by looping a short one, and a folder of 2,000 images of three sizes go through the
pipeline: decoded, two people cut out of each, estimated, written as JSON, JSON Lines, COCO and CSV, noted for --resume.
Only the network is a stub that answers with flat maps, so that it ends in minutes. The memory of the process (RSS)
after 500 images must be that at the end, within 10 %.
Run: OMP_NUM_THREADS=1 python -m benchmarks.pipeline_memory [--frames 10000] [--images 2000]
"""

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.photographs import write_photographs
from benchmarks.video_memory import measure_growth, write_looped_video
from mspn.checkpoints.format import Checkpoint
from mspn.checkpoints.metadata import CheckpointMetadata
from mspn.config.recipes import find_recipe
from mspn.models import build_network
from mspn.outputs import make_writer
from mspn.outputs.journal import Journal
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import ImageResult, predict_images
from mspn.sources import open_sources
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.crop import HEATMAP_STRIDE
from mspn.structures.image import Image

_SIZES = (Size(480, 640), Size(1080, 1440), Size(3000, 4000))
_WRITERS = ("json", "jsonl", "coco", "csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--images", type=int, default=2_000)
    options = parser.parse_args()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        video = write_looped_video(folder / "looped.mp4", options.frames)
        measure_growth(_predict(video, folder / "of-video"), options.frames)
        images = _write_images(folder, options.images)
        measure_growth(_predict(images, folder / "of-folder"), options.images)


class _TwoPeople:
    def detect(self, image: Image) -> list[Detection]:
        height, width = image.size
        boxes = (Box(0.1 * width, 0.1 * height, 0.3 * width, 0.8 * height), Box(0.5 * width, 0, 0.4 * width, height))
        return [Detection(box, 0.9) for box in boxes]


def _predict(source: Path, out: Path) -> Iterator[ImageResult]:
    """Results of a source, each written as `mspn predict` does."""
    out.mkdir()
    estimator = _make_estimator()
    with ExitStack() as stack:
        journal = stack.enter_context(Journal(out, {}, estimator.recipe.keypoint_table, resume=False))
        writers = [stack.enter_context(closing(make_writer(name, out))) for name in _WRITERS]
        results = predict_images(estimator.top_down, open_sources([source]), lookup=journal.lookup, keep_pixels=False)
        for result in stack.enter_context(closing(results)):
            for writer in writers:
                writer.write(result)
            journal.append(result)
            yield result


def _make_estimator() -> PoseEstimator:
    recipe = find_recipe("mspn-small")
    network = build_network(recipe.model).eval()
    num_keypoints = recipe.model.num_keypoints

    def answer(crops: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(crops), num_keypoints, *(side // HEATMAP_STRIDE for side in crops.shape[2:]))

    network.final_heatmaps = answer  # type: ignore[method-assign]
    return PoseEstimator(
        Checkpoint(CheckpointMetadata(recipe=recipe), network), _TwoPeople(), device="cpu", precision="float32"
    )


def _write_images(folder: Path, count: int) -> Path:
    """A folder of links to one photograph of each size, in turn."""
    drawn = [next(write_photographs(folder / f"drawn-{size.width}", 1, size)[1].iterdir()) for size in _SIZES]
    images = folder / "images"
    images.mkdir()
    for number in range(count):
        (images / f"{number:06}.jpg").hardlink_to(drawn[number % len(drawn)])
    return images


if __name__ == "__main__":
    main()
