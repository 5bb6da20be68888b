"""How many people a second are decoded: everything after the network, with flip average and filter, on one thread.

Beside the poses of a whole batch, the same is measured person by person, and as published code does it: in NumPy and
OpenCV, a person and a keypoint at a time, with the same answers. All take turns, so that other work on the machine
disturbs all alike. Seconds are the thread's processor time.
Run: OMP_NUM_THREADS=1 python -m benchmarks.decoding
"""

import time
from collections.abc import Callable
from statistics import median

import cv2
import numpy as np
import torch

from mspn.config.protocol import FAITHFUL_TEST
from mspn.heatmaps.decode import average_mirrored, decode
from mspn.heatmaps.targets import draw_targets
from mspn.predict.top_down import make_poses
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.crop import CropFrame, frame_from_box, heatmap_to_crop, transform_points
from mspn.structures.pose import Pose
from mspn.structures.skeleton import COCO_17

PEOPLE = 32
ROUNDS = 40
CROP = Size(256, 192)
CELLS = Size(CROP.height // 4, CROP.width // 4)


def main() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    random = torch.Generator().manual_seed(0)
    maps, mirrored = _heatmaps(random), _heatmaps(random)
    detections = [Detection(Box(10.0 * place, 20, 80, 160), 0.9) for place in range(PEOPLE)]
    frames = [frame_from_box(detection.box, CROP, FAITHFUL_TEST.padding) for detection in detections]

    def estimate(people: slice) -> list[Pose]:
        averaged = average_mirrored(maps[people], mirrored[people], COCO_17.mirror_order)
        decoded = decode(averaged, FAITHFUL_TEST, COCO_17.sigmas)
        return make_poses(detections[people], frames[people], decoded.in_crop(), COCO_17, FAITHFUL_TEST, None)

    def one_by_one() -> list[Pose]:
        return [pose for place in range(PEOPLE) for pose in estimate(slice(place, place + 1))]

    def in_loops() -> list[np.ndarray]:
        people = zip(maps.numpy(), mirrored.numpy(), frames, strict=True)
        return [decode_in_loops(plain, flipped, frame) for plain, flipped, frame in people]

    for pose, points_image in zip(one_by_one(), in_loops(), strict=True):
        np.testing.assert_allclose(pose.keypoints_image, points_image, atol=1e-3)
    ways: dict[str, Callable[[], object]] = {
        f"batches of {PEOPLE}": lambda: estimate(slice(PEOPLE)),
        "person by person": one_by_one,
        "keypoint by keypoint, as published": in_loops,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.thread_time()
            way()
            seconds[name].append(time.thread_time() - start)
    for name, times in seconds.items():
        print(f"{name}: {PEOPLE / median(times):.0f} people/s (median of {ROUNDS}), {PEOPLE / min(times):.0f} at best")


def decode_in_loops(maps: np.ndarray, mirrored: np.ndarray, frame: CropFrame) -> np.ndarray:
    """Keypoints of a person in image pixels: the released code's steps, one map after another."""
    averaged = (maps + mirrored[COCO_17.mirror_order, :, ::-1]) / 2
    kernel = (FAITHFUL_TEST.blur_kernel, FAITHFUL_TEST.blur_kernel)
    points = np.zeros((len(averaged), 2))
    for keypoint, plain in enumerate(averaged):
        filtered = cv2.GaussianBlur(plain.astype(np.float64), kernel, 0, borderType=cv2.BORDER_CONSTANT)
        y, x = np.unravel_index(filtered.argmax(), filtered.shape)
        filtered[y, x] = 0
        second_y, second_x = np.unravel_index(filtered.argmax(), filtered.shape)
        toward = np.array([second_x - x, second_y - y])
        points[keypoint] = np.array([x, y]) + 0.25 * toward / np.linalg.norm(toward)
    return transform_points(heatmap_to_crop(points), frame.crop_to_image)


def _heatmaps(random: torch.Generator) -> torch.Tensor:
    """Bumps at random places, with some noise."""
    points = torch.rand(PEOPLE, 17, 2, generator=random) * torch.tensor([CELLS.width, CELLS.height])
    bumps = draw_targets(points, torch.ones(PEOPLE, 17, dtype=torch.bool), size=CELLS, kernel_size=7)
    return bumps + 0.05 * torch.randn(bumps.shape, generator=random)


if __name__ == "__main__":
    main()
