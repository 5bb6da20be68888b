"""Every recipe by its name: the paper's networks, those that it is compared with, the study's."""

import difflib
from collections.abc import Mapping
from typing import Literal, TypeVar

from mspn.config.data import DataConfig, PeopleSetConfig
from mspn.config.embedded_recipes import PHOTOS, SUPERVISION, base_256x192, person_detector, small_256x192, tiny_192x128
from mspn.config.model import Backbone, CPNConfig, HourglassConfig, ModelConfig, NetworkConfig, SimpleBaselineConfig
from mspn.config.recipe import AnyRecipe, DetectorRecipe, Recipe
from mspn.config.train import SupervisionConfig, TrainConfig
from mspn.errors import InvalidValueError
from mspn.structures.boxes import Size

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
BASELINE_DEPTHS: tuple[_BaselineDepth, ...] = (50, 101, 152)


def simple_baseline(depth: _BaselineDepth, input_size: Size) -> Recipe:
    """Xiao et al.'s network and targets (deviation of 2 cells, every labeled keypoint), our training."""
    supervision = SupervisionConfig(
        kernel_sizes=(17, 15, 13, 11, 9), finer_last_stage=False, coarse_target="labeled", num_hard_keypoints=None
    )
    model = SimpleBaselineConfig(backbone=f"resnet{depth}", input_size=input_size)
    name = f"simplebaseline-{depth}"
    is_default = input_size == ModelConfig().input_size
    return coco(name if is_default else f"{name}-{input_size.height}x{input_size.width}", model, supervision)


def cascaded_pyramid() -> Recipe:
    """Chen et al.'s network and mining (in the second part only), our training."""
    supervision = SupervisionConfig(finer_last_stage=False, ohkm="last_stage")
    return coco("cpn-50", CPNConfig(), supervision)


def rsn(name: str, backbone: Backbone, num_stages: int = 1) -> Recipe:
    """Residual Steps Networks of the released rule (Cai et al. 2020), trained as the paper's networks, as theirs were.

    `train=mmpose` is MMPose's schedule, `train=mmpose-rsn-18` that of its smallest.
    """
    return coco(name, ModelConfig(backbone=backbone, num_stages=num_stages))


def rsn_as_in_their_paper() -> list[Recipe]:
    """Our reading of their paper's networks: branches of the block's own width, RSN-50's blocks four times expanded.

    These have the parameters and costs that the paper gives, the released ones have not (docs/paper-to-code.md).
    """
    return [
        coco("rsn-18-paper", ModelConfig(backbone="rsn18", num_stages=1, rsn_width="own")),
        coco("rsn-50-paper", ModelConfig(backbone="rsn50", num_stages=1, rsn_width="own", rsn_expansion=4)),
    ]


def rsn_baseline() -> Recipe:
    """The ResNet that RSN-18 is compared with: bottlenecks that are not expanded, two in each layer."""
    return coco("res-18-1", ModelConfig(backbone="resnet26", bottleneck_expansion=1, num_stages=1))


_STUDY_INPUT_SIZE = Size(128, 96)
_STUDY_WIDTH = 16
"""stem_channels of a module; its up-sampling units have three times as many channels."""
_SAME_KERNEL = SUPERVISION.model_copy(update={"finer_last_stage": False})


def study() -> list[Recipe]:
    """Recipes of docs/study.md: the paper's comparisons, with networks that one CPU core trains in minutes.

    Modules are narrow ResNet-18s in place of ResNet-50s, crops 128x96 in place of 256x192. Everybody sees the same
    people, as often, with the same schedule and supervision, but for what a table compares.
    """
    return [*_numbers_of_stages(), *_hourglasses(), *_parts_of_mspn(), *_kernels()]


def _numbers_of_stages() -> list[Recipe]:
    """Table 3 and Figure 1: stages of the same width; stages at the cost of two; and one stage that grows wider."""
    return [
        *(_study_recipe(f"study-mspn-{stages}", _study_mspn(stages)) for stages in (1, 2, 3, 4)),
        *(
            _study_recipe(f"study-mspn-{stages}-cost-of-2", _study_mspn(stages, width))
            for stages, width in ((1, 22), (3, 13), (4, 12))
        ),
        _study_recipe("study-mspn-1-cost-of-4", _study_mspn(1, 31)),
    ]


