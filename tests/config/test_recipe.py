import re
from typing import get_args

import pytest
from pydantic import ValidationError

from mspn.config.data import PeopleSetConfig
from mspn.config.model import (
    Backbone,
    BackboneConfig,
    CPNConfig,
    HourglassConfig,
    ModelConfig,
    NetworkConfig,
    SimpleBaselineConfig,
)
from mspn.config.protocol import ProtocolConfig
from mspn.config.recipe import Recipe, override, parse_recipe
from mspn.config.recipes import RECIPES, find_recipe
from mspn.config.train import PAPER_AUGMENTATION, AugmentationConfig, SupervisionConfig, TrainConfig
from mspn.errors import SettingsError
from mspn.models.backbones import BACKBONES
from mspn.structures.boxes import Size

RECIPE = find_recipe("mspn-2")


def test_defaults_are_those_of_the_released_code():
    assert (RECIPE.model.num_stages, RECIPE.model.up_channels, RECIPE.model.input_size) == (2, 256, Size(256, 192))
    assert RECIPE.supervision.kernel_sizes == (15, 11, 9, 7, 5)
    assert RECIPE.supervision.num_hard_keypoints == 8
    assert RECIPE.train.learning_rate == 5e-4
    assert RECIPE.train.weight_decay == 1e-5
    assert RECIPE.test.padding == (1.09, 1.135)


def test_settings_cannot_be_changed_in_place():
    with pytest.raises(ValidationError, match="frozen"):
        RECIPE.train.batch_size = 8


@pytest.mark.parametrize("text", ["384x288", "[384, 288]"])
def test_an_input_size_is_written_as_text_or_as_a_list(text: str):
    assert override(RECIPE, [f"model.input_size={text}"]).model.input_size == Size(384, 288)


def test_a_text_that_is_no_input_size_is_refused():
    with pytest.raises(SettingsError, match=r"model\.input_size: input size 384: write height x width in pixels"):
        override(RECIPE, ["model.input_size='384'"])
    with pytest.raises(SettingsError, match=r"model\.input_size: .*multiples of 32 pixels up to 1024, not 384x280"):
        override(RECIPE, ["model.input_size=384x280"])


def test_an_unknown_setting_names_the_close_one_and_all_others():
    message = r"no setting 'num_stage' in ModelConfig; did you mean 'num_stages'\? it has aggregation, .*up_channels"

    with pytest.raises(ValidationError, match=message):
        ModelConfig(num_stage=3)


def test_an_unknown_setting_close_to_none_names_all():
    with pytest.raises(
        ValidationError,
        match=r"no setting 'xyzzy' in DataConfig; it has boxes, order, root, train, validation, workers",
    ):
        Recipe.model_validate({"name": "x", "data": {"xyzzy": 1}})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ModelConfig, {"num_stages": 0}),
        (ModelConfig, {"backbone": "resnet35"}),
        (SupervisionConfig, {"coarse_weight": -1}),
        (AugmentationConfig, {"mirror_probability": 1.5}),
        (PeopleSetConfig, {"annotations": "a.json", "images": "a", "weight": 0}),
        (TrainConfig, {"batch_size": 0}),
        (TrainConfig, {"learning_rate": float("nan")}),
        (ProtocolConfig, {"decoder": "argmax"}),
    ],
)
def test_an_impossible_value_is_refused_on_the_spot(kind: type, values: dict):
    with pytest.raises(ValidationError, match=next(key for key in values if key not in ("annotations", "images"))):
        kind(**values)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (ModelConfig, {"input_size": (250, 190)}),  # no multiple of 32
        (ModelConfig, {"input_size": (0, -32)}),
        (AugmentationConfig, {"scale": (0.0, 0.0)}),  # a crop of no width
        (AugmentationConfig, {"scale": (1.0, 0.5)}),  # from 1 down to a half
        (AugmentationConfig, {"random_padding": (-2.0, 0.0)}),
        (ProtocolConfig, {"padding": (0.0, 1.0)}),
        (ProtocolConfig, {"blur_kernel": 4}),  # even
    ],
)
def test_impossible_sizes_and_ranges_are_refused_on_the_spot(kind: type, values: dict):
    with pytest.raises(ValidationError, match=next(iter(values))):
        kind(**values)


