import pytest

from mspn.config.recipe import Recipe
from mspn.config.recipes import RECIPES, STUDY_RECIPES, find_recipe
from mspn.models.cost import count_cost
from mspn.structures.boxes import Size
from mspn.structures.skeleton import FACE
from mspn.training.losses import kernel_size_at


@pytest.mark.parametrize("num_stages", [1, 2, 3, 4])
def test_the_papers_networks_have_a_recipe_each(num_stages: int):
    recipe = find_recipe(f"mspn-{num_stages}")

    assert recipe.model.num_stages == num_stages
    assert recipe.model.backbone == "resnet50"
    assert recipe.model.input_size == Size(256, 192)


def test_the_papers_larger_crops_have_a_recipe():
    recipe = find_recipe("mspn-4-384x288")

    assert recipe.model.num_stages == 4
    assert recipe.model.input_size == Size(384, 288)


def test_external_data_join_coco_in_a_recipe_of_their_own():
    recipe = find_recipe("mspn-4-384x288-external")

    assert recipe.model == find_recipe("mspn-4-384x288").model
    assert recipe.data.train[0] == find_recipe("mspn-4-384x288").data.train[0]
    assert [people.format for people in recipe.data.train] == [None, "ai-challenger"]


def test_every_network_of_the_papers_tables_has_a_recipe():
    shapes = {
        "resnet101": "1 stage of resnet101",
        "resnet152": "1 stage of resnet152",
        "resnet254": "1 stage of resnet254",
        "resnet18-2": "2 stages of resnet18",
        "l-xcp": "1 stage of xception-large",
        "s-xcp-4": "4 stages of xception-small",
        "hourglass-1": "1 stage of hourglass",
        "hourglass-2": "2 stages of hourglass",
        "hourglass-4": "4 stages of hourglass",
        "hourglass-8": "8 stages of hourglass",
        "simplebaseline-50": "simple baseline on resnet50",
        "simplebaseline-101": "simple baseline on resnet101",
        "simplebaseline-152": "simple baseline on resnet152",
        "cpn-50": "CPN on resnet50",
        "rsn-18": "1 stage of rsn18",
        "rsn-50": "1 stage of rsn50",
        "rsn-50-2": "2 stages of rsn50",
        "rsn-50-3": "3 stages of rsn50",
        "rsn-50-4": "4 stages of rsn50",
        "rsn-18-paper": "1 stage of rsn18",
        "rsn-50-paper": "1 stage of rsn50",
        "res-18-1": "1 stage of resnet26",
    }

    assert {name: find_recipe(name).model.summary for name in shapes} == shapes


@pytest.mark.parametrize("network", ["mspn-2", "hourglass-4"])
def test_the_ablation_adds_coarse_levels_and_then_aggregation(network: str):
    last = "mspn-2" if network == "mspn-2" else "hourglass-4-csfa"
    rows = [find_recipe(name) for name in (f"{network}-base", f"{network}-ctf", last)]

    assert [(recipe.model.coarse_heads, recipe.model.aggregation) for recipe in rows] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    assert [_finest_kernels(recipe) for recipe in rows] == [{7}, {7, 5}, {7, 5}]


@pytest.mark.parametrize(
    ("name", "kernels"), [("mspn-2", {7, 5}), ("mspn-2-kernels-7-7", {7}), ("mspn-2-kernels-5-5", {5})]
)
def test_the_kernel_settings_of_table_7_have_recipes(name: str, kernels: set[int]):
    assert _finest_kernels(find_recipe(name)) == kernels


def test_simple_baselines_learn_bumps_of_about_2_cells_deviation_and_cpn_those_of_mspn():
    # A width of 11 has a deviation of 1.95 cells.
    assert _finest_kernels(find_recipe("simplebaseline-50"), num_stages=1) == {11}
    assert _finest_kernels(find_recipe("cpn-50")) == {7}


