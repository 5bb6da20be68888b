"""The one warp: cutting a framed region out of an image, and making it the network's input."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.geometry import CropFrame
from mspn.images import ReducedPicture, allowed_reduction, read_reduced_picture


def cut_crop(image: UInt8[np.ndarray, "H W 3"], frame: CropFrame, reduction: int = 1) -> UInt8[np.ndarray, "h w 3"]:
    """Cut the frame's region out of an RGB image, bilinear, black outside the image.

    Args:
        image: the picture, or a reduced one.
        frame: in pixels of the whole picture.
        reduction: of the image, see `ReducedPicture`.

    Source: the released code, which warps with a constant border of 0.
    """
    linear, offset = np.split(frame.image_to_crop, [2], axis=1)
    # The middle of reduced pixel 0 is the middle of the picture's pixels 0 to reduction - 1.
    middle = np.full((2, 1), (reduction - 1) / 2)
    return cv2.warpAffine(
        image,
        np.hstack([linear * reduction, linear @ middle + offset]),
        (frame.size.width, frame.size.height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )


def read_crops(path: Path, frames: Sequence[CropFrame]) -> list[UInt8[np.ndarray, "h w 3"]]:
    """Cut regions out of a picture file, decoded with no more pixels than each crop shows.

    A crop is never enlarged from a reduced picture, and shows less aliasing than one of the whole picture. It is the
    same whatever other crops are cut with it; where the same reduction serves several, the file is decoded once.

    Raises:
        PictureError: as `read_picture`.
    """
    pictures: dict[int, ReducedPicture] = {}
    crops = []
    for frame in frames:
        reduction = allowed_reduction(frame.width_image / frame.size.width)
        if reduction not in pictures:
            pictures[reduction] = read_reduced_picture(path, reduction)
        picture = pictures[reduction]
        crops.append(cut_crop(picture.pixels, frame, picture.reduction))
    return crops


CHANNEL_MEAN = (0.485, 0.456, 0.406)
CHANNEL_DEVIATION = (0.229, 0.224, 0.225)
"""ImageNet's, of RGB from 0 to 1, as the released code and MMPose use."""


def normalise(crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    """RGB crops from 0 to 255 as the network wants them, on the same device, in channels-last memory."""
    mean = torch.tensor(CHANNEL_MEAN, device=crops.device) * 255
    deviation = torch.tensor(CHANNEL_DEVIATION, device=crops.device) * 255
    # In place: each step would else take as much memory again, which a long run of batches feels.
    return crops.float().sub_(mean).div_(deviation).permute(0, 3, 1, 2)
