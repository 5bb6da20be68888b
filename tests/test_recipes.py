import pytest

from mspn.recipes import RECIPES, find_recipe
from mspn.records import Size
from mspn.skeleton import FACE


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


def test_every_recipe_is_listed_under_its_own_name():
    assert all(recipe.name == name for name, recipe in RECIPES.items())


def test_every_recipe_has_data_and_crops_that_the_network_takes():
    for recipe in RECIPES.values():
        assert recipe.data.train
        assert recipe.model.input_size.height % 32 == 0
        assert recipe.model.input_size.width % 32 == 0


def test_faces_that_nobody_labelled_are_never_background_in_the_small_recipe():
    sports = find_recipe("mspn-small").data.train[0]

    assert sports.never_labelled == FACE


def test_a_misspelt_recipe_names_the_close_ones():
    with pytest.raises(ValueError, match=r"no recipe 'mspn-smal'; did you mean mspn-small"):
        find_recipe("mspn-smal")


def test_an_unknown_recipe_names_all():
    with pytest.raises(
        ValueError, match=r"no recipe 'xyzzy'; there are mspn-1, mspn-2, mspn-3, mspn-4, mspn-4-384x288, mspn-small"
    ):
        find_recipe("xyzzy")
