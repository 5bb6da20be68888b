"""Drawing target heat maps (paper Sec. 3.3)."""

import torch
from torch import Tensor

from mspn.errors import InvalidValueError
from mspn.structures.boxes import Size
from mspn.structures.shapes import Bool, Float

# 1-D profiles from the center outwards, before scaling to peak 1. Source: OpenCV's fixed Gaussian kernels for
# "sigma 0", which the released code uses; wider kernels follow its formula for sigma.
_FIXED_PROFILES = {
    3: (2, 1),
    5: (6, 4, 1),
    7: (0.28125, 0.21875, 0.109375, 0.03125),
    9: (60, 51, 30, 13, 4),
}


def gaussian_kernel_1d(kernel_size: int) -> Float[Tensor, " radius"]:
    """One side of a Gaussian of this width: values at 0, 1, 2, ... cells from its center, 1 at the center.

    Raises:
        ValueError: if kernel_size is even or below 3.
    """
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise InvalidValueError(f"kernel_size must be an odd number from 3 on, not {kernel_size}")
    if kernel_size in _FIXED_PROFILES:
        profile = torch.tensor(_FIXED_PROFILES[kernel_size], dtype=torch.float64)
    else:
        sigma = 0.3 * ((kernel_size - 1) / 2 - 1) + 0.8
        distance = torch.arange((kernel_size + 1) // 2, dtype=torch.float64)
        profile = torch.exp(-(distance**2) / (2 * sigma**2))
    return (profile / profile[0]).float()


def draw_targets(
    keypoints_heatmap: Float[Tensor, "B K 2"],
    labeled: Bool[Tensor, "B K"],
    *,
    size: Size,
    kernel_size: int,
) -> Float[Tensor, "B K H W"]:
    """Draw one Gaussian per labeled keypoint, on its heat-map cell.

    Args:
        keypoints_heatmap: (x, y) in heat-map coordinates, see `mspn.structures.crop`; the nearest cell gets the peak.
        labeled: where False, the map stays all zero.
        size: of the maps to draw.
        kernel_size: odd width of the Gaussian, in cells; larger at coarser levels.

    Returns:
        Maps from 0 to 1, with 1 in the keypoint's cell, on the keypoints' device.

    Raises:
        ValueError: if kernel_size is even or below 3.

    Source: paper Sec. 3.3. The released code scales to 255; we scale to 1. Near the border it
    mirrors the kernel, which moves the peak; we clip it.
    """
    device = keypoints_heatmap.device
    profile = gaussian_kernel_1d(kernel_size).to(device)
    heights = torch.cat([profile, profile.new_zeros(1)])  # beyond the kernel: 0
    # The coordinates of an unlabeled keypoint may be NaN.
    cells = torch.floor(torch.where(labeled.unsqueeze(-1), keypoints_heatmap, 0.0) + 0.5)
    columns = _gaussian_1d(cells[..., 0], size.width, heights)
    rows = _gaussian_1d(cells[..., 1], size.height, heights) * labeled.unsqueeze(-1)
    return rows.unsqueeze(-1) * columns.unsqueeze(-2)


def _gaussian_1d(
    centers: Float[Tensor, "B K"], length: int, heights: Float[Tensor, " N"]
) -> Float[Tensor, "B K length"]:
    grid = torch.arange(length, device=centers.device)
    distance = (grid - centers.unsqueeze(-1)).abs().clamp(max=len(heights) - 1)
    return heights[distance.long()]
