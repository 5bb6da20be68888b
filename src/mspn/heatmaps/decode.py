"""Decoding of heat maps to keypoints (paper Sec. 4.2).

What is computed here with NumPy and OpenCV, because they are faster, has a twin in torch's own operations, which takes
its place while torch exports a network with its decoding inside.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mspn.config.protocol import ProtocolConfig
from mspn.heatmaps.targets import gaussian_kernel_1d
from mspn.structures.crop import heatmap_to_crop
from mspn.structures.pose import CropKeypoints
from mspn.structures.shapes import Float, Int

_QUARTER = 0.25
_MIN_DISTANCE = 1e-3
_PEOPLE_IN_CACHE = 4
_MIN_LOG_ARGUMENT = 1e-10
_USUAL_AREA = 0.09
"""Of a person, as a share of the crop. A third is usual; but maps are broader than keypoints are uncertain, and AP of
the embedded networks is best with this; half or twice as much makes little difference."""
_NEGLIGIBLE = 1e-8
"""Similarities below count as 0: processors multiply numbers near the smallest that there is ten times as slowly."""
_CORNER = -0.5
"""Offset of a cell's corner from its center."""


class Decoded(NamedTuple):
    """Keypoints of a batch of people."""

    keypoints_heatmap: Float[Tensor, "B K 2"]
    """(x, y) in heat-map coordinates, see `mspn.structures.crop`."""
    scores: Float[Tensor, "B K"]
    """Heat-map value at the keypoint, about 0 to 1, neither clipped nor offset; of decoder expected_oks the geometric
    mean of that and the similarity that it expects."""

    def in_crop(self) -> CropKeypoints:
        """The same in crop pixels."""
        return CropKeypoints(heatmap_to_crop(self.keypoints_heatmap).double().numpy(), self.scores.double().numpy())


def average_mirrored(
    heatmaps: Float[Tensor, "B K H W"],
    mirrored_heatmaps: Float[Tensor, "B K H W"],
    mirror_order: Sequence[int],
    *,
    shift: int = 0,
) -> Float[Tensor, "B K H W"]:
    """Average with the maps of the mirrored crops, flipped back and with left and right swapped.

    Mirroring maps cells exactly onto cells, so no shift is needed, unless the network was trained on keypoints rounded
    to the nearest cell: then the flipped maps belong `shift` = 1 cell to the right.
    """
    order = torch.tensor(mirror_order, device=heatmaps.device)
    averaged = torch.empty_like(heatmaps)
    for people in _cache_sized_slices(heatmaps):
        flipped = mirrored_heatmaps[people].flip(-1).index_select(1, order)
        if shift:
            flipped = torch.cat([flipped[..., :shift], flipped[..., :-shift]], dim=-1)
        torch.add(heatmaps[people], flipped, out=averaged[people]).div_(2)
    return averaged


def decode(heatmaps: Float[Tensor, "B K H W"], config: ProtocolConfig, sigmas: Sequence[float]) -> Decoded:
    """Find each map's keypoint with sub-cell precision, on the CPU.

    Args:
        heatmaps: peak 1, already averaged with the mirrored ones.
        config: Gaussian filter and rule for the offset within a cell.
        sigmas: of the K keypoints, as COCO has them; "expected_oks" alone asks for them.

    Source: the released code ("released"), MMPose's Megvii heat-map codec ("mmpose"), the simple baseline's code
    ("rounded"), Zhang et al., Distribution-Aware Coordinate Representation for Human Pose Estimation, CVPR 2020
    ("dark"); "dark_filtered" and "expected_oks" are variants of this package.
    """
    heatmaps = heatmaps.cpu().contiguous()
    if config.decoder == "released":
        return _decode_released(heatmaps, config.blur_kernel)
    if config.decoder == "expected_oks":
        expected = expected_oks(heatmaps, sigmas)
        decoded = _decode_distribution(heatmaps, expected, _first_maximum(expected.flatten(2)))
        return decoded._replace(scores=(decoded.scores.clamp(min=0) * expected.flatten(2).amax(-1)).sqrt())
    filtered = gaussian_filter(heatmaps, config.blur_kernel)
    if config.decoder in ("dark", "dark_filtered"):
        searched = heatmaps if config.decoder == "dark" else filtered
        return _decode_distribution(heatmaps, filtered, _first_maximum(searched.flatten(2)))
    return _decode_along_axes(heatmaps, filtered, inner_cell_at=0.0 if config.decoder == "mmpose" else _CORNER)


