from dataclasses import replace

from mspn.data.check import check_labels
from mspn.data.labels import LabelledPicture
from tests.labelled_sets import SIZE, sound_set, with_person


def test_a_picture_id_that_is_taken_twice_is_found():
    labels = sound_set()
    labels = replace(labels, pictures=[*labels.pictures, LabelledPicture(3, "other.png", SIZE)])

    (finding,) = check_labels(labels)

    assert (finding.kind, finding.picture_id, finding.person_id) == ("duplicate_picture_id", 3, None)
    assert finding.words == "id 3 is of 3.png, other.png"


def test_a_file_that_two_pictures_name_is_found():
    labels = sound_set()
    labels = replace(labels, pictures=[*labels.pictures, LabelledPicture(7, "3.png", SIZE)])

    (finding,) = check_labels(labels)

    assert (finding.kind, finding.picture) == ("same_file", "3.png")
    assert finding.words == "pictures 3, 7 name this one file"


def test_a_person_of_an_unknown_picture_is_found():
    (finding,) = check_labels(with_person(sound_set(), 4, picture_id=99))

    assert (finding.kind, finding.picture, finding.picture_id, finding.person_id) == ("unknown_picture", None, 99, 4)
    assert finding.words == "its picture 99 is not in the labels"
    assert finding.place == "person 4"


def test_a_person_id_that_is_taken_twice_is_found_once():
    (finding,) = check_labels(with_person(sound_set(), 5, id=1))

    assert (finding.kind, finding.picture, finding.person_id) == ("duplicate_person_id", "1.png", 1)
    assert finding.words == "people in pictures 1, 3 have this id"
