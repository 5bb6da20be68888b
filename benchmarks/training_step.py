"""Our training step against others: python -m benchmarks.training_step [--model mspn-1] [--batch 16]

All take the same steps with the same network and batch, one thread, in turns; medians of the processor's time count,
so that other programs matter little. Ours: bfloat16 autocast, channels-last memory, targets and losses of all people at
once, fused Adam. The straightforward one: float32, NCHW, maps resized before the 1x1 convolutions of up-sampling as in
the released code, targets drawn by OpenCV, the loss a person at a time. The tuned one is that with what a practitioner
changes first: bfloat16 autocast, channels-last memory, the loss of all people at once.
--profile prints where our step's time goes.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.straightforward import draw_label_maps, hardest_at_once, released_loss
from mspn.benchmark.throughput import resize_first
from mspn.config.recipe import Recipe
from mspn.config.recipes import RECIPES
from mspn.datasets.samples import KeypointLabels
from mspn.models import build_network
from mspn.models.base import PoseNetwork, normalize, place
from mspn.training.losses import compute_losses

_MARGIN_PX = 40
"""Keypoints stay so far inside that no target reaches the border, where ours differ from the released code's."""


class Batch(NamedTuple):
    """Noise, and people in it."""

    crops: Tensor
    """(B, H, W, 3) uint8."""
    labels: KeypointLabels


class Parts(NamedTuple):
    """Processor seconds that a step's parts took, and its loss."""

    forward: float
    targets_and_loss: float
    backward: float
    optimizer: float
    loss: float

    @property
    def seconds(self) -> float:
        return sum(self[:-1])


def main() -> None:
    """Print rates, parts and losses of all steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="mspn-1", help="a recipe with hard keypoint mining")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe = RECIPES[options.model]
    if recipe.supervision.num_hard_keypoints is None:
        parser.error(f"{options.model} does not mine hard keypoints, which the straightforward loss does")
    batch = draw_batch(recipe, options.batch)
    network = build_network(recipe.model).train()
    steps = {
        "ours": our_step(place(copy.deepcopy(network), torch.device("cpu")), recipe),
        "tuned": tuned_step(place(resize_first(copy.deepcopy(network)), torch.device("cpu")), recipe),
        "straightforward": straightforward_step(resize_first(network), recipe),
    }
    taken: dict[str, list[Parts]] = {name: [step(batch)] for name, step in steps.items()}
    for _ in range(options.iterations):
        for name, step in steps.items():
            taken[name].append(step(batch))
    rates = {}
    for name, (first, *others) in taken.items():
        rates[name] = options.batch / statistics.median(parts.seconds for parts in others)
        medians = [statistics.median(values) for values in zip(*(parts[:-1] for parts in others), strict=True)]
        ms = ", ".join(f"{part} {1000 * value:.0f} ms" for part, value in zip(Parts._fields, medians, strict=False))
        print(f"{name:16} {rates[name]:6.2f} crops/s; {ms}; first loss {first.loss:.2f}, last {others[-1].loss:.2f}")
    for name in ("tuned", "straightforward"):
        print(f"ours is {rates['ours'] / rates[name]:.2f} times as fast as {name}")
    if options.profile:
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            steps["ours"](batch)
        print(profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=20, max_name_column_width=48))


def draw_batch(recipe: Recipe, size: int) -> Batch:
    """Noisy crops, and keypoints of every visibility inside them."""
    height, width = recipe.model.input_size
    num_keypoints = recipe.model.num_keypoints
    room = torch.tensor([width - 2 * _MARGIN_PX, height - 2 * _MARGIN_PX])
    labels = KeypointLabels(
        keypoints_crop=_MARGIN_PX + torch.rand(size, num_keypoints, 2) * room,
        visibility=torch.randint(0, 3, (size, num_keypoints)),
        counted=torch.ones(size, num_keypoints, dtype=torch.bool),
    )
    return Batch(torch.randint(0, 256, (size, height, width, 3), dtype=torch.uint8), labels)


def our_step(model: PoseNetwork, recipe: Recipe) -> Callable[[Batch], Parts]:
    optimizer = torch.optim.Adam(model.parameters(), recipe.train.learning_rate, weight_decay=1e-5, fused=True)

    def step(batch: Batch) -> Parts:
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(normalize(batch.crops))
        predicted = time.process_time()
        loss = compute_losses(outputs, batch.labels, recipe.supervision, recipe.keypoint_table.sigmas).total
        return _finish(optimizer, loss, began, predicted)

    return step


def straightforward_step(model: nn.Module, recipe: Recipe) -> Callable[[Batch], Parts]:
    optimizer = torch.optim.Adam(model.parameters(), recipe.train.learning_rate, weight_decay=1e-5)

    def step(batch: Batch) -> Parts:
        began = time.process_time()
        outputs = model(normalize(batch.crops).contiguous())
        predicted = time.process_time()
        maps = _draw_maps(batch, recipe)
        loss = released_loss(outputs, maps, batch.labels.visibility, recipe.supervision)
        return _finish(optimizer, loss, began, predicted)

    return step


def tuned_step(model: nn.Module, recipe: Recipe) -> Callable[[Batch], Parts]:
    optimizer = torch.optim.Adam(model.parameters(), recipe.train.learning_rate, weight_decay=1e-5)

    def step(batch: Batch) -> Parts:
        began = time.process_time()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(normalize(batch.crops))
        predicted = time.process_time()
        maps = _draw_maps(batch, recipe)
        loss = released_loss(outputs, maps, batch.labels.visibility, recipe.supervision, hardest_at_once)
        return _finish(optimizer, loss, began, predicted)

    return step


def _draw_maps(batch: Batch, recipe: Recipe) -> Tensor:
    keypoints_crop, visibility, _counted = (values.numpy() for values in batch.labels)
    maps = [
        draw_label_maps(points, flags, recipe.model.input_size, recipe.supervision.kernel_sizes)
        for points, flags in zip(keypoints_crop, visibility, strict=True)
    ]
    return torch.from_numpy(np.stack(maps))


def _finish(optimizer: torch.optim.Optimizer, loss: Tensor, began: float, predicted: float) -> Parts:
    compared = time.process_time()
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    turned = time.process_time()
    optimizer.step()
    ended = time.process_time()
    return Parts(predicted - began, compared - predicted, turned - compared, ended - turned, loss.item())


if __name__ == "__main__":
    main()
