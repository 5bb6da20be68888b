import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from mspn.checkpoints.format import save_weights
from mspn.checkpoints.index import ASSETS
from mspn.checkpoints.metadata import DetectorMetadata
from mspn.config.data import DataConfig
from mspn.config.model import ModelConfig
from mspn.config.recipe import Recipe
from mspn.detectors import detector_for, make_detector
from mspn.detectors.base import FullImage
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.detectors.huggingface import TransformersDetector
from mspn.detectors.onnx import OnnxDetector
from mspn.errors import DetectorError
from mspn.models.person_detector import PersonDetector
from mspn.structures.image import Image
from mspn.structures.skeleton import unnamed_skeleton
from tests.detectors.family_outputs import rtmdet_outputs, yolox_outputs
from tests.detectors.onnx_files import write_answers
from tests.detectors.own_detectors import LeftHalf
from tests.detectors.tiny_yolos import write_yolos
from tests.trained_detector import tiny_detector_recipe

CPU = "cpu"
_IMAGE = Image("a.jpg", np.zeros((64, 64, 3), np.uint8))


def test_none_takes_the_whole_image():
    assert isinstance(make_detector("none"), FullImage)


@pytest.mark.parametrize("prefix", ["", "yolox:"])
def test_an_onnx_file_is_recognized_or_said_to_be_of_a_family(tmp_path: Path, prefix: str):
    path = write_answers(tmp_path / "model.onnx", yolox_outputs())

    assert len(make_detector(f"{prefix}{path}").detect(_IMAGE)) == 1


@pytest.mark.parametrize("name", ["a:model.onnx", "models,old.onnx"])
def test_a_path_may_hold_colons_and_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    write_answers(tmp_path / name, yolox_outputs())
    monkeypatch.chdir(tmp_path)

    assert isinstance(make_detector(name), OnnxDetector)


def test_settings_follow_behind_commas(tmp_path: Path):
    path = write_answers(tmp_path / "model.onnx", rtmdet_outputs(), {"images": (1, 3, "height", "width")})

    (dog,) = make_detector(f"rtmdet:{path},person=16,side=64").detect(_IMAGE)

    assert dog.score == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ("persn=3", r"no setting 'persn' in OnnxSettings; did you mean 'person'\?"),
        ("side=100", r"detector .*model.onnx,side=100: side: .* multiple of 32"),
        ("rule=best", r"rule: .*'people' or 'top-100'"),
        ("person=you", r"person: .* valid integer"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, settings: str, problem: str):
    with pytest.raises(DetectorError, match=problem):
        make_detector(f"{tmp_path / 'model.onnx'},{settings}")


def test_transformers_detectors_are_named_by_their_folder(tmp_path: Path):
    detector = make_detector(f"transformers:{write_yolos(tmp_path)},person=dog")

    assert isinstance(detector, TransformersDetector)
    assert detector.detect(_IMAGE) == []


def test_a_class_of_ones_own_is_named_by_its_import_path():
    assert isinstance(make_detector("tests.detectors.own_detectors:LeftHalf"), LeftHalf)


@pytest.mark.parametrize("name", ["none", "tests.detectors.own_detectors:LeftHalf"])
def test_what_has_no_settings_refuses_them(name: str):
    with pytest.raises(DetectorError, match=r"has no settings; leave side=64 out"):
        make_detector(f"{name},side=64")


@pytest.mark.parametrize("text", ["default", "person-detector"])
def test_our_own_takes_images_at_any_size(text: str):
    at_64 = make_detector(f"{text},side=64")

    with pytest.raises(DetectorError, match=r"side=100: side: .* multiple of 32"):
        make_detector(f"{text},side=100")
    with pytest.raises(DetectorError, match=r"no setting 'rule' in EmbeddedSettings; it has side"):
        make_detector(f"{text},rule=people")
    assert at_64.detect(_IMAGE) == make_detector(text, side=64).detect(_IMAGE)


def test_a_size_is_given_to_an_onnx_file_that_leaves_it_open(tmp_path: Path):
    path = write_answers(tmp_path / "open.onnx", yolox_outputs(), {"images": (1, 3, "height", "width")})

    assert len(make_detector(str(path), side=64).detect(_IMAGE)) == 1
    with pytest.raises(DetectorError, match=r"the size of its input is given twice; leave one of the two out"):
        make_detector(f"{path},side=64", side=64)


