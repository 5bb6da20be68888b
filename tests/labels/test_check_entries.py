from dataclasses import replace

from mspn.labels.checks import check_labels
from mspn.labels.label_set import LabeledImage
from tests.labeled_sets import SIZE, sound_set, with_person


def test_an_image_id_that_is_taken_twice_is_found():
    labels = sound_set()
    labels = replace(labels, images=[*labels.images, LabeledImage(3, "other.png", SIZE)])

    (finding,) = check_labels(labels)

    assert (finding.kind, finding.image_id, finding.person_id) == ("duplicate_image_id", 3, None)
    assert finding.message == "id 3 is of 3.png, other.png"


def test_a_file_that_two_images_name_is_found():
    labels = sound_set()
    labels = replace(labels, images=[*labels.images, LabeledImage(7, "3.png", SIZE)])

    (finding,) = check_labels(labels)

    assert (finding.kind, finding.image) == ("same_file", "3.png")
    assert finding.message == "images 3, 7 name this one file"


def test_a_person_of_an_unknown_image_is_found():
    (finding,) = check_labels(with_person(sound_set(), 4, image_id=99))

    assert (finding.kind, finding.image, finding.image_id, finding.person_id) == ("unknown_image", None, 99, 4)
    assert finding.message == "its image 99 is not in the labels"
    assert finding.place == "person 4"


def test_a_person_id_that_is_taken_twice_is_found_once():
    (finding,) = check_labels(with_person(sound_set(), 5, id=1))

    assert (finding.kind, finding.image, finding.person_id) == ("duplicate_person_id", "1.png", 1)
    assert finding.message == "people in images 1, 3 have this id"
