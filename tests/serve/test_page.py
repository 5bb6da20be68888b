"""The page in a real browser."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mspn.checkpoints.index import ASSETS
from mspn.io.images import decode_image
from mspn.outputs.tables import CsvWriter
from mspn.predict.estimator import PoseEstimator
from mspn.predict.pipeline import ImageResult
from mspn.serve.limits import ServeLimits
from mspn.structures.boxes import Box
from mspn.structures.image import Image
from mspn.structures.pose import Pose
from mspn.structures.skeleton import find_skeleton
from mspn.visualize.draw import draw_poses
from mspn.visualize.themes import THEMES
from tests.serve.browsing import download, drop, wait_for_people
from tests.serve.serving import HOST, GatedDetector, gated_estimator, picture, served

PAGE = ASSETS / "page"
ASTRONAUT = ASSETS / "sample" / "astronaut.jpg"
PAN = ASSETS / "sample" / "pan.mp4"
SKELETON = find_skeleton("coco-17")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a service that finds two people in every picture, with scores of 0.9 and 0.8."""
    estimator = gated_estimator(tmp_path_factory.mktemp("weights"), GatedDetector(num_people=2))
    with served(tmp_path_factory.mktemp("served"), estimator) as number:
        yield number


@pytest.fixture(name="open_page")
def fixture_open_page(open_tab: Callable[..., Any]) -> Callable[..., Any]:
    """Opens the page of the service at a port."""
    return lambda port, **settings: open_tab(f"http://{HOST}:{port}/", **settings)


@pytest.fixture
def page(open_page: Callable[..., Any], port: int) -> Any:
    return open_page(port)


def drop_photos(page: Any, *names: str) -> None:
    drop(page, *((name, picture(seed=seed), "image/jpeg") for seed, name in enumerate(names)))