def test_a_size_is_refused_where_it_cannot_be_chosen(tmp_path: Path):
    fixed = write_answers(tmp_path / "fixed.onnx", yolox_outputs())

    for text, problem in {
        str(fixed): r"fixed.onnx takes 64x64 pixels and no others; leave side=96 out",
        "none": r"none has no settings; leave side=96 out",
        "tests.detectors.own_detectors:LeftHalf": r"LeftHalf has no settings; leave side=96 out",
        "transformers:owner/network": r"its own files give the size of its input; leave side=96 out",
    }.items():
        with pytest.raises(DetectorError, match=problem):
            make_detector(text, side=96)


def test_any_detector_of_people_looks_into_slices():
    # Slices are 0 to 50 and 40 to 90. The left one's person, 0 to 25, is more than half of the image's, 0 to 45.
    detector = make_detector("tests.detectors.own_detectors:LeftHalf", slices=2)

    found = detector.detect(Image("", np.zeros((50, 90, 3), np.uint8)))

    assert [one.box.left for one in found] == [0, 40]


def test_an_image_that_is_one_person_is_not_sliced():
    with pytest.raises(DetectorError, match=r"detector none takes the whole image for one person; leave the slices"):
        make_detector("none", slices=2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("non", r"no detector 'non'; did you mean none\? there are .*, none, .*, FAMILY:FILE.onnx \(nanodet, yolox"),
        ("nanodte:model.onnx", r"no detector 'nanodte:model.onnx'; did you mean nanodet\?"),
        ("transformer:PekingU/rtdetr_v2_r18vd", r"did you mean transformers\?"),
        ("transformers:", r"what follows transformers and a colon is missing; .* transformers:NAME"),
        ("nanodet", r"no detector 'nanodet'; what follows nanodet and a colon is missing; .*, FAMILY:FILE.onnx"),
        ("", r"no detector ''; there are default"),
        ("model.pt", r"no detector 'model.pt'; there are default"),
        (os.devnull, r"boxes of a file go with --boxes; there are default"),
        ("model.onnx", r"no file at model.onnx; check the path of the detector"),
    ],
)
def test_what_names_no_detector_is_answered_with_those_there_are(text: str, problem: str):
    with pytest.raises(DetectorError, match=problem):
        make_detector(text)


def test_the_default_is_the_embedded_detector():
    assert isinstance(make_detector("default"), EmbeddedPersonDetector)


def test_a_detector_of_ones_own_training_is_named_by_its_file(tmp_path: Path):
    recipe = tiny_detector_recipe(tmp_path / "set", iterations=2)
    save_weights(tmp_path / "own.safetensors", PersonDetector(recipe.model), DetectorMetadata(recipe=recipe))

    assert isinstance(make_detector(str(tmp_path / "own.safetensors")), EmbeddedPersonDetector)
    with pytest.raises(DetectorError, match=r"no setting 'sid' in EmbeddedSettings; did you mean 'side'"):
        make_detector(f"{tmp_path / 'own.safetensors'},sid=64")
    with pytest.raises(DetectorError, match=r"absent\.safetensors"):
        make_detector(str(tmp_path / "absent.safetensors"))
    with pytest.raises(DetectorError, match="is a pose network, not a person detector; give it to --model"):
        make_detector(str(ASSETS / "mspn-tiny.safetensors"))


def recipe_of(category: str, boxes: Literal["labeled", "image"] = "labeled") -> Recipe:
    """Of a network with three keypoints."""
    skeleton = unnamed_skeleton(3).model_copy(update={"category": category})
    return Recipe(name="three", skeleton=skeleton, model=ModelConfig(num_keypoints=3), data=DataConfig(boxes=boxes))


@pytest.mark.parametrize("category", ["person", "Human", "people "])
def test_the_default_detector_is_for_people(category: str):
    assert isinstance(detector_for("default", recipe_of(category), CPU), EmbeddedPersonDetector)


@pytest.mark.parametrize(("category", "named"), [("fish", "'fish'"), ("", "something that its weights do not name")])
def test_a_network_of_something_else_asks_for_a_detector(category: str, named: str):
    recipe = recipe_of(category)

    with pytest.raises(DetectorError, match=rf"boxes hold {named} \(skeleton unnamed-3\), and the default detector"):
        detector_for("default", recipe, CPU)
    assert isinstance(detector_for("none", recipe, CPU), FullImage)
    assert isinstance(detector_for("person-detector", recipe, CPU), EmbeddedPersonDetector)


@pytest.mark.parametrize("category", ["fish", "person"])
def test_a_network_of_whole_images_needs_no_detector(category: str):
    assert isinstance(detector_for("default", recipe_of(category, boxes="image"), CPU), FullImage)
    assert isinstance(detector_for("person-detector", recipe_of(category, boxes="image"), CPU), EmbeddedPersonDetector)
