"""Recipes of the weights that ship with the package, and the one that fits them to keypoints of one's own."""

import math
from typing import Literal

from mspn.config.data import DataConfig, PeopleSetConfig, SceneDataConfig, SceneSetConfig
from mspn.config.model import BackboneConfig, ModelConfig
from mspn.config.protocol import ProtocolConfig
from mspn.config.recipe import DetectorRecipe, Recipe
from mspn.config.train import STRONG_AUGMENTATION, SupervisionConfig, TrainConfig
from mspn.structures.boxes import Size
from mspn.structures.skeleton import FACE, Skeleton

PHOTOS = DataConfig(
    train=(
        PeopleSetConfig(
            annotations="lspet_train/annotations.json",
            images="lspet_train/images",
            faces="lspet_train/faces.json",
            never_labeled=FACE,
        ),
        PeopleSetConfig(annotations="coco_train/annotations.json", images="coco_train/images"),
        PeopleSetConfig(annotations="studio_train/annotations.json", images="studio_train/images"),
        PeopleSetConfig(annotations="web_train/annotations.json", images="web_train/images", weight=2.0),
    ),
    validation=PeopleSetConfig(annotations="lspet_val/annotations.json", images="lspet_val/images"),
)
"""17,878 people in 13,023 photos."""

SUPERVISION = SupervisionConfig(coarse_target="labeled", num_hard_keypoints=None, foreground_weight=15.0)
"""Differs from the paper's where little data asks for it: unlabeled keypoints never count as background, every
keypoint counts (crowd-sourced labels are wrong now and then, and mining would seek out just those), and pixels near a
keypoint weigh more, which leaves the flat start a little faster."""
_TEST = ProtocolConfig(padding=(1.03, 1.05), decoder="expected_oks", rescoring="predicted_oks")
"""Crops are tighter than the released code's. Keypoints are where OKS is expected to be highest; their scores are
calibrated after training, and what ranks poses is learned then."""


def tiny_192x128() -> Recipe:
    """Our lightest embedded network: one EfficientNet-Lite0 stage.

    Meant to start from ImageNet weights (`train.initial_weights`), which is worth more than any number of passes over
    so few photos, which it would know by heart if they always looked the same. The weights are averaged over the
    iterations. The crop is smaller and slimmer than the paper's 4:3, at half the cost: the photos are no larger.
    """
    return Recipe(
        name="mspn-tiny",
        model=_lite0(Size(192, 128)),
        supervision=SUPERVISION,
        augmentation=STRONG_AUGMENTATION,
        data=PHOTOS,
        train=TrainConfig(
            iterations=10_000,
            batch_size=32,
            learning_rate=1e-3,
            warmup_iterations=300,
            ema_decay=0.999,
            precision="bfloat16",
            checkpoint_every=1000,
        ),
        test=_TEST,
    )


def base_256x192() -> Recipe:
    """Our most accurate embedded network: the stage of the one below, and a second one that refines its keypoints.

    The second stage is a ResNet-18 of half the width, whose dense convolutions train several times faster on CPUs than
    depthwise ones of the same cost. It learns behind the first, which knows its task already and stays as it is. The
    loss has a part of expected OKS, which was worth more than further runs without.
    """
    small = small_256x192()
    first = BackboneConfig(backbone="efficientnet-lite0")
    second = BackboneConfig(backbone="resnet18", stem_channels=32)
    model = small.model.model_copy(update={"num_stages": 2, "stages": (first, second)})
    train = small.train.model_copy(
        update={"initial_weights": "mspn-small", "frozen_parts": ("stem", "stages.0"), "learning_rate": 1.5e-3}
    )
    supervision = small.supervision.model_copy(update={"oks_weight": 480.0})
    test = small.test.model_copy(update={"padding": (1.01, 1.03)})
    changes = {"name": "mspn-base", "model": model, "supervision": supervision, "train": train, "test": test}
    return small.model_copy(update=changes)


def small_256x192() -> Recipe:
    """Our embedded network between the two others: the stage of the lightest on crops of the paper's size.

    It costs twice as much. It starts from the lighter one, whose stem stays as it is: what that knows cost half as much
    to learn there.
    """
    tiny = tiny_192x128()
    train = tiny.train.model_copy(
        update={"initial_weights": "mspn-tiny", "frozen_parts": ("stem",), "learning_rate": 8e-4}
    )
    return tiny.model_copy(update={"name": "mspn-small", "model": _lite0(Size(256, 192)), "train": train})


