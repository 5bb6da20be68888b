"""Named experiments: each recipe is a function that returns its settings."""

import difflib
from collections.abc import Mapping
from typing import Literal, TypeVar

from mspn.config import AnyRecipe, DetectorRecipe, Recipe, SupervisionConfig
from mspn.data_config import DataConfig, PeopleSetConfig
from mspn.model_config import (
    Backbone,
    CPNConfig,
    HourglassConfig,
    ModelConfig,
    NetworkConfig,
    SimpleBaselineConfig,
)
from mspn.records import Size
from mspn.scene_config import SceneDataConfig, SceneSetConfig
from mspn.skeleton import FACE
from mspn.train_config import TrainConfig

_COCO_TRAIN = DataConfig(
    train=(PeopleSetConfig(annotations="coco/annotations/person_keypoints_train2017.json", images="coco/train2017"),),
    validation=PeopleSetConfig(annotations="coco/annotations/person_keypoints_val2017.json", images="coco/val2017"),
    workers=8,
)


def coco(name: str, model: NetworkConfig, supervision: SupervisionConfig | None = None) -> Recipe:
    """A network under the paper's training on COCO (Sec. 4.2)."""
    return Recipe(name=name, model=model, supervision=supervision or SupervisionConfig(), data=_COCO_TRAIN)


def coco_256x192(num_stages: int) -> Recipe:
    """The paper's network, ResNet-50 modules, 256x192 crops (Table 3)."""
    return coco(f"mspn-{num_stages}", ModelConfig(num_stages=num_stages))


def coco_384x288(num_stages: int) -> Recipe:
    """The same at the paper's larger crop size (Sec. 4.4)."""
    return coco(f"mspn-{num_stages}-384x288", ModelConfig(num_stages=num_stages, input_size=Size(384, 288)))


def external_384x288() -> Recipe:
    """With people of AI Challenger beside COCO's, as the rows with external data (Tables 5 and 8).

    The paper does not say which data it took. Keypoints are matched by name; COCO's face, which AI Challenger does not
    label, and AI Challenger's neck and head top, which COCO does not have, do not count where they are missing.
    """
    recipe = coco_384x288(4)
    people = PeopleSetConfig(
        annotations="ai_challenger/keypoint_train_annotations_20170909.json",
        images="ai_challenger/keypoint_train_images_20170902",
        format="ai-challenger",
    )
    data = recipe.data.model_copy(update={"train": (*recipe.data.train, people)})
    return recipe.model_copy(update={"name": f"{recipe.name}-external", "data": data})


def other_backbone(name: str, backbone: Backbone, num_stages: int = 1) -> Recipe:
    """The paper's network with other modules (Tables 2 and 4)."""
    return coco(name, ModelConfig(backbone=backbone, num_stages=num_stages))


_FINEST_ONLY = SupervisionConfig(finer_last_stage=False)
"""Our reading of Table 6's BaseNet: one level a stage, the same kernel (7) everywhere."""


def hourglass(num_stages: int) -> Recipe:
    """Stacked hourglasses, supervised at the end of each (Table 3)."""
    return coco(f"hourglass-{num_stages}", HourglassConfig(num_stages=num_stages), _FINEST_ONLY)


def ablation() -> list[Recipe]:
    """Table 6: coarse-to-fine supervision, then cross-stage aggregation, added to MSPN and to hourglasses.

    Its last row of MSPN is mspn-2.
    """
    bare = ModelConfig(num_stages=2, aggregation=False, coarse_heads=False)
    four_levels = HourglassConfig(num_stages=4, coarse_heads=True)
    return [
        coco("mspn-2-base", bare, _FINEST_ONLY),
        coco("mspn-2-ctf", ModelConfig(num_stages=2, aggregation=False)),
        coco("hourglass-4-base", HourglassConfig(num_stages=4), _FINEST_ONLY),
        coco("hourglass-4-ctf", four_levels),
        coco("hourglass-4-csfa", four_levels.model_copy(update={"aggregation": True})),
    ]


def kernel_settings() -> list[Recipe]:
    """Table 7, settings 1 and 2: the same kernels in both stages; setting 3 is mspn-2."""
    narrower = SupervisionConfig(finer_last_stage=False, kernel_sizes=(11, 9, 7, 5, 3))
    return [
        coco("mspn-2-kernels-7-7", ModelConfig(num_stages=2), SupervisionConfig(finer_last_stage=False)),
        coco("mspn-2-kernels-5-5", ModelConfig(num_stages=2), narrower),
    ]


_BaselineDepth = Literal[50, 101, 152]
_BASELINE_DEPTHS: tuple[_BaselineDepth, ...] = (50, 101, 152)


def simple_baseline(depth: _BaselineDepth, input_size: Size) -> Recipe:
    """Xiao et al.'s network and targets (deviation of 2 cells, every labelled keypoint), our training."""
    supervision = SupervisionConfig(
        kernel_sizes=(17, 15, 13, 11, 9), finer_last_stage=False, coarse_target="labelled", num_hard_keypoints=None
    )
    model = SimpleBaselineConfig(backbone=f"resnet{depth}", input_size=input_size)
    name = f"simplebaseline-{depth}"
    is_default = input_size == ModelConfig().input_size
    return coco(name if is_default else f"{name}-{input_size.height}x{input_size.width}", model, supervision)


