"""Recipes of the paper's networks, of those that it is compared with, and of the authors' next one, trained on COCO."""

from typing import Literal

from mspn.config.data import DataConfig, PeopleSetConfig
from mspn.config.model import Backbone, CPNConfig, HourglassConfig, ModelConfig, NetworkConfig, SimpleBaselineConfig
from mspn.config.recipe import Recipe
from mspn.config.supervision import SupervisionConfig
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
