"""The one warp: cutting a framed region out of an image, and making it the network's input."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mspn.geometry import CropFrame


def cut_crop(image: UInt8[np.ndarray, "H W 3"], frame: CropFrame) -> UInt8[np.ndarray, "h w 3"]:
    """Cut the frame's region out of an RGB image, bilinear, black outside the image.

    Source: the released code, which warps with a constant border of 0.
    """
    return cv2.warpAffine(
        image,
        frame.image_to_crop,
        (frame.size.width, frame.size.height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(0, 0, 0),
    )


CHANNEL_MEAN = (0.485, 0.456, 0.406)
CHANNEL_DEVIATION = (0.229, 0.224, 0.225)
"""ImageNet's, of RGB from 0 to 1, as the released code and MMPose use."""


def normalise(crops: UInt8[Tensor, "B H W 3"]) -> Float[Tensor, "B 3 H W"]:
    """RGB crops from 0 to 255 as the network wants them, on the same device, in channels-last memory."""
    mean = torch.tensor(CHANNEL_MEAN, device=crops.device) * 255
    deviation = torch.tensor(CHANNEL_DEVIATION, device=crops.device) * 255
    return ((crops.float() - mean) / deviation).permute(0, 3, 1, 2)