@pytest.mark.parametrize("sizes", [(15, 11, 9, 7), (15, 11, 9, 7, 4), (15, 11, 9, 7, 1)])
def test_kernels_that_are_not_five_odd_numbers_are_refused(sizes: tuple[int, ...]):
    with pytest.raises(
        ValidationError, match=r"kernel_sizes must be five odd numbers from 3 to 255, not \[15, 11, 9, 7"
    ):
        SupervisionConfig(kernel_sizes=sizes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_stages": 3}, "stages lists 2 backbones, but num_stages is 3"),
        ({"backbone": "resnet34"}, "the first of stages must be the network's own backbone, resnet34"),
        ({"stem_channels": 16}, "the first of stages must be the network's own backbone, resnet50"),
    ],
)
def test_stages_that_contradict_the_network_are_refused(changes: dict, message: str):
    stages = (BackboneConfig(), BackboneConfig(backbone="resnet18"))
    with pytest.raises(ValidationError, match=message):
        ModelConfig(stages=stages, **changes)


def test_a_recipe_whose_keypoints_disagree_is_refused():
    with pytest.raises(
        ValidationError, match=r"model.num_keypoints is 16, but skeleton coco-17 has 17; make them agree"
    ):
        Recipe(name="x", model=ModelConfig(num_keypoints=16))


def test_a_network_that_names_no_kind_is_mspn():
    # As in weights written before there were others.
    old = {"name": "x", "model": {"backbone": "resnet50", "num_stages": 3}}

    assert Recipe.model_validate(old).model == ModelConfig(num_stages=3)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mspn", ModelConfig()),
        ("hourglass", HourglassConfig()),
        ("simplebaseline", SimpleBaselineConfig()),
        ("cpn", CPNConfig()),
    ],
)
def test_the_kind_chooses_the_network(kind: str, expected: NetworkConfig):
    assert Recipe(name="x", model={"kind": kind}).model == expected
    assert Recipe(name="x", model=expected).model == expected


def test_an_unknown_kind_of_network_names_those_that_there_are():
    message = r"model: .*'transformer'.*'mspn', 'hourglass', 'simplebaseline', 'cpn'"

    with pytest.raises(SettingsError, match=message):
        override(RECIPE, ["model.kind=transformer"])


def test_every_backbone_of_the_settings_can_be_built():
    assert set(get_args(Backbone)) == set(BACKBONES)


@pytest.mark.parametrize(
    ("config", "summary"),
    [
        (ModelConfig(num_stages=1), "1 stage of resnet50"),
        (
            ModelConfig(stages=(BackboneConfig(), BackboneConfig(backbone="resnet18", stem_channels=32))),
            "2 stages of resnet50, resnet18",
        ),
        (HourglassConfig(num_stages=8), "8 stages of hourglass"),
        (SimpleBaselineConfig(backbone="resnet152"), "simple baseline on resnet152"),
        (CPNConfig(), "CPN on resnet50"),
    ],
)
def test_networks_are_named_in_a_few_words(config: NetworkConfig, summary: str):
    assert config.summary == summary


def test_a_recipe_knows_its_keypoint_table():
    recipe = Recipe(name="x", skeleton="mpii-16", model=ModelConfig(num_keypoints=16))

    assert recipe.keypoint_table.keypoints[6] == "pelvis"


def test_a_recipe_survives_json():
    for recipe in RECIPES.values():
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


def test_settings_are_overridden_by_path():
    changed = override(
        RECIPE,
        [
            *("train.batch_size=8", "model.input_size=[384, 288]", "supervision.num_hard_keypoints=null"),
            *("train.precision=bfloat16", "model.aggregation=off", "name=mine"),
        ],
    )

    assert changed.train.batch_size == 8
    assert changed.model.input_size == Size(384, 288)
    assert changed.supervision.num_hard_keypoints is None
    assert changed.train.precision == "bfloat16"
    assert changed.model.aggregation is False
    assert changed.name == "mine"
    assert changed.train.seed == RECIPE.train.seed
    assert RECIPE.train.batch_size == 256


def test_the_last_override_of_a_setting_counts():
    assert override(RECIPE, ["train.seed=1", "train.seed=2"]).train.seed == 2


