import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mspn import ImageResult, MspnError, browse, show_poses
from mspn.structures.image import Image
from tests.outputs.results import a_pose


def test_a_notebook_gets_a_jpeg_of_the_drawn_image():
    shown = show_poses(np.zeros((60, 50, 3), np.uint8), [a_pose()])

    decoded = cv2.imdecode(np.frombuffer(shown._repr_jpeg_(), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (60, 50, 3)
    assert decoded.max() > 100


def test_large_images_are_made_smaller_after_drawing():
    shown = show_poses(np.zeros((1536, 2048, 3), np.uint8), [a_pose()])

    # Half the size.
    assert shown.pixels.shape == (768, 1024, 3)


def test_every_form_of_an_image_is_shown(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), pixels[..., ::-1])
    expected = show_poses(pixels, [a_pose()], "people").pixels

    for image in (path, str(path), torch.from_numpy(pixels), torch.from_numpy(pixels).permute(2, 0, 1)):
        np.testing.assert_array_equal(show_poses(image, [a_pose()], "people").pixels, expected)


def test_what_is_no_single_image_is_refused(tmp_path: Path):
    with pytest.raises(MspnError, match="is a folder, and one image is wanted here"):
        show_poses(tmp_path, [])
    with pytest.raises(MspnError, match="no theme 'dark'"):
        show_poses(np.zeros((8, 8, 3), np.uint8), [], "dark")


def test_sliders_choose_the_image_and_the_people_that_are_drawn():
    pytest.importorskip("ipywidgets")
    image = Image("a", np.zeros((60, 50, 3), np.uint8))
    results = [ImageResult("<first>", image, [a_pose(), replace(a_pose(), score=0.2, track_id=7)], []),
               ImageResult("second", None, [], ["second cannot be read"])]  # fmt: skip

    widget = browse(result for result in results)

    (number, lowest), drawing, people = widget.children[0].children, *widget.children[1:]
    assert (number.min, number.max) == (0, 1)
    assert people.value.startswith("<b>&lt;first&gt;</b><br><table>")
    assert people.value.count("<tr>") == 1 + 2
    assert "<td>7</td><td>0.20</td>" in people.value
    assert drawing.value == show_poses(image.pixels, results[0].poses)._repr_jpeg_()

    lowest.value = 0.3
    assert people.value.count("<tr>") == 1 + 1
    assert drawing.value == show_poses(image.pixels, results[0].poses[:1])._repr_jpeg_()

    number.value = 1
    assert people.value == "<b>second</b><br>second cannot be read<br>nobody"
    assert drawing.layout.display == "none"

    number.value = 0
    assert drawing.layout.display == ""


def test_no_results_are_refused():
    pytest.importorskip("ipywidgets")
    with pytest.raises(MspnError, match="there are no results to browse"):
        browse([])


def test_widgets_that_are_not_installed_are_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"pip install 'mspn\[notebook\]'"):
        browse([])