def set_slider(page: Any, slider: str, value: float) -> None:
    page.locator(slider).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def has_ink(page: Any, canvas: str) -> bool:
    """Whether something is drawn."""
    drawn: bool = page.locator(canvas).evaluate(
        "(canvas) => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    )
    return drawn


def test_the_page_needs_no_other_host_and_nothing_inline():
    text = "\n".join(path.read_text(encoding="utf-8") for path in PAGE.iterdir())
    markup = (PAGE / "index.html").read_text(encoding="utf-8")

    assert set(re.findall(r"https?://[^\s\"')]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "<style" not in markup
    assert " style=" not in markup
    assert re.findall(r"<script(?![^>]* src=)|\son\w+=", markup) == []


def test_a_dropped_photo_shows_the_people_that_predict_finds(tmp_path: Path, open_page: Callable[..., Any]):
    encoded = ASTRONAUT.read_bytes()
    estimator = PoseEstimator(device="cpu")
    image = Image(ASTRONAUT.name, decode_image(encoded, "photo"))
    poses = estimator(image.pixels)
    with served(tmp_path, estimator) as port:
        page = open_page(port)

        drop(page, (ASTRONAUT.name, encoded, "image/jpeg"))
        wait_for_people(page, len(poses))

        nose = page.locator("#joints tbody tr").first
        assert nose.locator("th, td").all_inner_texts() == ["Nose", *_cells(poses[0])]
        name, content = download(page, "#save-json")
        assert name == "astronaut.json"
        (entry,) = json.loads(content)
        assert entry == {
            **{"source": "astronaut.jpg", "width": 512, "height": 512},
            "people": [pose.to_dict() for pose in poses],
        }
        name, content = download(page, "#save-csv")
        assert name == "astronaut.csv"
        writer = CsvWriter(tmp_path)
        writer.write(ImageResult(image.source, image, poses, []))
        writer.close()
        expected = (tmp_path / "predictions.csv").read_text(encoding="utf-8")
        assert _numbers(content.decode()) == _numbers(expected)
        name, content = download(page, "#save-png")
        assert name == "astronaut.png"
        assert decode_image(content, "drawing").shape == (512, 512, 3)


def _cells(pose: Pose) -> list[str]:
    x, y, score = pose.to_dict()["keypoints"]["nose"]
    return [f"{x:.1f}", f"{y:.1f}", f"{score:.2f}"]


def _numbers(table: str) -> list[list[float | str]]:
    """Cells, for 1 is 1.0."""
    return [
        [float(cell) if re.fullmatch(r"-?[\d.]+", cell) else cell for cell in row.split(",")]
        for row in table.splitlines()
    ]


def test_the_threshold_filters_without_asking_again(page: Any):
    drop_photos(page, "photo.jpg")
    wait_for_people(page, 2)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))

    set_slider(page, "#threshold", 0.85)
    wait_for_people(page, 1)
    assert page.inner_text("#count") == "1 person"
    set_slider(page, "#threshold", 0.95)
    wait_for_people(page, 0)
    assert page.inner_text("#nobody").startswith("Nobody")
    assert not has_ink(page, "#skeletons")
    set_slider(page, "#threshold", 0.2)
    wait_for_people(page, 2)

    assert requests == []


def test_the_arrow_keys_go_from_person_to_person(page: Any):
    drop_photos(page, "photo.jpg")
    wait_for_people(page, 2)
    first = page.inner_text("#joints tbody")

    page.focus("#people input:checked")
    page.keyboard.press("ArrowRight")

    assert page.locator("#people input:checked").input_value() == "2"
    assert page.inner_text("#joints tbody") != first


def test_a_photo_above_the_limit_is_sent_smaller_and_answered_in_its_own_pixels(
    tmp_path: Path, open_page: Callable[..., Any]
):
    estimator = gated_estimator(tmp_path, GatedDetector())
    with served(tmp_path, estimator, ServeLimits(max_pixels=1250)) as port:
        page = open_page(port)

        drop(page, ("photo.jpg", picture(width=80, height=100), "image/jpeg"))
        wait_for_people(page, 1)

        (entry,) = json.loads(download(page, "#save-json")[1])
        assert (entry["width"], entry["height"]) == (80, 100)
        assert entry["people"][0]["box"] == pytest.approx([0, 0, 80, 100], abs=2)


def test_several_photos_make_a_gallery_and_one_file(page: Any):
    drop_photos(page, "one.jpg", "two.jpg", "three.jpg")
    page.wait_for_selector('#gallery button[aria-label="three.jpg: 2 people"]')

    page.click('#gallery button[title="two.jpg"]')

    assert page.inner_text("#title") == "two.jpg"
    page.wait_for_selector('#gallery button[aria-label="one.jpg: 2 people"]')
    page.wait_for_selector('#gallery button[aria-label="two.jpg: 2 people"]')
    name, content = download(page, "#save-json")
    assert name == "predictions.json"
    assert [entry["source"] for entry in json.loads(content)] == ["one.jpg", "two.jpg", "three.jpg"]


def test_a_file_that_is_no_picture_becomes_a_line_and_the_others_go_on(page: Any):
    drop(page, ("notes.txt", b"notes", "text/plain"), ("photo.jpg", picture(), "image/jpeg"))

    page.wait_for_selector('#gallery button[aria-label="photo.jpg: 2 people"]')
    assert page.inner_text("#alert") == "notes.txt: This browser cannot show it."
    page.click('#gallery button[title="photo.jpg"]')
    assert page.inner_text("#alert") == ""
    wait_for_people(page, 2)


def test_heat_maps_of_every_level_can_be_laid_over_the_picture(page: Any):
    drop_photos(page, "photo.jpg")
    wait_for_people(page, 2)

    page.check("#show-heatmaps")
    page.wait_for_selector("#levels button")

    labels = page.locator("#levels button").evaluate_all("(buttons) => buttons.map((button) => button.ariaLabel)")
    assert labels[0] == "Stage 1, level 1, coarse"
    assert labels[3] == "Stage 1, level 4, fine"
    skeletons = page.locator("#skeletons").evaluate("(canvas) => canvas.toDataURL()")
    page.click("#levels button >> nth=0")
    assert page.locator("#skeletons").evaluate("(canvas) => canvas.toDataURL()") != skeletons
    page.click("#levels button >> nth=0")
    assert page.locator("#skeletons").evaluate("(canvas) => canvas.toDataURL()") == skeletons


def test_heat_maps_of_the_next_photo_come_by_themselves(page: Any):
    drop_photos(page, "one.jpg")
    wait_for_people(page, 2)
    page.check("#show-heatmaps")
    page.wait_for_selector("#levels img")
    first = page.get_attribute("#levels img >> nth=0", "src")

    drop_photos(page, "one.jpg", "two.jpg")
    page.click('#gallery button[title="two.jpg"]')

    page.wait_for_function("(before) => document.querySelector('#levels img').src !== before", arg=first)
    page.wait_for_selector("#heatmaps", state="visible")


def test_the_heat_maps_of_a_video_are_those_of_the_frame_and_person_that_are_seen(page: Any):
    drop(page, ("pan.mp4", PAN.read_bytes(), "video/mp4"))
    page.wait_for_selector("#busy", state="hidden")
    page.check("#show-heatmaps")
    page.wait_for_selector("#levels img")
    differs = "(before) => document.querySelector('#levels img').src !== before"
    first = page.get_attribute("#levels img >> nth=0", "src")

    set_slider(page, "#scrubber", 1.0)
    page.wait_for_function(differs, arg=first)
    page.wait_for_function("() => document.getElementById('clock').textContent === '0:01.0'")
    second = page.get_attribute("#levels img >> nth=0", "src")
    page.click("#people label >> nth=1")
    page.wait_for_function(differs, arg=second)


def test_the_camera_shows_poses_until_a_picture_is_kept(page: Any):
    page.click("#camera")
    wait_for_people(page, 2)
    page.wait_for_function("() => parseInt(document.getElementById('rate').textContent) >= 5")

    page.click("#keep")

    page.wait_for_selector("#title >> text=camera-1.jpg")
    wait_for_people(page, 2)
    assert page.is_hidden("#shutter")


def test_nothing_can_be_kept_before_the_camera_has_shown_something(tmp_path: Path, open_page: Callable[..., Any]):
    detector = GatedDetector()
    with served(tmp_path, gated_estimator(tmp_path, detector)) as port:
        page = open_page(port)
        detector.shut()
        page.click("#camera")
        page.wait_for_selector("#shutter")

        assert page.is_disabled("#keep")
        detector.gate.set()
        wait_for_people(page, 1)
        assert page.is_enabled("#keep")
        page.click("#stop")
        assert page.is_visible("#start")


def test_the_browser_shows_the_token_of_a_service_for_the_camera_too(tmp_path: Path, open_page: Callable[..., Any]):
    estimator = gated_estimator(tmp_path, GatedDetector(num_people=2))
    with served(tmp_path, estimator, token="0123456789abcdef") as port:
        page = open_page(port, http_credentials={"username": "", "password": "0123456789abcdef"})

        page.click("#camera")

        wait_for_people(page, 2)
        page.click("#stop")
        assert page.is_visible("#start")


def test_the_sample_is_there(page: Any):
    page.click("#sample")

    wait_for_people(page, 2)
    assert page.inner_text("#title") == "sample.jpg"


def test_a_video_is_looked_through_and_scrubbed(page: Any):
    drop(page, ("pan.mp4", PAN.read_bytes(), "video/mp4"))
    page.wait_for_selector("#player")
    page.wait_for_selector("#busy", state="hidden")

    set_slider(page, "#scrubber", 1.0)
    page.wait_for_function("() => document.getElementById('clock').textContent === '0:01.0'")
    assert page.get_attribute("#skeletons", "data-people") == "2"
    assert has_ink(page, "#tracks")
    entries = json.loads(download(page, "#save-json")[1])
    assert [(entry["frame"], entry["seconds"]) for entry in entries[:3]] == [(0, 0), (1, 0.1), (2, 0.2)]
    assert {entry["width"] for entry in entries} == {480}
    page.click("#play")
    page.wait_for_function("() => document.getElementById('clock').textContent > '0:01.1'")


def test_a_mirror_shows_heat_maps_and_people_on_the_other_side(page: Any):
    # Drawn into the left half of 40 pixels; the person's nose is at pixel 4, the mirror of pixel 35.
    left, right, nose = page.evaluate(
        """async () => {
            const { View } = await import("/static/view.js");
            const { mirrorPeople } = await import("/static/results.js");
            const make = () => document.body.appendChild(document.createElement("canvas"));
            const stage = document.body.appendChild(document.createElement("div"));
            const [picture, skeletons, image] = [make(), make(), make()];
            image.getContext("2d").fillRect(0, 0, image.width, image.height);
            const view = new View(stage, picture, skeletons);
            view.show(image, 40, 20, true);
            view.draw({ skeleton: {}, layer: { image, box: [0, 0, 20, 20] } });
            const { width, height } = skeletons;
            const context = skeletons.getContext("2d");
            const alpha = (x) => context.getImageData(x * width, height / 2, 1, 1).data[3];
            const [person] = mirrorPeople([{ box: [0, 0, 9, 9], keypoints: { nose: [4, 5, 0.9] } }], 40);
            return [alpha(0.25), alpha(0.75), [...person.keypoints.nose, ...person.box]];
        }"""
    )

    assert (left, right) == (0, 255)
    assert nose == [35, 5, 0.9, 31, 0, 9, 9]


def test_people_between_two_samples_move_in_a_straight_line(page: Any):
    # A quarter of the way: x from 10 to 30 is 15, a score from 0.4 to 0.8 is 0.5; person 8 is only in the first.
    result = page.evaluate(
        """async () => {
            const { blendPeople } = await import("/static/results.js");
            const person = (track_id, x, score) =>
                ({ track_id, score, box: [x, 0, 2, 4], box_score: 0.9, keypoints: { nose: [x, 5, score] } });
            return [0.25, 0.75].map((share) =>
                blendPeople([person(7, 10, 0.4), person(8, 50, 0.5)], [person(7, 30, 0.8)], share));
        }"""
    )

    early, late = result
    assert [person["track_id"] for person in early] == [7, 8]
    assert early[0]["keypoints"]["nose"] == pytest.approx([15, 5, 0.5])
    assert early[0]["box"] == pytest.approx([15, 0, 2, 4])
    assert [person["track_id"] for person in late] == [7]


def test_names_of_files_are_no_formulas_in_a_table(page: Any):
    table = page.evaluate(
        """async () => (await import("/static/results.js")).toCsv([{ source: '=1+1,"a".jpg', people: [] }])"""
    )

    assert table.splitlines()[1] == '"\'=1+1,""a"".jpg"' + "," * 14


@pytest.mark.parametrize("theme", THEMES)
def test_the_page_draws_as_draw_poses_does(page: Any, theme: str):
    rng = np.random.default_rng(3)
    image = np.full((900, 1200, 3), 120, np.uint8)
    poses = [_pose(rng, 60.0), _pose(rng, 660.0)]
    expected = draw_poses(image, poses, theme)

    drawn = decode_image(base64.b64decode(_draw_in(page, poses, theme)), "drawing")

    # Edges are smoothed differently; a wrong color, width, order or opacity is far above this.
    difference = np.abs(drawn.astype(int) - expected)
    assert difference.mean() < 0.5
    assert np.abs(cv2.blur(drawn, (5, 5)).astype(int) - cv2.blur(expected, (5, 5))).max() < 40


def _pose(rng: np.random.Generator, left: float) -> Pose:
    points = np.array([left, 90.0]) + rng.uniform(0, 1, (17, 2)) * [450, 720]
    scores = rng.uniform(0.05, 1, 17)
    return Pose(SKELETON, points, scores, float(scores.mean()), 0.5, Box(left, 90.0, 450.0, 720.0), 0.9)


def _draw_in(page: Any, poses: list[Pose], theme: str) -> str:
    drawn: str = page.evaluate(
        """async ([people, theme]) => {
            const { drawPoses } = await import("/static/draw.js");
            const [{ skeleton }] = await (await fetch("/v1/models")).json();
            const canvas = document.createElement("canvas");
            [canvas.width, canvas.height] = [1200, 900];
            const context = canvas.getContext("2d");
            context.fillStyle = "rgb(120 120 120)";
            context.fillRect(0, 0, 1200, 900);
            drawPoses(context, people, skeleton, theme);
            return canvas.toDataURL().split(",")[1];
        }""",
        [[pose.to_dict() for pose in poses], theme],
    )
    return drawn


def test_dark_stays_chosen(open_page: Callable[..., Any], port: int):
    page = open_page(port, color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)

    page.click("#appearance")
    page.reload()

    page.wait_for_selector('#appearance[aria-pressed="true"]')
    assert page.evaluate(paper) != light


def test_nothing_is_wider_than_a_phone(open_page: Callable[..., Any], port: int):
    page = open_page(port, viewport={"width": 390, "height": 844}, is_mobile=True)
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == 390

    drop_photos(page, "a-very-long-name-of-a-file-without-any-space-in-it-at-all.jpg", "two.jpg")
    wait_for_people(page, 2)
    page.check("#show-heatmaps")
    page.wait_for_selector("#levels button")

    assert page.evaluate(width) == 390