def _lite0(input_size: Size) -> ModelConfig:
    return ModelConfig(backbone="efficientnet-lite0", num_stages=1, up_channels=96, input_size=input_size)


def person_detector() -> DetectorRecipe:
    """Our embedded detector: one EfficientNet-Lite0 module that finds people at 1/8, 1/16 and 1/32.

    Meant to start from ImageNet weights (`train.initial_weights`), whose stem stays as it is. Where a set labels one
    person an image and others stand beside, its labels are too rough to learn boxes from, and proposals count.
    """
    return DetectorRecipe(
        name="person-detector",
        data=SceneDataConfig(
            train=(
                _scenes("coco_train", weight=2.0),
                _scenes("web_train", weight=4.0),
                _scenes("studio_train", labeled="ignore", weight=0.5),
                _scenes("lspet_train", labeled="ignore", weight=0.25),
            )
        ),
        train=TrainConfig(
            iterations=2800,
            batch_size=16,
            learning_rate=1.5e-3,
            warmup_iterations=200,
            ema_decay=0.998,
            frozen_parts=("stem",),
            precision="bfloat16",
            checkpoint_every=200,
        ),
    )


def _scenes(name: str, weight: float, labeled: Literal["people", "ignore"] = "people") -> SceneSetConfig:
    return SceneSetConfig(
        annotations=f"{name}/annotations.json",
        images=f"{name}/images",
        proposals=f"{name}/people_boxes.json",
        labeled=labeled,
        weight=weight,
    )


FINETUNE = "finetune"
"""Name of the recipe, which is made for its labels."""

NEW_KEYPOINTS_RATE, KNOWN_KEYPOINTS_RATE = 3e-3, 5e-4
"""Learning rates. A third of the first left few images, of what looks like no person above all, half learned at the
end; where the network knows the keypoints already, it forgets more with it than few images teach."""
_MOSTLY_KNOWN = 0.5
"""Share of the keypoints."""
_BATCH_SIZE = 16
_MEASUREMENTS = 10
"""On the held-out images, over the whole training."""
_PATIENCE = 4
_MIN_HELD_OUT = 20
"""Held-out people by whose AP training may end; of six drawings it goes up and down while the network still learns."""
_MULTIPLE = 32
"""Of the crop's sides."""


def finetune(
    source: Recipe,
    skeleton: Skeleton,
    data: DataConfig,
    *,
    num_people: int,
    num_held_out: int,
    num_known: int,
    aspect_ratio: float,
    mirror: bool,
) -> Recipe:
    """From a trained network's recipe to one for other keypoints.

    The more people, the longer it trains, up to 2000 iterations. Before that it ends where the held-out people stop to
    gain, if these are twenty or more. The stem keeps what it knows; all other weights learn.

    Args:
        source: of the network to start from.
        skeleton: of the labels.
        data: the sets.
        num_people: labeled, to train on.
        num_held_out: labeled, to measure on.
        num_known: of the skeleton's keypoints, those that the network has maps of.
        aspect_ratio: width of a usual box by its height; the crop gets it, with as many pixels as it had.
        mirror: whether mirrored images look as if they could be of the set.
    """
    iterations = min(max(round(40 * math.sqrt(num_people)), 150), 2000)
    interval = iterations // _MEASUREMENTS
    (train_set,) = data.train
    repeated = train_set.model_copy(update={"weight": max(1.0, interval * _BATCH_SIZE / num_people)})
    mirrored = STRONG_AUGMENTATION.mirror_probability if mirror else 0.0
    half_body = STRONG_AUGMENTATION.half_body_probability if skeleton.upper else 0.0
    is_known = num_known >= _MOSTLY_KNOWN * len(skeleton.keypoints)
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
            learning_rate=KNOWN_KEYPOINTS_RATE if is_known else NEW_KEYPOINTS_RATE,
            warmup_iterations=20,
            ema_decay=0.98,
            frozen_parts=("stem",),
            checkpoint_every=interval,
            validate_every=1,
            patience=_PATIENCE if num_held_out >= _MIN_HELD_OUT else None,
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