def test_no_override_changes_nothing():
    assert override(RECIPE, []) == RECIPE


def test_an_override_of_an_unknown_setting_names_the_close_one():
    message = r"^--set train.batchsize=8: train: no setting 'batchsize' in TrainConfig; did you mean 'batch_size'\?"

    with pytest.raises(SettingsError, match=message):
        override(RECIPE, ["train.batchsize=8"])


@pytest.mark.parametrize("path", ["trian.batch_size", "train.batch_size.more"])
def test_an_override_in_an_unknown_group_is_refused(path: str):
    with pytest.raises(SettingsError, match=rf"--set {path}=8: no group of settings '(trian|batch_size)'; "):
        override(RECIPE, [f"{path}=8"])


def test_an_unknown_group_names_those_that_there_are():
    with pytest.raises(SettingsError, match=r"there are model, supervision, augmentation, data, train, test$"):
        override(RECIPE, ["xyz.seed=1"])
    with pytest.raises(SettingsError, match=r"did you mean 'train'\?"):
        override(RECIPE, ["trian.seed=1"])


def test_an_override_reaches_into_lists_by_position():
    recipe = override(RECIPE, ["data.train=[{annotations: a.json, images: a}]", "data.train.0.weight=3"])

    assert recipe.data.train[0].weight == 3
    with pytest.raises(SettingsError, match=r"data\.train is a list and has no item '1'"):
        override(recipe, ["data.train.1=3"])
    with pytest.raises(SettingsError, match=r"model\.input_size is a list and has no item 'height'"):
        override(RECIPE, ["model.input_size.height=64"])


def test_a_named_augmentation_can_be_changed_in_parts():
    recipe = override(RECIPE, ["augmentation=paper", "augmentation.mirror_probability=0"])

    assert recipe.augmentation == PAPER_AUGMENTATION.model_copy(update={"mirror_probability": 0})


def test_an_override_without_a_value_says_how_to_write_it():
    with pytest.raises(
        SettingsError, match=r"--set train.seed: write it as name=value, for example train.batch_size=8"
    ):
        override(RECIPE, ["train.seed"])


def test_an_override_that_is_no_yaml_is_refused_in_one_line():
    with pytest.raises(SettingsError, match=r"--set train.seed=\[1: the value is not YAML") as caught:
        override(RECIPE, ["train.seed=[1"])

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("assignment", ["train.batch_size=many", "train.batch_size=0", "train.precision=float8"])
def test_an_override_with_a_bad_value_names_the_setting(assignment: str):
    path = assignment.partition("=")[0]

    with pytest.raises(SettingsError, match=rf"^--set {assignment}: {path}: Input should be"):
        override(RECIPE, [assignment])


def test_a_bad_override_among_others_is_told_without_them():
    with pytest.raises(SettingsError, match=r"^--set: train\.batch_size: Input should be"):
        override(RECIPE, ["train.seed=1", "train.batch_size=many"])


def test_an_override_that_makes_a_recipe_contradict_itself_is_refused():
    with pytest.raises(
        SettingsError, match=r"--set model.num_keypoints=16: model.num_keypoints is 16, but skeleton coco-17 has 17"
    ):
        override(RECIPE, ["model.num_keypoints=16"])


def test_what_is_no_table_of_settings_is_refused():
    with pytest.raises(SettingsError, match=r"^recipe.json: Input should be a valid dictionary"):
        parse_recipe([1, 2], where="recipe.json")


@pytest.mark.parametrize(
    "setting",
    [
        *("train.batch_size=2147483648", "train.threads=2147483648", "train.seed=18446744073709551616"),
        *("train.iterations=1000000001", "train.accumulate=65537", "data.workers=257", "test.blur_kernel=257"),
        *("supervision.kernel_sizes=[15, 11, 9, 7, 257]", "model.num_stages=17", "test.score_offset=.inf"),
    ],
)
def test_settings_that_would_take_all_memory_are_refused(setting: str):
    name = setting.partition("=")[0].replace("supervision.kernel_sizes", "kernel_sizes")

    with pytest.raises(SettingsError, match=re.escape(name)):
        override(RECIPE, [setting])
