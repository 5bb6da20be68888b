import base64
import re
from collections.abc import Iterator
from importlib.metadata import version

import cv2
import numpy as np
import pytest

from mspn.io.images import decode_image
from mspn.predict.estimator import PoseEstimator
from tests.serve.serving import GatedDetector, ask, form_of, gated_estimator, picture, served

PHOTO = picture(width=60, height=80)


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> PoseEstimator:
    return gated_estimator(tmp_path_factory.mktemp("weights"), GatedDetector(num_people=2))


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, estimator: PoseEstimator) -> Iterator[int]:
    with served(tmp_path_factory.mktemp("served"), estimator) as number:
        yield number


def expected(estimator: PoseEstimator, encoded: bytes) -> list[dict[str, object]]:
    return [pose.to_dict() for pose in estimator(decode_image(encoded, "photo"))]


def test_a_picture_as_the_body_is_answered_as_an_entry_of_predictions_json(port: int, estimator: PoseEstimator):
    answer = ask(port, "/v1/poses", PHOTO)

    assert answer.status == 200
    assert answer.json == {"source": "", "width": 60, "height": 80, "people": expected(estimator, PHOTO)}
    assert len(answer.json["people"]) == 2


def test_a_picture_in_a_form_gets_the_same_answer_with_the_name_of_its_file(port: int):
    body, headers = form_of([("holiday.jpg", PHOTO)])

    answer = ask(port, "/v1/poses", body, headers)

    assert answer.json == {**ask(port, "/v1/poses", PHOTO).json, "source": "holiday.jpg"}
    upper = {"Content-Type": headers["Content-Type"].replace("multipart/form-data", "Multipart/Form-Data")}
    assert ask(port, "/v1/poses", body, upper).json == answer.json


def test_the_files_of_a_batch_are_answered_in_their_order(port: int, estimator: PoseEstimator):
    photos = [picture(width=40 + n, seed=n) for n in range(5)]
    body, headers = form_of([(f"{n}.jpg", photo) for n, photo in enumerate(photos)])

    answer = ask(port, "/v1/poses/batch", body, headers)

    assert [(entry["source"], entry["width"]) for entry in answer.json] == [(f"{n}.jpg", 40 + n) for n in range(5)]
    assert [entry["people"] for entry in answer.json] == [expected(estimator, photo) for photo in photos]


@pytest.mark.parametrize(("query", "num_people"), [("max_people=1", 1), ("threshold=0.85", 1), ("threshold=0.95", 0)])
def test_a_request_says_which_people_count(port: int, query: str, num_people: int):
    people = ask(port, f"/v1/poses?{query}", PHOTO).json["people"]

    assert len(people) == num_people
    assert [person["box_score"] for person in people] == [0.9][:num_people]


def test_keypoints_are_named_as_another_skeleton_names_them(port: int):
    own = ask(port, "/v1/poses", PHOTO).json["people"][0]["keypoints"]

    named = ask(port, "/v1/poses?keypoints=lsp-14", PHOTO).json["people"][0]["keypoints"]

    assert set(named) < {"right_ankle", "left_wrist", "neck", *own}
    assert named["left_wrist"] == own["left_wrist"]
    assert "nose" not in named


def test_a_drawn_picture_has_the_size_of_the_picture(port: int):
    answer = ask(port, "/v1/poses?draw=true&theme=limbs", PHOTO)

    assert answer.headers["content-type"] == "image/jpeg"
    assert decode_image(answer.body, "drawn").shape == (80, 60, 3)


def test_heat_maps_are_shown_of_every_stage_and_level(port: int, estimator: PoseEstimator):
    answer = ask(port, "/v1/heatmaps?person=1", PHOTO).json

    assert [len(levels) for levels in answer["stages"]] == [4] * estimator.recipe.model.num_stages
    kind, _, encoded = answer["stages"][0][0]["keypoint_max"].partition(",")
    assert kind == "data:image/png;base64"
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_COLOR)
    # The box of the second person is a third of the image's width; the crop around it has the network's shape.
    left, top, width, height = answer["box"]
    assert left + width / 2 == pytest.approx(10, abs=0.02)
    assert top + height / 2 == pytest.approx(40, abs=0.02)
    assert width / height == pytest.approx(shown.shape[1] / shown.shape[0], abs=0.01)


def test_heat_maps_are_shown_of_the_person_at_a_place(port: int):
    # Boxes of both people begin at the left edge; their centers are at x = 30 and 10.
    centers = [
        box[0] + box[2] / 2 for x in (28, 17) for box in (ask(port, f"/v1/heatmaps?x={x}&y=40", PHOTO).json["box"],)
    ]

    assert centers == pytest.approx([30, 10], abs=0.02)


def test_the_network_is_described_with_its_skeleton_and_the_limits(port: int, estimator: PoseEstimator):
    (model,) = ask(port, "/v1/models").json

    skeleton = estimator.recipe.keypoint_table
    assert model["skeleton"]["keypoints"] == list(skeleton.keypoints)
    assert model["skeleton"]["edges"][0] == list(skeleton.limb_indices[0])
    colors = model["skeleton"]["colors"]
    assert len(colors["sides"]["keypoints"][0]) == len(skeleton.keypoints)
    assert colors["sides"]["keypoints"][0][skeleton.keypoints.index("left_wrist")] == [255, 120, 40]
    assert len(colors["people"]["edges"]) == 8
    assert model["limits"]["max_bytes"] == 20 * 2**20


