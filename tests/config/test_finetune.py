import pytest

from mspn.config.data import DataConfig, PeopleSetConfig
from mspn.config.embedded_recipes import finetune, fit_crop
from mspn.config.recipe import Recipe
from mspn.config.recipes import find_recipe
from mspn.structures.boxes import Size
from mspn.structures.skeleton import Skeleton

FISH = Skeleton(name="fish", keypoints=("mouth", "fin", "tail"))


def recipe_of(
    num_people: int,
    skeleton: Skeleton = FISH,
    *,
    num_held_out: int = 5,
    num_known: int = 0,
    mirror: bool = True,
    aspect_ratio: float = 2.0,
) -> Recipe:
    return finetune(
        find_recipe("mspn-small"),
        skeleton,
        DataConfig(train=(PeopleSetConfig(annotations="train.json"),)),
        num_people=num_people,
        num_held_out=num_held_out,
        num_known=num_known,
        aspect_ratio=aspect_ratio,
        mirror=mirror,
    )


def test_the_network_gets_the_keypoints_and_the_shape_of_the_boxes():
    recipe = recipe_of(24)

    # 256 x 192 are 49,152 pixels, which 157 x 314 have too.
    assert (recipe.model.num_keypoints, recipe.model.input_size) == (3, Size(160, 320))
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize(("num_people", "iterations"), [(1, 150), (25, 200), (100, 400), (10_000, 2000)])
def test_more_people_are_learned_longer(num_people: int, iterations: int):
    assert recipe_of(num_people).train.iterations == iterations


def test_steps_are_as_large_as_when_the_default_network_was_trained():
    # Rates are for 32 people: 3e-3 for 16 are 1.5e-3.
    ours, source = recipe_of(25).train, find_recipe("mspn-base").train

    assert ours.learning_rate * ours.batch_size == pytest.approx(source.learning_rate * source.batch_size)


@pytest.mark.parametrize(("num_known", "rate"), [(0, 3e-3), (1, 3e-3), (2, 5e-4), (3, 5e-4)])
def test_where_half_of_the_keypoints_are_known_steps_are_smaller(num_known: int, rate: float):
    assert recipe_of(25, num_known=num_known).train.learning_rate == rate


def test_the_held_out_images_measure_ten_times():
    # A tenth of 200 iterations is 20, of 16 people each: 320, where there are 25.
    assert recipe_of(25).data.train[0].weight == 12.8
    # Of many people, an epoch is longer.
    assert recipe_of(10_000).data.train[0].weight == 1


@pytest.mark.parametrize(("num_held_out", "patience"), [(19, None), (20, 4)])
def test_few_held_out_people_do_not_end_the_training(num_held_out: int, patience: int | None):
    assert recipe_of(80, num_held_out=num_held_out).train.patience == patience


def test_nothing_is_mirrored_that_has_no_mirror_image():
    recipe = recipe_of(24, mirror=False)

    assert (recipe.augmentation.mirror_probability, recipe.test.flip) == (0, False)
    assert (recipe_of(24).augmentation.mirror_probability, recipe_of(24).test.flip) == (0.5, True)


def test_half_bodies_need_an_upper_half():
    halves = FISH.model_copy(update={"upper": ("mouth",)})

    assert recipe_of(24).augmentation.half_body_probability == 0
    assert recipe_of(24, halves).augmentation.half_body_probability == 0.3


@pytest.mark.parametrize(
    ("aspect_ratio", "size"),
    [(0.75, Size(256, 192)), (1.0, Size(224, 224)), (9.0, Size(160, 320)), (0.01, Size(320, 160))],
)
def test_crops_of_any_shape_have_about_as_many_pixels(aspect_ratio: float, size: Size):
    assert fit_crop(Size(256, 192), aspect_ratio) == size
