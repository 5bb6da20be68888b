"""What the outputs of a pose network mean: ours by their names, those of other packages by their shapes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from mspn.config.protocol import SIMPLE_BASELINE_TEST, ProtocolConfig
from mspn.heatmaps.decode import Decoded
from mspn.structures.boxes import Size
from mspn.structures.crop import HEATMAP_STRIDE, crop_to_heatmap

Outputs = Mapping[str, Tensor]
"""Outputs of a network by name, in the file's order; the first axis counts people."""

DIRECT_TEST = ProtocolConfig(
    padding=(1.25, 1.25), flip=False, blur_kernel=1, score_offset=0.0, rescoring="confident_mean"
)
"""Of networks that give keypoints themselves, from MMPose."""


@dataclass(frozen=True)
class OutputLayout:
    """A form of outputs."""

    name: str
    num_keypoints: Callable[[Outputs, Size], int | None]
    """From the outputs and the crop's size; None for outputs of another form."""
    test: ProtocolConfig
    """How networks of another package are tested, of which the file does not tell."""
    heatmaps: Callable[[Outputs], Float[Tensor, "B K h w"]] | None = None
    """None for networks that give keypoints."""
    keypoints: Callable[[Outputs, Size], Decoded] | None = None
    """None for networks that give heat maps."""


def _count_in_heatmaps(outputs: Outputs, size: Size) -> int | None:
    """One output (B, K, H/4, W/4)."""
    if len(outputs) != 1:
        return None
    (maps,) = outputs.values()
    fits = maps.ndim == 4 and tuple(maps.shape[2:]) == (size.height // HEATMAP_STRIDE, size.width // HEATMAP_STRIDE)
    return maps.shape[1] if fits else None


def _only(outputs: Outputs) -> Tensor:
    (maps,) = outputs.values()
    return maps


HEATMAPS = OutputLayout("heat maps", _count_in_heatmaps, SIMPLE_BASELINE_TEST, heatmaps=_only)
"""Ours, and MMPose's heat-map networks (HRNet, ViTPose, simple baselines), whose cells stand for their corner."""


def _count_in_decoded(outputs: Outputs, _size: Size) -> int | None:
    return outputs["peaks"].shape[1] if set(outputs) == {"keypoints", "scores", "peaks"} else None


def _read_decoded(outputs: Outputs, _size: Size) -> Decoded:
    return Decoded(crop_to_heatmap(outputs["keypoints"]), outputs["peaks"])


DECODED = OutputLayout("keypoints", _count_in_decoded, DIRECT_TEST, keypoints=_read_decoded)
"""Ours with decoding inside."""


def _count_in_simcc(outputs: Outputs, size: Size) -> int | None:
    """Two outputs (B, K, W x split) and (B, K, H x split), one value for each part of a pixel."""
    if len(outputs) != 2:
        return None
    x, y = outputs.values()
    if x.ndim != 3 or y.ndim != 3 or x.shape[1] != y.shape[1]:
        return None
    split = x.shape[2] // size.width
    fits = split > 0 and (x.shape[2], y.shape[2]) == (split * size.width, split * size.height)
    return x.shape[1] if fits else None


def _read_simcc(outputs: Outputs, size: Size) -> Decoded:
    """The highest part along each axis. Source: MMPose's `get_simcc_maximum`, whose scores are the lower maximum."""
    x, y = outputs.values()
    split = x.shape[2] / size.width
    (score_x, part_x), (score_y, part_y) = x.max(-1), y.max(-1)
    keypoints_crop = torch.stack([part_x, part_y], -1).float() / split
    return Decoded(crop_to_heatmap(keypoints_crop), torch.minimum(score_x, score_y))


SIMCC = OutputLayout("SimCC", _count_in_simcc, DIRECT_TEST, keypoints=_read_simcc)
"""RTMPose and SimCC as MMDeploy exports them: `simcc_x`, `simcc_y`."""

LAYOUTS = (HEATMAPS, DECODED, SIMCC)