def gaussian_filter(heatmaps: Float[Tensor, "B K H W"], kernel_size: int) -> Float[Tensor, "B K H W"]:
    """Blur maps on the CPU with a Gaussian of odd width in cells, zeros outside the map; width 1 changes nothing."""
    if kernel_size == 1:
        return heatmaps
    height, width = heatmaps.shape[-2:]
    if _is_exported():
        return _filter_matrix(kernel_size, height) @ heatmaps @ _filter_matrix(kernel_size, width)
    half = gaussian_kernel_1d(kernel_size).tolist()
    profile = np.array([*half[:0:-1], *half])
    profile /= profile.sum()
    radius = kernel_size // 2
    # All maps as one tall image, with as many rows of zeros after each as the filter's radius: one call, in a tenth of
    # the time of torch. In float64, rounded at the end: neighbors of a symmetric peak stay exactly equal, and the tie
    # goes to the first in raster order, as in the released code.
    image = functional.pad(heatmaps, (0, 0, 0, radius)).reshape(-1, width).numpy()
    filtered = cv2.sepFilter2D(image, cv2.CV_64F, profile, profile, borderType=cv2.BORDER_CONSTANT)
    return torch.from_numpy(filtered).reshape(*heatmaps.shape[:-2], height + radius, width)[..., :height, :].float()


def expected_oks(heatmaps: Float[Tensor, "B K H W"], sigmas: Sequence[float]) -> Float[Tensor, "B K H W"]:
    """How similar a keypoint in each cell is expected to be with its label (COCO's OKS), 0 to 1; 0 for an empty map.

    The squared map is taken as the probability that the label is in a cell: the square undoes a part of the blur that
    the network learned from its targets. The person is as large as a usual one, `_USUAL_AREA` of the crop.
    """
    height, width = heatmaps.shape[-2:]
    deviations = oks_deviations(sigmas, height, width)
    by_row, by_column = (_similarity_matrices(deviations, length) for length in (height, width))
    squared = heatmaps.clamp(min=0).square()
    total = squared.sum((-2, -1), keepdim=True).clamp(min=_MIN_LOG_ARGUMENT)
    return by_row @ squared @ by_column / total


def oks_deviations(sigmas: Sequence[float], height: int, width: int) -> Float[Tensor, " K"]:
    """Deviation in cells of the Gaussian that is OKS by distance, for a person of usual size in maps of this size."""
    side: float = (_USUAL_AREA * height * width) ** 0.5
    return 2 * side * torch.tensor(sigmas)


def _similarity_matrices(deviations: Float[Tensor, " K"], length: int) -> Float[Tensor, "K length length"]:
    """OKS between the cells of a row or column, for each keypoint."""
    cells = torch.arange(length)
    by_distance = torch.exp(-cells.square() / (2 * deviations.square()).unsqueeze(-1))
    by_distance = torch.where(by_distance < _NEGLIGIBLE, 0.0, by_distance)
    return by_distance[:, (cells - cells.unsqueeze(-1)).abs()]


def _decode_released(heatmaps: Tensor, blur_kernel: int) -> Decoded:
    """A quarter cell from the filtered map's highest cell toward the second highest, which need not be a neighbor."""
    width = heatmaps.shape[-1]
    highest_pairs = [
        _two_highest(gaussian_filter(heatmaps[people], blur_kernel)) for people in _cache_sized_slices(heatmaps)
    ]
    highest, second = torch.cat(highest_pairs, dim=1)
    cells = _cell_coordinates(highest, width)
    toward = _cell_coordinates(second, width) - cells
    distance = toward.norm(dim=-1, keepdim=True)
    points = cells + torch.where(distance > _MIN_DISTANCE, _QUARTER * toward / distance.clamp(min=_MIN_DISTANCE), 0.0)
    return Decoded(points, heatmaps.flatten(2).gather(2, highest.unsqueeze(-1)).squeeze(-1))


def _decode_along_axes(heatmaps: Tensor, filtered: Tensor, *, inner_cell_at: float) -> Decoded:
    """A quarter cell along each axis toward the higher neighbor; outer cells stay at their corner, as in MMPose.

    Inner cells lie at their center (0), or at their corner for networks trained on keypoints rounded to cells.
    """
    height, width = heatmaps.shape[-2:]
    flat = filtered.flatten(2)
    highest = _first_maximum(flat)
    x, y = highest % width, highest // width
    inside = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)

    def value(dx: int, dy: int) -> Tensor:
        index = (y + dy).clamp(0, height - 1) * width + (x + dx).clamp(0, width - 1)
        return flat.gather(2, index.unsqueeze(-1)).squeeze(-1)

    slope = torch.stack([value(1, 0) - value(-1, 0), value(0, 1) - value(0, -1)], dim=-1)
    offset = torch.where(inside.unsqueeze(-1), inner_cell_at + _QUARTER * slope.sign(), _CORNER)
    return Decoded(_cell_coordinates(highest, width) + offset, heatmaps.flatten(2).amax(-1))


