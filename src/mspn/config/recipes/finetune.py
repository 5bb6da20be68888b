"""The recipe that fits a trained network to keypoints of one's own, from few labeled images."""

import math

from mspn.config.augmentation import STRONG_AUGMENTATION
from mspn.config.data import DataConfig
from mspn.config.recipe import Recipe
from mspn.config.recipes.embedded import SUPERVISION
from mspn.config.train import TrainConfig
from mspn.structures.boxes import Size
from mspn.structures.skeleton import Skeleton

FINETUNE = "finetune"
"""Name of the recipe, which is made for its labels."""

_BATCH_SIZE = 16
_MEASUREMENTS = 10
"""On the held-out images, over the whole training."""
_MULTIPLE = 32
"""Of the crop's sides."""


def finetune(
    source: Recipe, skeleton: Skeleton, data: DataConfig, *, num_people: int, aspect_ratio: float, mirror: bool
) -> Recipe:
    """From a trained network's recipe to one for other keypoints.

    The more people, the longer it trains, up to 2000 iterations. Before that it ends where the held-out
    images stop to gain. The stem keeps what it knows; all other weights learn.

    Args:
        source: of the network to start from.
        skeleton: of the labels.
        data: the sets.
        num_people: labeled, to train on.
        aspect_ratio: width of a usual box by its height; the crop gets it, with as many pixels as it had.
        mirror: whether mirrored images look as if they could be of the set.
    """
    iterations = min(max(round(40 * math.sqrt(num_people)), 150), 2000)
    interval = iterations // _MEASUREMENTS
    (train_set,) = data.train
    repeated = train_set.model_copy(update={"weight": max(1.0, interval * _BATCH_SIZE / num_people)})
    mirrored = STRONG_AUGMENTATION.mirror_probability if mirror else 0.0
    half_body = STRONG_AUGMENTATION.half_body_probability if skeleton.upper else 0.0
    return Recipe(
        name=FINETUNE,
        skeleton=skeleton,
        model=source.model.model_copy(
            update={
                "num_keypoints": len(skeleton.keypoints),
                "input_size": fit_crop(source.model.input_size, aspect_ratio),
            }
        ),
        supervision=SUPERVISION,
        augmentation=STRONG_AUGMENTATION.model_copy(
            update={"mirror_probability": mirrored, "half_body_probability": half_body}
        ),
        data=data.model_copy(update={"train": (repeated,)}),
        train=TrainConfig(
            iterations=iterations,
            batch_size=_BATCH_SIZE,
            learning_rate=1e-3,
            warmup_iterations=20,
            ema_decay=0.98,
            frozen_parts=("stem",),
            checkpoint_every=interval,
            validate_every=1,
            patience=4,
        ),
        test=source.test.model_copy(update={"flip": source.test.flip and mirror}),
    )


def fit_crop(size: Size, aspect_ratio: float) -> Size:
    """A crop of another shape with about as many pixels, in multiples of 32; at most twice as long as it is wide.

    >>> fit_crop(Size(height=256, width=192), 4 / 3)
    Size(height=192, width=256)
    """
    ratio = min(max(aspect_ratio, 0.5), 2.0)
    area = size.height * size.width
    sides = (math.sqrt(area / ratio), math.sqrt(area * ratio))
    height, width = (max(_MULTIPLE, round(side / _MULTIPLE) * _MULTIPLE) for side in sides)
    return Size(height, width)
