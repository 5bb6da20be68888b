import numpy as np

from mspn.config.data import DataConfig
from mspn.config.model import ModelConfig
from mspn.config.recipe import Recipe
from mspn.predict.pseudo_labels import Suggestion, as_labels, rank_suggestions
from mspn.structures.boxes import Box, Size
from mspn.structures.pose import Pose
from mspn.structures.skeleton import Skeleton

STICK = Skeleton(name="stick", keypoints=("head", "foot"), category="stick")
RECIPE = Recipe(name="stick", skeleton=STICK, model=ModelConfig(num_keypoints=2))


def pose(scores: tuple[float, float] = (1.0, 1.0), head: tuple[float, float] = (1, 2)) -> Pose:
    points = np.array([head, (3.004, 4.0)])
    return Pose(STICK, points, np.array(scores), 0.5, 0.5, Box(0, 0, 9, 9), 1.0)


def test_photos_with_the_least_certain_person_come_first_and_those_without_anybody_last():
    sure, crowd = pose((0.9, 0.9)), [pose((1, 1)), pose((0.2, 0.4))]
    suggestions = [
        Suggestion(name, Size(10, 10), poses)
        for name, poses in (("nobody", []), ("sure", [sure]), ("crowd", crowd), ("half", [pose((0.4, 0.8))]))
    ]

    ranked = rank_suggestions(suggestions, 4)

    # The crowd's worst is 0.3, half of 0.4 and 0.8 is 0.6.
    assert [suggestion.file_name for suggestion in ranked] == ["crowd", "half", "sure", "nobody"]
    assert round(ranked[0].certainty, 6) == 0.3
    assert [suggestion.file_name for suggestion in rank_suggestions(suggestions, 1)] == ["crowd"]


def test_suggestions_are_labels_numbered_in_their_order():
    two = [pose(), pose(head=(10, 2))]  # the last column of an image 10 wide is 9

    labels = as_labels([Suggestion("b.png", Size(10, 10), two), Suggestion("a.png", Size(8, 8), [pose()])], RECIPE)

    assert [(image.id, image.file_name, image.size) for image in labels.images] == [
        (1, "b.png", Size(10, 10)),
        (2, "a.png", Size(8, 8)),
    ]
    assert [(person.id, person.image_id, person.box) for person in labels.people] == [
        (1, 1, Box(0, 0, 9, 9)),
        (2, 1, Box(0, 0, 9, 9)),
        (3, 2, Box(0, 0, 9, 9)),
    ]
    assert labels.people[0].keypoints_image.tolist() == [[1, 2, 2], [3, 4, 2]]
    assert labels.people[1].keypoints_image.tolist() == [[0, 0, 0], [3, 4, 2]]
    assert (labels.skeleton, labels.category) == (STICK, "stick")


def test_networks_of_whole_images_give_no_boxes():
    recipe = RECIPE.model_copy(update={"data": DataConfig(boxes="image")})

    (person,) = as_labels([Suggestion("a.png", Size(10, 10), [pose()])], recipe).people

    assert person.box is None