def _decode_distribution(heatmaps: Tensor, filtered: Tensor, highest: Tensor) -> Decoded:
    """From the highest cell, given by index, to the top of the parabola that fits the filtered map's logarithm there.

    The logarithm of a Gaussian is a parabola, whose top a Newton step finds exactly. As in the authors' code,
    differences span two cells, and the outer two rows and columns of cells get no offset. Unlike there, neither do
    cells where the logarithm has no maximum, and no step is longer than a cell along each axis.
    """
    height, width = heatmaps.shape[-2:]
    x, y = highest % width, highest // width
    inside = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    flat = filtered.flatten(2)

    def log(dx: int, dy: int) -> Tensor:
        index = (y + dy).clamp(0, height - 1) * width + (x + dx).clamp(0, width - 1)
        values = flat.gather(2, index.unsqueeze(-1)).squeeze(-1)
        return (values if _is_exported() else values.double()).clamp(min=_MIN_LOG_ARGUMENT).log()

    slope_x, slope_y = (log(1, 0) - log(-1, 0)) / 2, (log(0, 1) - log(0, -1)) / 2
    curvature_xx = (log(2, 0) - 2 * log(0, 0) + log(-2, 0)) / 4
    curvature_yy = (log(0, 2) - 2 * log(0, 0) + log(0, -2)) / 4
    curvature_xy = (log(1, 1) - log(-1, 1) - log(1, -1) + log(-1, -1)) / 4
    determinant = curvature_xx * curvature_yy - curvature_xy**2
    has_top = inside & (curvature_xx < 0) & (determinant > 0)
    step = torch.stack(
        [curvature_xy * slope_y - curvature_yy * slope_x, curvature_xy * slope_x - curvature_xx * slope_y], dim=-1
    )
    step = step / torch.where(has_top, determinant, 1.0).unsqueeze(-1)
    offset = torch.where(has_top.unsqueeze(-1), step.clamp(-1, 1), 0.0).float()
    return Decoded(_cell_coordinates(highest, width) + offset, heatmaps.flatten(2).amax(-1))


def _is_exported() -> bool:
    """Whether torch is exporting this computation, so that it must consist of operations that other runtimes have."""
    return torch.compiler.is_compiling()


def _filter_matrix(kernel_size: int, length: int) -> Float[Tensor, "length length"]:
    """Symmetric matrix whose product with a column of cells is that column filtered, with zeros outside the map."""
    half = gaussian_kernel_1d(kernel_size)
    weights = torch.cat([half, half.new_zeros(1)]) / (2 * half.sum() - 1)
    cells = torch.arange(length)
    return weights[(cells - cells.unsqueeze(-1)).abs().clamp(max=len(half))]


def _two_highest(filtered: Float[Tensor, "B K H W"]) -> Int[Tensor, "2 B K"]:
    """Indices of the highest cell, and of the highest one once that is set to zero."""
    flat = filtered.flatten(2)
    highest = _first_maximum(flat)
    return torch.stack([highest, _first_maximum(flat.scatter(2, highest.unsqueeze(-1), 0.0))])


def _cache_sized_slices(heatmaps: Tensor) -> list[slice]:
    """Slices of a batch whose maps fit the cache of a CPU; on other devices, the whole batch."""
    if _is_exported():
        return [slice(None)]
    people = _PEOPLE_IN_CACHE if heatmaps.device.type == "cpu" else len(heatmaps)
    return [slice(start, start + people) for start in range(0, len(heatmaps), people)]


def _first_maximum(flat: Float[Tensor, "B K N"]) -> Int[Tensor, "B K"]:
    """Index of the maximum, the first in raster order where several are equal."""
    if _is_exported():
        return flat.argmax(-1)
    # NumPy's argmax, since torch's takes ten times as long.
    return torch.from_numpy(flat.numpy().argmax(-1))


def _cell_coordinates(index: Int[Tensor, "B K"], width: int) -> Float[Tensor, "B K 2"]:
    return torch.stack([index % width, index // width], dim=-1).float()
