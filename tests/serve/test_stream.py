import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mspn.serve.limits import ServeLimits
from tests.serve.serving import (
    HOST,
    GatedDetector,
    ask,
    gated_estimator,
    gauge,
    in_threads,
    picture,
    served,
    wait_until,
)

SECONDS = 10
FRAME = picture()


@pytest.fixture(scope="module")
def detector() -> GatedDetector:
    return GatedDetector(num_people=2)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, detector: GatedDetector) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("served")
    limits = ServeLimits(max_streams=2, max_bytes=100_000, idle_seconds=0.3)
    with served(folder, gated_estimator(folder, detector), limits) as number:
        yield number


def stream(port: int, query: str = "", **settings: object) -> ClientConnection:
    return connect(f"ws://{HOST}:{port}/v1/stream{query}", **settings)


def test_each_frame_is_answered_with_its_number_and_people(port: int):
    with stream(port, "?max_people=1") as socket:
        for number in range(3):
            socket.send(FRAME)
            found = json.loads(socket.recv(SECONDS))

            assert found["frame"] == number
            assert (found["width"], found["height"]) == (48, 64)
            (person,) = ask(port, "/v1/poses?max_people=1", FRAME).json["people"]
            assert found["people"] == [{"track_id": 1, **person}]


def test_the_newest_frame_wins(port: int, detector: GatedDetector):
    detector.shut()
    with stream(port) as socket:
        socket.send(FRAME)
        assert detector.has_begun.wait(SECONDS)
        for side in range(5):
            socket.send(picture(width=40 + side))
        socket.ping().wait(SECONDS)  # all frames before it have arrived
        detector.gate.set()
        found = [json.loads(socket.recv(SECONDS)) for _ in range(2)]

    assert [(answer["frame"], answer["width"]) for answer in found] == [(0, 48), (5, 44)]
    assert "mspn_dropped_frames_total 4.0" in ask(port, "/metrics").body.decode()


def test_a_frame_that_is_no_image_is_an_error_and_the_stream_goes_on(port: int):
    with stream(port) as socket:
        socket.send(b"nonsense")
        assert "no image" in json.loads(socket.recv(SECONDS))["error"]
        socket.send(FRAME)
        assert len(json.loads(socket.recv(SECONDS))["people"]) >= 1


def test_texts_too_large_frames_and_long_pauses_end_a_stream(port: int):
    for message, reason in (("text", "binary"), (bytes(100_001), "1009|too big"), (None, "no frame for 0.3 s")):
        with stream(port) as socket:
            if message is not None:
                socket.send(message)
            with pytest.raises(ConnectionClosed, match=reason):
                socket.recv(SECONDS)


def test_a_text_while_a_frame_is_in_work_ends_a_stream(
    port: int, detector: GatedDetector, caplog: pytest.LogCaptureFixture
):
    detector.shut()
    with stream(port) as socket:
        socket.send(FRAME)
        assert detector.has_begun.wait(SECONDS)
        socket.send("text")
        with pytest.raises(ConnectionClosed, match="binary"):
            socket.recv(SECONDS)
        detector.gate.set()
    wait_until(lambda: gauge(port, "mspn_streams") == 0)

    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_frame_whose_client_leaves_is_not_computed(port: int, detector: GatedDetector):
    detector.shut()
    clients, answers = in_threads(1, lambda _: ask(port, "/v1/poses", FRAME))
    assert detector.has_begun.wait(SECONDS)
    with stream(port) as socket:
        socket.send(FRAME)
        wait_until(lambda: gauge(port, "mspn_waiting_images") == 2)
    wait_until(lambda: gauge(port, "mspn_waiting_images") == 1)
    detector.gate.set()
    clients[0].join()

    assert answers[0].status == 200
    assert ask(port, "/v1/poses", FRAME).status == 200
    assert detector.num_images == 2


def test_streams_are_refused_with_a_reason(port: int):
    with stream(port), stream(port), pytest.raises(InvalidStatus) as too_many:
        stream(port)
    with pytest.raises(InvalidStatus) as unknown:
        stream(port, "?keypoints=coco-18")
    with pytest.raises(InvalidStatus) as invalid:
        stream(port, "?threshold=2")
    with pytest.raises(InvalidStatus) as foreign:
        stream(port, origin="https://example.org")

    refused = [error.value.response for error in (too_many, unknown, invalid, foreign)]
    assert [response.status_code for response in refused] == [503, 422, 422, 403]
    reasons = [json.loads(response.body)["error"] for response in refused]
    assert "2 streams are open already" in reasons[0]
    assert "no skeleton 'coco-18'" in reasons[1]
    assert "less than or equal to 1" in reasons[2]
    assert "other sites" in reasons[3]
