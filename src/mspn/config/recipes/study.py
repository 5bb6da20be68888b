"""Recipes of the study (docs/study.md): the paper's comparisons, with networks that one CPU core trains in minutes.

Modules are narrow ResNet-18s in place of ResNet-50s, crops 128x96 in place of 256x192. Everybody sees the same people,
as often, with the same schedule and supervision, but for what a table compares.
"""

from mspn.config.model import HourglassConfig, ModelConfig, NetworkConfig
from mspn.config.recipe import Recipe
from mspn.config.recipes.embedded import PHOTOS, SUPERVISION
from mspn.config.supervision import SupervisionConfig
from mspn.config.train import TrainConfig
from mspn.structures.boxes import Size

_INPUT_SIZE = Size(128, 96)
_WIDTH = 16
"""stem_channels of a module; its up-sampling units have three times as many channels."""
_SAME_KERNEL = SUPERVISION.model_copy(update={"finer_last_stage": False})


def study() -> list[Recipe]:
    return [*_numbers_of_stages(), *_hourglasses(), *_parts_of_mspn(), *_kernels()]


def _numbers_of_stages() -> list[Recipe]:
    """Table 3 and Figure 1: stages of the same width; stages at the cost of two; and one stage that grows wider."""
    return [
        *(_recipe(f"study-mspn-{stages}", _mspn(stages)) for stages in (1, 2, 3, 4)),
        *(
            _recipe(f"study-mspn-{stages}-cost-of-2", _mspn(stages, width))
            for stages, width in ((1, 22), (3, 13), (4, 12))
        ),
        _recipe("study-mspn-1-cost-of-4", _mspn(1, 31)),
    ]


def _hourglasses() -> list[Recipe]:
    """Table 3's and, for four of them, Table 6's."""
    four_levels = _hourglass(4).model_copy(update={"coarse_heads": True})
    return [
        *(_recipe(f"study-hourglass-{stages}", _hourglass(stages), _SAME_KERNEL) for stages in (1, 2, 4)),
        _recipe("study-hourglass-4-ctf", four_levels),
        _recipe("study-hourglass-4-csfa", four_levels.model_copy(update={"aggregation": True})),
    ]


def _parts_of_mspn() -> list[Recipe]:
    """Table 6; its last row is study-mspn-2."""
    without_aggregation = _mspn(2).model_copy(update={"aggregation": False})
    return [
        _recipe("study-mspn-2-base", without_aggregation.model_copy(update={"coarse_heads": False}), _SAME_KERNEL),
        _recipe("study-mspn-2-ctf", without_aggregation),
    ]


def _kernels() -> list[Recipe]:
    """Table 7, settings 1 and 2; setting 3 is study-mspn-2."""
    narrower = _SAME_KERNEL.model_copy(update={"kernel_sizes": (11, 9, 7, 5, 3)})
    return [
        _recipe("study-mspn-2-kernels-7-7", _mspn(2), _SAME_KERNEL),
        _recipe("study-mspn-2-kernels-5-5", _mspn(2), narrower),
    ]


def _mspn(num_stages: int, width: int = _WIDTH) -> ModelConfig:
    return ModelConfig(
        backbone="resnet18", num_stages=num_stages, stem_channels=width, up_channels=3 * width, input_size=_INPUT_SIZE
    )


def _hourglass(num_stages: int) -> HourglassConfig:
    """Of the width at which one hourglass costs about as much as one module, and four as much as two."""
    return HourglassConfig(num_stages=num_stages, stem_channels=_WIDTH, channels=44, input_size=_INPUT_SIZE)


def _recipe(name: str, model: NetworkConfig, supervision: SupervisionConfig = SUPERVISION) -> Recipe:
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
