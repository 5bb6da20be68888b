from dataclasses import replace

import numpy as np

from mspn.outputs.choice import PeopleChooser, PeopleSettings
from mspn.predict.pipeline import ImageResult
from mspn.structures.boxes import Box, Size
from mspn.structures.image import FrameInfo, Image, Video
from mspn.structures.pose import Pose
from tests.outputs.results import a_pose

SIZE = Size(400, 600)
VIDEO = Video("walk.mp4", SIZE, None, None, is_live=False)


def _person(left: float, height: float, track_id: int | None = None) -> Pose:
    """Half as wide as tall, on row 300."""
    return replace(a_pose(), box=Box(left, 300 - height, height / 2, height), track_id=track_id)


def _result(people: list[Pose], seconds: float | None = None) -> ImageResult:
    frame = None if seconds is None else FrameInfo(VIDEO, round(seconds * 25), seconds)
    return ImageResult("a", Image("a", np.zeros((*SIZE, 3), np.uint8), frame), people, [])


def _lefts(result: ImageResult) -> list[float]:
    return [pose.box.left for pose in result.poses]


def test_the_largest_or_the_most_central_people_are_chosen_in_their_order():
    people = [_person(0, 100), _person(270, 120), _person(400, 200)]

    assert _lefts(PeopleChooser(PeopleSettings(num_people=1)).choose(_result(people))) == [400]
    assert _lefts(PeopleChooser(PeopleSettings(num_people=2)).choose(_result(people))) == [270, 400]
    central = PeopleChooser(PeopleSettings(num_people=1, chosen_by="center"))
    assert _lefts(central.choose(_result(people))) == [270]  # its middle is in column 300


def test_whoever_is_chosen_in_a_video_stays_chosen_while_others_grow():
    chooser = PeopleChooser(PeopleSettings(num_people=1))

    first = chooser.choose(_result([_person(0, 200, 1), _person(300, 100, 2)], 0.0))
    second = chooser.choose(_result([_person(0, 200, 1), _person(300, 250, 2)], 0.04))

    assert (_lefts(first), _lefts(second)) == ([0], [0])


def test_whoever_is_hidden_is_waited_for_and_then_somebody_else_is_chosen():
    chooser = PeopleChooser(PeopleSettings(num_people=1))
    chooser.choose(_result([_person(0, 200, 1), _person(300, 100, 2)], 0.0))

    assert _lefts(chooser.choose(_result([_person(300, 100, 2)], 1.9))) == []
    assert _lefts(chooser.choose(_result([_person(0, 200, 1), _person(300, 100, 2)], 2.0))) == [0]
    assert _lefts(chooser.choose(_result([_person(300, 100, 2)], 4.1))) == [300]


def test_another_video_is_chosen_from_anew():
    chooser = PeopleChooser(PeopleSettings(num_people=1))
    chooser.choose(_result([_person(0, 200, 1)], 0.0))
    other = replace(VIDEO, source="run.mp4")
    image = Image("b", np.zeros((*SIZE, 3), np.uint8), FrameInfo(other, 0, 0.0))

    result = chooser.choose(ImageResult("b", image, [_person(0, 100, 1), _person(300, 150, 2)], []))

    assert _lefts(result) == [300]


def test_tracks_and_regions_are_chosen_together():
    people = [_person(0, 100, 3), _person(300, 100, 3), _person(320, 100, 4), _person(340, 100, 7)]
    chooser = PeopleChooser(PeopleSettings(track_ids=(3, 7), region=Box(300, 200, 100, 100)))

    assert _lefts(chooser.choose(_result(people, 0.0))) == [300, 340]


def test_without_wishes_everybody_is_there_and_what_cannot_be_read_stays():
    people = [_person(0, 100), _person(300, 100)]
    chooser = PeopleChooser(PeopleSettings(num_people=1))

    assert _lefts(PeopleChooser(PeopleSettings()).choose(_result(people))) == [0, 300]
    assert chooser.choose(ImageResult("a", None, [], ["not an image"])).problems == ["not an image"]
