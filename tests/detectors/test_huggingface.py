import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from mspn.detectors.huggingface import TransformersDetector, TransformersSettings
from mspn.errors import DetectorError
from mspn.structures.image import Image
from tests.detectors.tiny_yolos import write_yolos

_IMAGE = Image("wide.jpg", np.zeros((40, 80, 3), np.uint8))


@pytest.fixture(scope="module")
def yolos(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_yolos(tmp_path_factory.mktemp("yolos")))


def test_people_are_found_by_their_label_in_pixels_of_the_image(yolos: str):
    found = TransformersDetector(yolos).detect(_IMAGE)

    assert len(found) == 3
    for person in found:
        np.testing.assert_allclose(person.box, [20, 0, 40, 20], atol=1e-3)
        assert person.score == pytest.approx(0.6, abs=1e-5)


def test_another_label_is_found_when_it_is_said(yolos: str):
    assert TransformersDetector(yolos, TransformersSettings(person="DOG")).detect(_IMAGE) == []


def test_a_missing_label_is_answered_with_those_there_are(yolos: str):
    with pytest.raises(DetectorError, match=r"no label 'cat', but n/a, person, dog; .* transformers:.*,person=LABEL"):
        TransformersDetector(yolos, TransformersSettings(person="cat"))


def test_the_papers_rule_needs_other_categories(tmp_path: Path, yolos: str):
    best = TransformersSettings(rule="top-100")
    folder = str(write_yolos(tmp_path, labels=("person",)))

    with pytest.raises(DetectorError, match=r"detects only people, .* use the rule people"):
        TransformersDetector(folder, best)
    assert len(TransformersDetector(folder).detect(_IMAGE)) == 3
    assert len(TransformersDetector(yolos, best).detect(_IMAGE)) == 3


def test_a_network_that_is_not_there_says_that_nothing_is_downloaded():
    with pytest.raises(DetectorError, match=r"nobody/nothing cannot be loaded \(MSPN_OFFLINE is set, .*\): .*; name a"):
        TransformersDetector("nobody/nothing")


def test_a_pickled_network_is_not_read(tmp_path: Path):
    folder = write_yolos(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(DetectorError, match=r"cannot be loaded .*; name a folder or a network .* has safetensors"):
        TransformersDetector(str(folder))


def test_a_network_without_some_of_its_weights_is_refused(tmp_path: Path):
    path = write_yolos(tmp_path) / "model.safetensors"
    weights = load_file(path)
    save_file({name: value for name, value in weights.items() if "bbox" not in name}, path, {"format": "pt"})

    with pytest.raises(
        DetectorError, match=r"has no weights for bbox_predictor.* and 5 more; is it an object detector"
    ):
        TransformersDetector(str(tmp_path))


def test_a_network_for_something_else_is_refused(tmp_path: Path):
    folder = write_yolos(tmp_path)
    (folder / "config.json").write_text('{"model_type": "vit"}')

    with pytest.raises(DetectorError, match=r"cannot be loaded .* that detects objects"):
        TransformersDetector(str(folder))


def test_a_network_whose_boxes_nobody_reads_is_refused(tmp_path: Path):
    folder = write_yolos(tmp_path)
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "ViTImageProcessor"}')

    with pytest.raises(DetectorError, match=r"has no boxes to give; take a network for object detection"):
        TransformersDetector(str(folder))


def test_a_network_that_needs_another_library_says_so(yolos: str, monkeypatch: pytest.MonkeyPatch):
    def need_timm(*_arguments: object, **_options: object) -> None:
        raise ImportError("DetrModel requires the timm library.\nInstall it.")

    monkeypatch.setattr("transformers.AutoModelForObjectDetection.from_pretrained", need_timm)

    with pytest.raises(DetectorError, match=r"not installed here \(DetrModel requires the timm library\)"):
        TransformersDetector(yolos)


def test_transformers_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)

    with pytest.raises(DetectorError, match=r"needs transformers; pip install 'mspn\[transformers\]'"):
        TransformersDetector("PekingU/rtdetr_v2_r18vd")
