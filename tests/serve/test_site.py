"""The page as a site: its networks in the browser find whom Python finds, without a service and without a net."""

import base64
import functools
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mspn.checkpoints.index import ASSETS
from mspn.checkpoints.networks import load_named_detector
from mspn.config.protocol import OksPredictor, ProtocolConfig, ScoreCalibration
from mspn.detectors.base import fit_longer_side
from mspn.detectors.embedded import EmbeddedPersonDetector
from mspn.predict.estimator import PoseEstimator
from mspn.predict.top_down import make_poses, select_poses
from mspn.serve.site import describe_oks_predictor, page_files, service_worker
from mspn.structures.boxes import Box, Detection, Size
from mspn.structures.crop import CropFrame, cut_crop, frame_from_box
from mspn.structures.pose import CropKeypoints, Pose
from mspn.structures.skeleton import COCO_17, find_skeleton
from tests.serve.browsing import download, drop, wait_for_people
from tests.serve.serving import HOST

BUILT = Path(__file__).parents[2] / "page"
SCENE = ASSETS / "sample" / "scene.jpg"
LOADING_MS = 60_000

runs_networks = pytest.mark.slow  # in the browser, each test in a page of its own


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def files_served(folder: Path) -> Iterator[str]:
    """A host of files, at an address that ends in a slash."""
    with http.server.ThreadingHTTPServer((HOST, 0), functools.partial(_Files, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://{HOST}:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def site() -> Path:
    """What `make page` wrote."""
    files = page_files()
    if not all((BUILT / path).is_file() for path in [*files, "site.json", "service-worker.js"]):
        pytest.skip("page/ is not there; make page writes it, with onnxruntime-web from npm")
    if any((BUILT / path).read_bytes() != content for path, content in files.items()):
        pytest.skip("page/ is older than its sources; make page writes it anew")
    return BUILT


@pytest.fixture
def open_site(site: Path, open_tab: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Opens the site, in a folder of its host, once its networks are loaded."""
    with files_served(site.parent) as host:

        def open_site(**settings: Any) -> Any:
            page = open_tab(f"{host}{site.name}/", **settings)
            wait_for_networks(page)
            return page

        yield open_site


def wait_for_networks(page: Any) -> None:
    page.wait_for_selector("#model >> text=/WebAssembly|WebGPU/", timeout=LOADING_MS)
    assert page.is_hidden("#loading")


@pytest.fixture
def exact_site(site: Path, tmp_path: Path) -> Path:
    """The site, whose numbers are not rounded: keypoints move by a quarter of a pixel with a box's third digit."""
    copy = shutil.copytree(site, tmp_path / "page")
    (script,) = copy.rglob("people.js")
    rounding = "Math.round(value * 10 ** digits) / 10 ** digits"
    text = script.read_text(encoding="utf-8")
    assert text.count(rounding) == 1
    script.write_text(text.replace(rounding, "value"), encoding="utf-8")
    return copy


@runs_networks
def test_the_site_finds_the_people_that_python_finds(exact_site: Path, open_tab: Callable[..., Any]):
    # In float32, as the browser computes; by default, Python takes bfloat16 where the processor is fast with it.
    detector = EmbeddedPersonDetector(load_named_detector("person-detector").model, torch.device("cpu"), "float32")
    estimator = PoseEstimator("mspn-tiny", detector, device="cpu", precision="float32")
    poses = estimator(SCENE)
    with files_served(exact_site.parent) as host:
        page = open_tab(f"{host}{exact_site.name}/")
        wait_for_networks(page)
        drop(page, (SCENE.name, SCENE.read_bytes(), "image/jpeg"))
        wait_for_people(page, len(poses))
        (entry,) = json.loads(download(page, "#save-json")[1])

    assert (entry["source"], entry["width"], entry["height"]) == ("scene.jpg", 800, 480)
    assert len(entry["people"]) == len(poses) == 3
    for found, pose in zip(entry["people"], poses, strict=True):
        expected = pose.to_dict()
        assert list(found) == list(expected)
        # Decoded photo, detector's input and crops are equal.
        assert found["box"] == pytest.approx(pose.box, abs=0.01)
        assert found["score"] == pytest.approx(pose.score, abs=0.0002)
        (in_same_box,) = estimator(SCENE, boxes=[found["box"]])
        for name, joint in in_same_box.keypoints.items():
            assert found["keypoints"][name][:2] == pytest.approx(joint[:2], abs=0.1), name


@runs_networks
def test_the_site_works_without_its_host_once_it_is_loaded(site: Path, open_tab: Callable[..., Any]):
    with files_served(site.parent) as host:
        page = open_tab(f"{host}{site.name}/")
        wait_for_networks(page)
        page.wait_for_function("() => navigator.serviceWorker.controller")

    page.goto(f"{host}{site.name}/index.html")

    wait_for_networks(page)
    page.click("#sample")
    wait_for_people(page, 3)


@runs_networks
def test_pictures_go_to_no_host(open_site: Callable[..., Any]):
    page = open_site()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))

    drop(page, (SCENE.name, SCENE.read_bytes(), "image/jpeg"))
    wait_for_people(page, 3)

    assert [address for address in requests if not address.startswith(("blob:", "data:"))] == []
    assert page.inner_text("#privacy") == "Photos stay in this browser: nothing is sent anywhere."
    assert page.is_hidden("#heatmaps-switch")
    assert page.is_hidden("#programs")


@runs_networks
def test_the_camera_shows_frames(open_site: Callable[..., Any]):
    page = open_site()

    page.click("#camera")

    page.wait_for_selector("#rate:not(:empty)")
    page.click("#stop")


@runs_networks
def test_no_part_of_the_site_is_wider_than_a_phone(open_site: Callable[..., Any]):
    page = open_site(viewport={"width": 390, "height": 844}, is_mobile=True)

    page.click("#sample")
    wait_for_people(page, 3)

    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_file_that_is_missing_is_told(site: Path, browser: Any, tmp_path: Path):
    shutil.copytree(site, tmp_path, dirs_exist_ok=True)
    (tmp_path / "networks" / "pose.onnx").unlink()
    with files_served(tmp_path) as host:
        page = browser.new_page()
        page.goto(host)

        page.wait_for_selector("#alert:not(:empty)")

        assert page.inner_text("#alert") == "networks/pose.onnx cannot be loaded. Is there a connection?"
        assert page.is_hidden("#loading")
        page.context.close()


def test_a_browser_that_cannot_start_the_networks_is_told(site: Path, browser: Any, tmp_path: Path):
    shutil.copytree(site, tmp_path, dirs_exist_ok=True)
    (tmp_path / "static" / "worker.js").write_text("no script", encoding="utf-8")
    with files_served(tmp_path) as host:
        page = browser.new_page()
        page.goto(host)
        page.click("#sample")

        message = "This browser cannot start the networks; a newer one can."
        page.wait_for_selector(f"#alert >> text=sample.jpg: {message}")
        assert page.is_hidden("#loading")
        page.context.close()


@pytest.fixture
def run_script(browser: Any) -> Iterator[Callable[..., Any]]:
    """Runs a function of JavaScript beside the site's modules."""
    with files_served(ASSETS / "site") as host:
        page = browser.new_page()
        page.goto(f"{host}people.js")
        yield page.evaluate
        page.context.close()


@pytest.mark.parametrize(
    "size", [Size(300, 200), Size(417, 832), Size(30, 97), Size(901, 1000), Size(62, 1700)], ids=str
)
def test_the_detector_sees_the_same_picture(run_script: Callable[..., Any], size: Size):
    # Half of 417 rows is 208.5, which Python rounds to 208; 901x1000 is more than halved, and averaged over areas;
    # 62x1700 is more than quartered, and halved first.
    pixels = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    expected = fit_longer_side(size, 416).draw(pixels)

    answer = run_script(
        """async ([encoded, width, height]) => {
            const { letterbox } = await import("/pixels.js");
            const data = Uint8ClampedArray.from(atob(encoded), (letter) => letter.charCodeAt(0));
            const input = letterbox({ data, width, height }, 416);
            return [[...input.pixels], input.width, input.height, input.scaledWidth, input.scaledHeight];
        }""",
        [_encode(pixels), size.width, size.height],
    )

    seen, width, height, scaled_width, scaled_height = answer
    assert (height, width) == expected.shape[:2]
    assert Size(scaled_height, scaled_width) == fit_longer_side(size, 416).scaled
    np.testing.assert_array_equal(np.reshape(seen, expected.shape), expected)


@pytest.mark.parametrize("box", [Box(40, 30, 50, 90), Box(-30, 100, 120, 60), Box(20.3, 10.7, 300, 250)], ids=str)
def test_the_network_sees_the_same_crop(run_script: Callable[..., Any], box: Box):
    pixels = np.random.default_rng(2).integers(0, 255, (160, 200, 3), np.uint8)
    frame = frame_from_box(box, Size(192, 128), (1.09, 1.135))
    expected = cut_crop(pixels, frame)

    crop, left, top, step = run_script(
        """async ([encoded, box]) => {
            const { cutCrop } = await import("/pixels.js");
            const { frameOf } = await import("/people.js");
            const data = Uint8ClampedArray.from(atob(encoded), (letter) => letter.charCodeAt(0));
            const size = { width: 128, height: 192 };
            const pixels = new Uint8ClampedArray(128 * 192 * 3);
            const frame = frameOf(box, [1.09, 1.135], size);
            cutCrop({ data, width: 200, height: 160 }, frame, size, pixels);
            return [[...pixels], frame.left, frame.top, frame.step];
        }""",
        [_encode(pixels), list(box)],
    )

    assert [left, top, step] == pytest.approx([*frame.crop_to_image[:, 2], frame.crop_to_image[0, 0]])
    difference = np.abs(np.reshape(crop, expected.shape) - expected.astype(int))
    # OpenCV before 5 rounds places to a 32nd of a pixel.
    assert difference.max() <= (0 if int(cv2.__version__.split(".")[0]) >= 5 else 8)


def _drawn_predictor(rng: np.random.Generator) -> OksPredictor:
    shapes = [(8, 51), (34, 8)]
    layers = [{"weights": rng.normal(0, 1, shape).tolist(), "biases": rng.normal(0, 1, shape[0])} for shape in shapes]
    return OksPredictor.model_validate({"layers": layers, "people": 1})


@pytest.mark.parametrize(
    ("rescoring", "predicts"),
    [
        *(("mean", False), ("confident_mean", False), ("weighted_mean", False), ("box_only", False)),
        *(("predicted_oks", True), ("predicted_oks", False)),
    ],
)
def test_poses_rank_as_they_do_in_predictions(run_script: Callable[..., Any], rescoring: str, predicts: bool):
    rng = np.random.default_rng(5)
    peaks, keypoints = rng.uniform(0, 1.05, (1, 17)), rng.uniform(0, 200, (1, 17, 2)).astype(np.float32)
    predictor = _drawn_predictor(rng) if predicts else None
    calibration = ScoreCalibration(slope=2.0, offsets=(0.5,) * 17, people=1, oks_predictor=predictor)
    test = ProtocolConfig.model_validate({"rescoring": rescoring, "score_offset": -0.1})
    found = CropKeypoints(keypoints, peaks)
    frame = CropFrame((50.0, 60.0), 48.0, Size(256, 192))
    (pose,) = make_poses([Detection(Box(0, 0, 10, 20), 0.5)], [frame], found, COCO_17, test, calibration)

    rank = run_script(
        """async ([keypoints, scores, peaks, protocol]) => {
            const { placePose } = await import("/people.js");
            const detection = { box: [0, 0, 10, 20], score: 0.5 };
            const found = { keypoints: Float32Array.from(keypoints), scores: Float32Array.from(scores), peaks };
            return placePose(detection, { left: 0, top: 0, step: 1 }, found, protocol).rank;
        }""",
        [
            keypoints.ravel().tolist(),
            pose.keypoint_scores.tolist(),
            peaks[0].tolist(),
            {
                "rescoring": rescoring,
                "score_offset": -0.1,
                "oks_predictor": describe_oks_predictor(calibration, COCO_17),
            },
        ],
    )

    assert rank == pytest.approx(pose.ranking_score, rel=1e-6)


def test_people_who_are_found_twice_count_once(run_script: Callable[..., Any]):
    skeleton, rng = find_skeleton("coco-17"), np.random.default_rng(4)
    points = rng.uniform(0, 100, (17, 2))
    poses = [
        Pose(skeleton, points + shift, np.full(17, score), score, rank, Box(0, 0, 100, 100), score)
        for shift, score, rank in [(0, 0.7, 0.9), (2, 0.8, 0.8), (60, 0.9, 0.2), (61, 0.3, 0.1)]
    ]
    expected = select_poses(poses, 0.7)
    assert [pose.score for pose in expected] == [0.9, 0.7]

    scores = run_script(
        """async ([poses, sigmas]) => {
            const { selectPoses } = await import("/people.js");
            return selectPoses(poses, sigmas, 0.7).map((pose) => pose.score);
        }""",
        [
            [
                {"box": list(p.box), "points": p.keypoints_image.tolist(), "score": p.score, "rank": p.ranking_score}
                for p in poses
            ],
            list(skeleton.sigmas),
        ],
    )

    assert scores == [0.9, 0.7]


def _encode(pixels: np.ndarray) -> str:
    """As `ImageData` has them: red, green, blue and opacity."""
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    return base64.b64encode(np.concatenate([pixels, opaque], axis=2).tobytes()).decode()


def test_the_site_is_the_page_of_the_service_and_the_networks():
    files = page_files()

    assert files["static/draw.js"] == (ASSETS / "page" / "draw.js").read_bytes()
    assert files["static/start.js"] == (ASSETS / "site" / "start.js").read_bytes()
    markup = files["index.html"].decode()
    assert "script-src 'self' 'wasm-unsafe-eval'; " in markup
    assert markup.count("Content-Security-Policy") == 1


def test_another_file_makes_another_version():
    first = service_worker({"index.html": b"1"}, {"networks/pose.onnx": b"2"}).decode()
    second = service_worker({"index.html": b"1"}, {"networks/pose.onnx": b"3"}).decode()

    one, other = (
        json.loads(script.splitlines()[0].removeprefix("const SITE = ").rstrip(";")) for script in (first, second)
    )
    assert one["version"] != other["version"]
    assert one["first"] == ["index.html"]
    assert one["files"] == ["index.html", "networks/pose.onnx"]
    assert first.splitlines()[1:] == second.splitlines()[1:]