def _finest_kernels(recipe: Recipe, num_stages: int = 2) -> set[int]:
    """Target widths at the finest level of all stages."""
    return {
        kernel_size_at(recipe.supervision, stage=stage, num_stages=num_stages, level=0) for stage in range(num_stages)
    }


def test_every_recipe_is_listed_under_its_own_name():
    assert all(recipe.name == name for name, recipe in RECIPES.items())


def test_every_recipe_has_data_and_crops_that_the_network_takes():
    for recipe in RECIPES.values():
        assert recipe.data.train
        assert recipe.model.input_size.height % 32 == 0
        assert recipe.model.input_size.width % 32 == 0


def test_faces_that_nobody_labeled_are_never_background_in_the_small_recipe():
    sports = find_recipe("mspn-small").data.train[0]

    assert sports.never_labeled == FACE


def test_a_misspelt_recipe_names_the_close_ones():
    with pytest.raises(ValueError, match=r"no recipe 'mspn-smal'; did you mean mspn-small"):
        find_recipe("mspn-smal")


def test_an_unknown_recipe_names_all():
    with pytest.raises(
        ValueError,
        match=r"no recipe 'xyzzy'; there are mspn-1, mspn-2, mspn-3, mspn-4, mspn-4-384x288, .*, cpn-50",
    ):
        find_recipe("xyzzy")


def test_the_embedded_networks_fit_into_the_package_and_learn_the_same():
    tiny, small = find_recipe("mspn-tiny"), find_recipe("mspn-small")
    tiny_cost, small_cost = (count_cost(recipe.model).total for recipe in (tiny, small))

    assert (tiny.model.input_size, small.model.input_size) == (Size(192, 128), Size(256, 192))
    assert tiny_cost.gmacs == pytest.approx(0.252, abs=5e-4)
    assert small_cost.gmacs == pytest.approx(2 * tiny_cost.gmacs)  # twice as many cells
    assert 2 * small_cost.params < 16e6  # bytes of float16
    assert (tiny.data, tiny.supervision) == (small.data, small.supervision)
    assert small.train.initial_weights == "mspn-tiny"


def test_the_default_network_is_the_smaller_one_with_a_second_stage():
    base, small = find_recipe("mspn-base"), find_recipe("mspn-small")
    cost = count_cost(base.model).total

    assert base.model.num_stages == 2
    assert base.model.stages[0].backbone == small.model.backbone
    assert cost.gmacs_inference == pytest.approx(0.99, abs=5e-3)
    assert 2 * cost.params < 16e6  # bytes of float16
    assert base.train.frozen_parts == ("stem", "stages.0")  # which the first one has learned already
    assert base.train.initial_weights == "mspn-small"


def test_the_study_compares_networks_of_the_same_cost():
    gmacs = {name: count_cost(recipe.model).total.gmacs_inference for name, recipe in STUDY_RECIPES.items()}

    of_two_stages = gmacs["study-mspn-2"]
    for name in ("study-mspn-1-cost-of-2", "study-mspn-3-cost-of-2", "study-mspn-4-cost-of-2"):
        assert gmacs[name] == pytest.approx(of_two_stages, rel=0.07)
    assert gmacs["study-mspn-1-cost-of-4"] == pytest.approx(gmacs["study-mspn-4"], rel=0.07)
    assert of_two_stages < gmacs["study-hourglass-4"] < 1.25 * of_two_stages


def test_the_study_changes_only_what_its_tables_compare():
    base = STUDY_RECIPES["study-mspn-1"]

    for recipe in STUDY_RECIPES.values():
        compared = {"name": base.name, "model": base.model, "supervision": base.supervision}
        assert recipe.model_copy(update=compared) == base
    assert _finest_kernels(STUDY_RECIPES["study-mspn-2-kernels-7-7"]) == {7}
    assert _finest_kernels(STUDY_RECIPES["study-mspn-2-kernels-5-5"]) == {5}
    assert _finest_kernels(STUDY_RECIPES["study-mspn-2"]) == {7, 5}