def cascaded_pyramid() -> Recipe:
    """Chen et al.'s network and mining (in the second part only), our training."""
    supervision = SupervisionConfig(finer_last_stage=False, mining="last_stage")
    return coco("cpn-50", CPNConfig(), supervision)


def small_192x128() -> Recipe:
    """Our embedded network: two narrow ResNet-18 stages for a few thousand photos and one CPU.

    Differs from the paper where little data asks for it: unlabelled keypoints never count as background, every
    keypoint counts (crowd-sourced labels are wrong now and then, and mining would seek out just those), and pixels
    near a keypoint weigh more, which leaves the flat start a little faster. The crop is smaller and slimmer than the
    paper's 4:3, at half the cost: the photos are no larger.
    """
    return Recipe(
        name="mspn-small",
        model=ModelConfig(
            backbone="resnet18", num_stages=2, stem_channels=32, up_channels=96, input_size=Size(192, 128)
        ),
        supervision=SupervisionConfig(coarse_target="labelled", num_hard_keypoints=None, foreground_weight=15.0),
        data=DataConfig(
            train=(
                PeopleSetConfig(
                    annotations="lspet_train/annotations.json",
                    images="lspet_train/images",
                    faces="lspet_train/faces.json",
                    never_labelled=FACE,
                ),
                PeopleSetConfig(annotations="coco_train/annotations.json", images="coco_train/images"),
                PeopleSetConfig(annotations="studio_train/annotations.json", images="studio_train/images"),
                PeopleSetConfig(annotations="web_train/annotations.json", images="web_train/images", weight=2.0),
            ),
            validation=PeopleSetConfig(annotations="lspet_val/annotations.json", images="lspet_val/images"),
        ),
        train=TrainConfig(
            iterations=10_000,
            batch_size=32,
            learning_rate=1e-3,
            warmup_iterations=300,
            precision="bfloat16",
            checkpoint_every=1000,
        ),
    )


def tiny_192x128() -> Recipe:
    """Our lightest embedded network: one EfficientNet-Lite0 stage, on the data and with the settings of the small one.

    Meant to start from ImageNet weights (`train.initial_weights`), which is worth more than any number of passes over
    so few photos. The weights are averaged over the iterations.
    """
    small = small_192x128()
    return Recipe(
        name="mspn-tiny",
        model=ModelConfig(backbone="efficientnet-lite0", num_stages=1, up_channels=96, input_size=Size(192, 128)),
        supervision=small.supervision,
        data=small.data,
        train=small.train.model_copy(update={"iterations": 4200, "ema_decay": 0.999}),
    )


def person_detector() -> DetectorRecipe:
    """Our embedded detector: one EfficientNet-Lite0 module that finds people at 1/8, 1/16 and 1/32.

    Meant to start from ImageNet weights (`train.initial_weights`), whose stem stays as it is. Where a set labels one
    person a picture and others stand beside, its labels are too rough to learn boxes from, and proposals count.
    """
    return DetectorRecipe(
        name="person-detector",
        data=SceneDataConfig(
            train=(
                _scenes("coco_train", weight=2.0),
                _scenes("web_train", weight=4.0),
                _scenes("studio_train", labelled="doubtful", weight=0.5),
                _scenes("lspet_train", labelled="doubtful", weight=0.25),
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


def _scenes(name: str, weight: float, labelled: Literal["people", "doubtful"] = "people") -> SceneSetConfig:
    return SceneSetConfig(
        annotations=f"{name}/annotations.json",
        images=f"{name}/images",
        proposals=f"{name}/people_boxes.json",
        labelled=labelled,
        weight=weight,
    )


_ALL = [
    *(coco_256x192(stages) for stages in (1, 2, 3, 4)),
    coco_384x288(4),
    external_384x288(),
    small_192x128(),
    tiny_192x128(),
    other_backbone("resnet101", "resnet101"),
    other_backbone("resnet152", "resnet152"),
    other_backbone("resnet254", "resnet254"),
    other_backbone("resnet18-2", "resnet18", num_stages=2),
    other_backbone("l-xcp", "xception-large"),
    other_backbone("s-xcp-4", "xception-small", num_stages=4),
    *(hourglass(stages) for stages in (1, 2, 4, 8)),
    *ablation(),
    *kernel_settings(),
    *(simple_baseline(depth, size) for size in (Size(256, 192), Size(384, 288)) for depth in _BASELINE_DEPTHS),
    cascaded_pyramid(),
]
RECIPES = {recipe.name: recipe for recipe in _ALL}
"""Of pose networks."""


DETECTOR_RECIPES = {recipe.name: recipe for recipe in [person_detector()]}


def find_recipe(name: str) -> Recipe:
    """The recipe of the pose network of that name.

    Raises:
        ValueError: naming close ones, if there is none.
    """
    return _find(name, RECIPES)


def find_any_recipe(name: str) -> AnyRecipe:
    """The recipe of that name, of a pose network or of a detector; errors as in `find_recipe`."""
    recipes: dict[str, Recipe | DetectorRecipe] = {**RECIPES, **DETECTOR_RECIPES}
    return _find(name, recipes)


_Found = TypeVar("_Found", bound=Recipe | DetectorRecipe)


def _find(name: str, recipes: Mapping[str, _Found]) -> _Found:
    if name in recipes:
        return recipes[name]
    close = difflib.get_close_matches(name, recipes, n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(recipes)}"
    raise ValueError(f"no recipe {name!r}; {hint}")