def _hourglasses() -> list[Recipe]:
    """Table 3's and, for four of them, Table 6's."""
    four_levels = _study_hourglass(4).model_copy(update={"coarse_heads": True})
    return [
        *(_study_recipe(f"study-hourglass-{stages}", _study_hourglass(stages), _SAME_KERNEL) for stages in (1, 2, 4)),
        _study_recipe("study-hourglass-4-ctf", four_levels),
        _study_recipe("study-hourglass-4-csfa", four_levels.model_copy(update={"aggregation": True})),
    ]


def _parts_of_mspn() -> list[Recipe]:
    """Table 6; its last row is study-mspn-2."""
    without_aggregation = _study_mspn(2).model_copy(update={"aggregation": False})
    return [
        _study_recipe(
            "study-mspn-2-base", without_aggregation.model_copy(update={"coarse_heads": False}), _SAME_KERNEL
        ),
        _study_recipe("study-mspn-2-ctf", without_aggregation),
    ]


def _kernels() -> list[Recipe]:
    """Table 7, settings 1 and 2; setting 3 is study-mspn-2."""
    narrower = _SAME_KERNEL.model_copy(update={"kernel_sizes": (11, 9, 7, 5, 3)})
    return [
        _study_recipe("study-mspn-2-kernels-7-7", _study_mspn(2), _SAME_KERNEL),
        _study_recipe("study-mspn-2-kernels-5-5", _study_mspn(2), narrower),
    ]


def _study_mspn(num_stages: int, width: int = _STUDY_WIDTH) -> ModelConfig:
    return ModelConfig(
        backbone="resnet18",
        num_stages=num_stages,
        stem_channels=width,
        up_channels=3 * width,
        input_size=_STUDY_INPUT_SIZE,
    )


def _study_hourglass(num_stages: int) -> HourglassConfig:
    """Of the width at which one hourglass costs about as much as one module, and four as much as two."""
    return HourglassConfig(num_stages=num_stages, stem_channels=_STUDY_WIDTH, channels=44, input_size=_STUDY_INPUT_SIZE)


def _study_recipe(name: str, model: NetworkConfig, supervision: SupervisionConfig = SUPERVISION) -> Recipe:
    train = TrainConfig(
        iterations=3750,
        batch_size=16,
        learning_rate=2e-3,
        warmup_iterations=200,
        precision="bfloat16",
        checkpoint_every=1000,
    )
    data = PHOTOS.model_copy(update={"validation": None})
    return Recipe(name=name, model=model, supervision=supervision, data=data, train=train)


_ALL = [
    *(coco_256x192(stages) for stages in (1, 2, 3, 4)),
    coco_384x288(4),
    external_384x288(),
    base_256x192(),
    small_256x192(),
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
    *(simple_baseline(depth, size) for size in (Size(256, 192), Size(384, 288)) for depth in BASELINE_DEPTHS),
    cascaded_pyramid(),
    rsn("rsn-18", "rsn18"),
    rsn("rsn-50", "rsn50"),
    *(rsn(f"rsn-50-{stages}", "rsn50", stages) for stages in (2, 3, 4)),
    *rsn_as_in_their_paper(),
    rsn_baseline(),
]
RECIPES = {recipe.name: recipe for recipe in _ALL}
"""Of pose networks to use."""

STUDY_RECIPES = {recipe.name: recipe for recipe in study()}
"""Of small pose networks that are trained only to be compared (docs/study.md)."""

DETECTOR_RECIPES = {recipe.name: recipe for recipe in [person_detector()]}


def find_recipe(name: str) -> Recipe:
    """The recipe of the pose network of that name.

    Raises:
        ValueError: naming close ones, if there is none.
    """
    return _find(name, {**RECIPES, **STUDY_RECIPES})


def find_any_recipe(name: str) -> AnyRecipe:
    """The recipe of that name, of a pose network or of a detector; errors as in `find_recipe`."""
    recipes: dict[str, Recipe | DetectorRecipe] = {**RECIPES, **STUDY_RECIPES, **DETECTOR_RECIPES}
    return _find(name, recipes)


_Found = TypeVar("_Found", bound=Recipe | DetectorRecipe)


def _find(name: str, recipes: Mapping[str, _Found]) -> _Found:
    if name in recipes:
        return recipes[name]
    close = difflib.get_close_matches(name, recipes, n=3)
    there_are = ", ".join(known for known in recipes if known not in STUDY_RECIPES)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {there_are}"
    raise InvalidValueError(f"no recipe {name!r}; {hint}")
