"""Peers in torch: python -m benchmarks.peer_torch WAY [MODEL]

Ways: `ours` (as `mspn predict` runs it), `ours-no-flip`, `ours-openvino` (without flip, too), `mmpose` (float32, eager,
channels first, one person at a time, with flip), and `vitpose` (ViTPose-B of transformers with random weights, which
needs no MODEL).
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.peer_process import GivenBox, Peer, serve
from mspn.benchmark.throughput import ReferencePath
from mspn.checkpoints.networks import load_named
from mspn.config.protocol import ProtocolConfig
from mspn.errors import import_extra
from mspn.heatmaps.decode import average_mirrored, decode
from mspn.io.images import read_image
from mspn.models.base import normalize
from mspn.predict.estimator import PoseEstimator
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.crop import cut_crop, frame_from_box, heatmap_to_crop, transform_points
from mspn.structures.image import Image
from mspn.structures.skeleton import COCO_17

HeatmapFunction = Callable[[Tensor], Tensor]
"""From uint8 crops (B, H, W, 3) to maps (B, 17, h, w)."""


class TorchPeer:
    """Reads images as this package does."""

    def read(self, path: str) -> np.ndarray:
        return read_image(Path(path))


class OurPeer(TorchPeer):
    """This package: all people of an image in one batch."""

    def __init__(self, model: str, *, flip: bool | None, engine: str = "auto") -> None:
        self._top_down = PoseEstimator(model, "none", flip=flip, engine=engine).top_down  # type: ignore[arg-type]

    def estimate(self, image: np.ndarray, boxes: Sequence[GivenBox]) -> np.ndarray:
        pixels = Image("image", image)
        people = [self._top_down.crop(pixels, Detection(Box(*box), 1.0)) for box in boxes]
        poses = self._top_down.estimate(people)
        return np.array([np.column_stack([pose.keypoints_image, pose.keypoint_scores]) for pose in poses])


class CropPeer(TorchPeer):
    """A network of heat maps for crops of one size, asked for so many people at a time."""

    def __init__(self, heatmaps: HeatmapFunction, size: Size, test: ProtocolConfig, at_once: int) -> None:
        self._heatmaps = heatmaps
        self._size = size
        self._test = test
        self._at_once = at_once

    def estimate(self, image: np.ndarray, boxes: Sequence[GivenBox]) -> np.ndarray:
        frames = [frame_from_box(Box(*box), self._size, self._test.padding) for box in boxes]
        people = []
        for start in range(0, len(frames), self._at_once):
            chosen = frames[start : start + self._at_once]
            crops = torch.from_numpy(np.stack([cut_crop(image, frame) for frame in chosen]))
            decoded = decode(self._answer(crops), self._test, COCO_17.sigmas)
            points = heatmap_to_crop(decoded.keypoints_heatmap).numpy()
            people += [
                np.column_stack([transform_points(own, frame.crop_to_image), scores])
                for own, scores, frame in zip(points, decoded.scores.numpy(), chosen, strict=True)
            ]
        return np.array(people)

    def _answer(self, crops: Tensor) -> Tensor:
        maps = self._heatmaps(crops)
        if not self._test.flip:
            return maps
        return average_mirrored(maps, self._heatmaps(crops.flip(2)), COCO_17.mirror_order)


def as_mmpose_runs_it(model: str) -> CropPeer:
    checkpoint = load_named(model)
    recipe = checkpoint.metadata.recipe
    return CropPeer(ReferencePath(checkpoint.model), recipe.model.input_size, recipe.test, at_once=1)


def vitpose() -> CropPeer:
    """All people of an image at once, in float32, without flip, as its documentation shows."""
    transformers = import_extra("transformers", ImportError("pip install 'mspn[transformers]'"))
    backbone = transformers.VitPoseBackboneConfig(out_indices=[12])
    config = transformers.VitPoseConfig(backbone_config=backbone, num_labels=17)
    network = transformers.VitPoseForPoseEstimation(config).eval()

    @torch.inference_mode()
    def heatmaps(crops: Tensor) -> Tensor:
        maps: Tensor = network(normalize(crops).contiguous()).heatmaps
        return maps

    return CropPeer(heatmaps, Size(256, 192), ProtocolConfig(padding=(1.25, 1.25), flip=False), at_once=32)


WAYS: dict[str, Callable[..., Peer]] = {
    "ours": lambda model: OurPeer(model, flip=None),
    "ours-no-flip": lambda model: OurPeer(model, flip=False),
    "ours-openvino": lambda model: OurPeer(model, flip=False, engine="openvino"),
    "mmpose": as_mmpose_runs_it,
    "vitpose": vitpose,
}

if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    way, *models = sys.argv[1:]
    serve(lambda: WAYS[way](*models))