def test_operations_see_health_readiness_and_counters(port: int):
    ask(port, "/v1/poses", PHOTO)

    assert ask(port, "/health").json == {"status": "ok"}
    assert ask(port, "/ready").json == {"status": "ready"}
    text = ask(port, "/metrics").body.decode()
    assert re.search(r'mspn_requests_total\{method="POST",route="/v1/poses",status="200"\} \d+', text)
    assert "mspn_waiting_images 0.0" in text
    assert "mspn_requests_in_flight 0.0" in text


def test_the_interface_is_described_without_scripts_or_foreign_hosts(port: int):
    page = ask(port, "/docs")

    assert page.headers["content-type"].startswith("text/html")
    assert b"<script" not in page.body
    assert not re.search(rb"""(src|href)=["'](https?:)?//""", page.body)
    assert b"curl --data-binary @photo.jpg" in page.body
    assert b"left_eye" in page.body
    description = ask(port, "/openapi.json").json
    assert description["info"]["version"] == version("mspn")
    assert set(description["paths"]) >= {"/v1/poses", "/v1/poses/batch", "/v1/heatmaps", "/v1/models", "/ready"}


def test_browsers_may_run_and_load_only_what_the_service_gives(port: int):
    policy = ask(port, "/docs").headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_a_request_keeps_its_id_where_it_has_a_plain_one(port: int):
    assert ask(port, "/health", headers={"X-Request-ID": "job-7"}).headers["x-request-id"] == "job-7"
    assert re.fullmatch("[0-9a-f]{32}", ask(port, "/health", headers={"X-Request-ID": "a b"}).headers["x-request-id"])


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/poses", b"", 400, "no image"),
        ("/v1/poses", b"hello", 415, "no image that can be read"),
        ("/v1/poses", PHOTO[: len(PHOTO) // 2], 422, "cut short"),
        ("/v1/poses?threshold=1.5", PHOTO, 422, "threshold: Input should be less than or equal to 1"),
        ("/v1/poses?threshold=nan", PHOTO, 422, "threshold"),
        ("/v1/poses?max_people=0", PHOTO, 422, "max_people"),
        ("/v1/poses?max_peeple=1", PHOTO, 422, "did you mean 'max_people'?"),
        ("/v1/poses?keypoints=coco-18", PHOTO, 422, "there are coco-17"),
        ("/v1/poses?keypoints=unnamed-4", PHOTO, 422, "no keypoint of unnamed-4"),
        ("/v1/poses?theme=gray", PHOTO, 422, "no theme 'gray'"),
        ("/v1/poses?url=http://127.0.0.1/", PHOTO, 403, "--allow-fetch"),
        ("/v1/heatmaps?person=2", PHOTO, 404, "no person 2 among 2"),
        ("/v1/heatmaps?keypoints=coco-17", PHOTO, 422, "no setting 'keypoints'"),
        ("/v1/heatmaps?person=1&threshold=0.85", PHOTO, 404, "no person 1 among 1"),
        ("/v1/heatmaps?person=-1", PHOTO, 422, "person"),
        ("/v1/heatmaps?x=3", PHOTO, 422, "x and y make a place together"),
        ("/v1/heatmaps?x=nan&y=3", PHOTO, 422, "query x: Input should be a finite number"),
        ("/v1/nothing", PHOTO, 404, "/docs says what there is"),
        ("/v1/models", PHOTO, 405, "Method Not Allowed"),
    ],
)
def test_a_mistake_is_answered_in_one_line(port: int, path: str, body: bytes, status: int, message: str):
    answer = ask(port, path, body)

    assert answer.status == status
    assert message in answer.error


def test_a_form_without_files_is_refused(port: int):
    empty, headers = form_of([])
    broken = b"--cut\r\nnonsense\r\n\r\n" + PHOTO

    assert "no file" in ask(port, "/v1/poses", empty, headers).error
    assert "cannot be read" in ask(port, "/v1/poses", broken, headers).error
    assert "cannot be read" in ask(port, "/v1/poses", PHOTO, {"Content-Type": "multipart/form-data"}).error


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/static/page.js", "text/javascript; charset=utf-8"),
        ("/static/page.css", "text/css; charset=utf-8"),
        ("/static/favicon.svg", "image/svg+xml"),
        ("/static/sample/scene.jpg", "image/jpeg"),
    ],
)
def test_the_page_comes_with_its_types(port: int, path: str, content_type: str):
    answer = ask(port, path)

    assert answer.status == 200
    assert answer.headers["content-type"] == content_type
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_nothing_outside_of_the_page_is_served(port: int):
    for path in ("/static/../README.md", "/static/%2e%2e/README.md", "/static/..%2fmspn-tiny.safetensors", "/static/"):
        assert ask(port, path).status in (400, 404), path
