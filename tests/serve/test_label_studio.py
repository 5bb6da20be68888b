"""Label Studio's protocol of ML backends, with an HTTP server in Label Studio's place."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mspn.errors import InvalidValueError
from mspn.predict.estimator import PoseEstimator
from mspn.serve.label_studio import LabelStudio, label_studio_at, read_interface
from mspn.structures.skeleton import COCO_17
from tests.cli.runner import error_line, run
from tests.serve.serving import GatedDetector, ask, gated_estimator, picture, served

CONFIG = """
<View>
  <Image name="photo" value="$picture"/>
  <KeyPointLabels name="points" toName="photo">
    <Label value="LeftEye"/><Label value="tail"/><Label value="Nose"/>
  </KeyPointLabels>
  <RectangleLabels name="boxes" toName="photo"><Label value="dog"/><Label value="person"/></RectangleLabels>
</View>
"""
TOKEN = "0123456789abcdef"
PERSONAL_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJ0b2tlbl90eXBlIjoicmVmcmVzaCJ9.-T_1"


class Pictures(BaseHTTPRequestHandler):
    """Gives a picture to whoever shows the token, or the one that it gives for the personal token."""

    num_exchanged = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        is_known = (self.path, body) == ("/api/token/refresh", {"refresh": PERSONAL_TOKEN})
        Pictures.num_exchanged += is_known
        self.send_response(200 if is_known else 401)
        self.end_headers()
        self.wfile.write(json.dumps({"access": "granted"} if is_known else {"detail": "not valid"}).encode())

    def do_GET(self) -> None:
        is_known = self.headers["Authorization"] in (f"Token {TOKEN}", "Bearer granted")
        self.send_response(200 if is_known and self.path == "/data/local-files/?d=a.jpg" else 404)
        self.end_headers()
        self.wfile.write(picture(width=60, height=80))

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture(scope="module")
def estimator(tmp_path_factory: pytest.TempPathFactory) -> PoseEstimator:
    return gated_estimator(tmp_path_factory.mktemp("weights"), GatedDetector(num_people=2))


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, estimator: PoseEstimator, address: str) -> Iterator[int]:
    place = LabelStudio(address=address, token=TOKEN)
    with served(tmp_path_factory.mktemp("served"), estimator, label_studio=place) as number:
        yield number


def post(port: int, route: str, **body: Any) -> Any:
    return ask(port, f"/v1/label-studio/{route}", json.dumps(body).encode(), {"Content-Type": "application/json"})


def test_health_and_setup_say_what_label_studio_asks(port: int):
    assert ask(port, "/v1/label-studio/health").json["status"] == "UP"
    answer = post(port, "setup", project="1.2", schema=CONFIG, hostname="http://localhost", access_token="x")
    assert answer.status == 200
    assert answer.json["model_version"].endswith(".safetensors")
    assert post(port, "setup", project="1.2", schema=None).status == 200
    assert (
        "knows none of the labels" in post(port, "setup", schema=CONFIG.replace("Eye", "").replace("Nose", "x")).error
    )


def test_a_task_gets_regions_with_the_names_of_its_interface(port: int):
    task = {"id": 1, "data": {"picture": "/data/local-files/?d=a.jpg"}, "annotations": [], "predictions": []}

    answer = post(port, "predict", tasks=[task], label_config=CONFIG, project="1.2", params={})

    assert answer.status == 200, answer.body
    (prediction,) = answer.json["results"]
    assert 0 <= prediction["score"] <= 1
    rectangles = [region for region in prediction["result"] if region["type"] == "rectanglelabels"]
    points = [region for region in prediction["result"] if region["type"] == "keypointlabels"]
    assert [region["value"]["rectanglelabels"] for region in rectangles] == [["person"], ["person"]]
    # The detector's boxes: the whole image, and its left third.
    assert [region["value"]["width"] for region in rectangles] == [100, pytest.approx(33.3, abs=0.1)]
    assert {region["from_name"] for region in rectangles} == {"boxes"}
    assert {region["from_name"] for region in points} <= {"points"}
    assert {label for region in points for label in region["value"]["keypointlabels"]} <= {"LeftEye", "Nose"}
    assert {(region["to_name"], region["original_width"], region["original_height"]) for region in rectangles} == {
        ("photo", 60, 80)
    }


def test_a_personal_access_token_is_exchanged_once_for_many_tasks(
    tmp_path: Path, estimator: PoseEstimator, address: str
):
    task = {"data": {"picture": "/data/local-files/?d=a.jpg"}}
    Pictures.num_exchanged = 0

    with served(tmp_path, estimator, label_studio=LabelStudio(address=address, token=PERSONAL_TOKEN)) as port:
        answer = post(port, "predict", tasks=[task, task], label_config=CONFIG)

    assert [bool(prediction["result"]) for prediction in answer.json["results"]] == [True, True]
    assert Pictures.num_exchanged == 1


def test_a_personal_access_token_that_is_not_taken_is_told(tmp_path: Path, estimator: PoseEstimator, address: str):
    task = {"data": {"picture": "/data/local-files/?d=a.jpg"}}
    place = LabelStudio(address=address, token=PERSONAL_TOKEN.replace("-T", "-U"))

    with served(tmp_path, estimator, label_studio=place) as port:
        answer = post(port, "predict", tasks=[task], label_config=CONFIG)

    assert answer.status == 502
    assert "does not take the personal access token" in answer.error


def test_what_label_studio_tells_of_annotations_is_taken(port: int):
    assert post(port, "webhook", action="ANNOTATION_CREATED").status == 200


def test_a_task_whose_picture_is_missing_gets_no_regions_and_all_of_them_an_error(port: int):
    there, missing = ({"data": {"picture": f"/data/local-files/?d={name}.jpg"}} for name in "ab")

    both = post(port, "predict", tasks=[missing, there], label_config=CONFIG)
    alone = post(port, "predict", tasks=[missing], label_config=CONFIG)

    assert [bool(prediction["result"]) for prediction in both.json["results"]] == [False, True]
    assert alone.status == 422
    assert "answers 404" in alone.error


@pytest.mark.parametrize(
    "image", ["http://127.0.0.1:1/a.jpg", "s3://bucket/a.jpg", "//127.0.0.1:1/a.jpg", "file:///etc/passwd"]
)
def test_pictures_elsewhere_are_not_fetched(port: int, address: str, image: str):
    answer = post(port, "predict", tasks=[{"data": {"picture": image}}], label_config=CONFIG)

    assert answer.status == 422
    assert f"is not at {address}" in answer.error


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"tasks": []}, "label_config"),
        ({"tasks": [{"data": {}}], "label_config": CONFIG}, "no address in data['picture']"),
        ({"tasks": [], "label_config": "<View/>"}, "no KeyPointLabels on an Image"),
        ({"tasks": [], "label_config": "<View>"}, "is not XML"),
        ({"tasks": [], "label_config": '<!DOCTYPE a [<!ENTITY b "c">]><View/>'}, "defines entities"),
        (
            {"tasks": [], "label_config": CONFIG.replace("Eye", "").replace("Nose", "x")},
            "knows none of the labels Left, tail",
        ),
    ],
)
def test_what_cannot_be_answered_is_one_line(port: int, body: dict[str, Any], message: str):
    answer = post(port, "predict", **body)

    assert answer.status == 422
    assert message in answer.error


def test_a_body_that_is_no_json_is_refused(port: int):
    assert ask(port, "/v1/label-studio/predict", b"{").status == 400


def test_without_the_option_there_are_no_such_routes(tmp_path: Path, estimator: PoseEstimator):
    with served(tmp_path, estimator) as number:
        assert post(number, "predict", tasks=[], label_config=CONFIG).status == 404


def test_an_interface_without_rectangles_has_no_category():
    config = CONFIG.replace("RectangleLabels", "PolygonLabels")

    interface = read_interface(config, COCO_17)

    assert interface.names.rectangles is None
    assert interface.category == ""
    assert interface.labels == {"LeftEye": "left_eye", "Nose": "nose"}


def test_addresses_that_are_none_are_refused():
    with pytest.raises(InvalidValueError, match="--label-studio localhost:8080: only addresses that start with http"):
        label_studio_at("localhost:8080", None)
    refused = run("serve", "--label-studio-token-file", "token.txt")
    assert "--label-studio-token-file belongs to --label-studio" in error_line(refused)
