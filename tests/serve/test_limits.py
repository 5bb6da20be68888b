import json
import logging
import socket
import struct
import sys
import threading
import time
import tracemalloc
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from mspn.io.http import FetchRules
from mspn.io.limits import ANY_NETWORK
from mspn.serve import limits
from mspn.serve.limits import RateLimiter, RequestError, ServeLimits, decode_upload
from mspn.serve.observability import JsonFormatter
from tests.serve.serving import (
    HOST,
    Answer,
    GatedDetector,
    ask,
    connect,
    form_of,
    gated_estimator,
    gauge,
    in_threads,
    picture,
    served,
    wait_until,
)

PHOTO = picture()
MANY = 50_000_000
LIMITS = ServeLimits(
    max_bytes=200_000,
    max_pixels=10_000,
    max_files=3,
    max_in_flight=6,
    max_waiting=3,
    max_connections=12,
)
HASTY = LIMITS.model_copy(update={"header_seconds": 0.4, "upload_seconds": 0.4})


@pytest.fixture(scope="module")
def detector() -> GatedDetector:
    return GatedDetector()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, detector: GatedDetector) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("served")
    with served(folder, gated_estimator(folder, detector), LIMITS) as number:
        yield number


@pytest.fixture(scope="module")
def hasty_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = tmp_path_factory.mktemp("hasty")
    with served(folder, gated_estimator(folder, GatedDetector()), HASTY) as number:
        yield number


@pytest.fixture(autouse=True)
def _open_gate(detector: GatedDetector) -> Iterator[None]:
    yield
    detector.gate.set()


def read_answer(connection: socket.socket) -> Answer:
    """What arrives until the server closes."""
    received = b""
    while chunk := connection.recv(2**16):
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(first.split()[1]), headers, body)


def post_head(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: here", *headers, "", ""]).encode()


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(port: int):
    with connect(port) as connection:
        connection.sendall(post_head("/v1/poses", "Content-Length: 1000000000"))
        answer = read_answer(connection)

    assert answer.status == 413
    assert "limit of 200,000 bytes" in answer.error


@pytest.mark.parametrize("content_type", ["image/jpeg", "multipart/form-data; boundary=cut"])
def test_a_body_that_grows_too_large_is_refused_and_not_kept(port: int, content_type: str):
    start = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    chunk = b"10000\r\n" + bytes(2**16) + b"\r\n"
    tracemalloc.start()
    with connect(port) as connection:
        connection.sendall(
            post_head("/v1/poses", "Transfer-Encoding: chunked", f"Content-Type: {content_type}")
            + f"{len(start):x}\r\n".encode()
            + start
            + b"\r\n"
        )
        for _ in range(MANY // 2**16):
            try:
                connection.sendall(chunk)
            except OSError:  # it was answered, read on for a while, and closed
                break
        answer = read_answer(connection)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert answer.status == 413
    assert "limit of 200,000 bytes" in answer.error
    assert peak < 5_000_000


def test_a_form_may_have_only_so_many_files(port: int):
    body, headers = form_of([(str(n), PHOTO) for n in range(4)])

    answer = ask(port, "/v1/poses/batch", body, headers)

    assert answer.status == 400
    assert "Too many files" in answer.error


def png_bomb(side: int) -> bytes:
    """A PNG of side x side black pixels, in a few hundred kilobytes."""
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + 3 * side)) for _ in range(side)) + rows.flush()
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def test_a_small_file_of_many_pixels_is_refused_by_its_header(port: int):
    bomb = png_bomb(2000)

    answer = ask(port, "/v1/poses", bomb)

    assert len(bomb) < LIMITS.max_bytes
    assert answer.status == 413
    assert "2000x2000 pixels, above the limit of 10,000" in answer.error


def test_pixels_are_counted_before_anything_is_decoded():
    # 1.2 GB as pixels.
    header = struct.pack(">I", 13) + b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    claimed = b"\x89PNG\r\n\x1a\n" + header + bytes(1000)

    with pytest.raises(RequestError, match="20000x20000"):
        decode_upload(claimed, 25_000_000)


def test_a_body_that_does_not_arrive_in_time_is_given_up(hasty_port: int):
    with connect(hasty_port) as connection:
        connection.sendall(post_head("/v1/poses", "Content-Length: 1000") + b"half")
        answer = read_answer(connection)

    assert answer.status == 408
    assert "within 0.4 s" in answer.error


@pytest.mark.parametrize("sent", [b"", b"POST /v1/poses HTTP/1.1\r\nHost: here\r\nX-Slow: "])
def test_headers_that_do_not_arrive_in_time_are_given_up(hasty_port: int, sent: bytes):
    started = time.monotonic()
    with connect(hasty_port) as connection:
        connection.sendall(sent)
        answer = read_answer(connection)

    assert answer.status == 408
    assert "headers did not arrive" in answer.error
    assert time.monotonic() - started < 5


def test_headers_of_a_second_request_are_waited_for_no_longer(hasty_port: int):
    with connect(hasty_port) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: here\r\n\r\n")
        assert connection.recv(2**16).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /health HT")
        started = time.monotonic()
        while connection.recv(2**16):
            pass

    assert time.monotonic() - started < 5


def test_a_client_that_does_not_take_its_answers_is_let_go(hasty_port: int):
    request = b"GET /static/sample/rider.jpg HTTP/1.1\r\nHost: here\r\n\r\n"
    picture_bytes = len(ask(hasty_port, "/static/sample/rider.jpg").body)
    received = 0
    with connect(hasty_port) as connection:
        connection.sendall(100 * request)
        time.sleep(3 * HASTY.upload_seconds)  # nothing is taken
        with suppress(ConnectionError):
            while chunk := connection.recv(2**20):
                received += len(chunk)

    assert received < 90 * picture_bytes


def test_slow_headers_do_not_keep_others_from_being_answered(hasty_port: int):
    slow = [connect(hasty_port) for _ in range(5)]
    for connection in slow:
        connection.sendall(b"POST /v1/poses HTTP/1.1\r\nX-Slow: ")

    assert ask(hasty_port, "/v1/poses", PHOTO).status == 200
    for connection in slow:
        assert read_answer(connection).status == 408
        connection.close()


def test_what_is_no_http_is_answered_as_json(port: int):
    with connect(port) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = read_answer(connection)

    assert answer.status == 400
    assert "send HTTP/1.1" in answer.error


def test_a_client_that_stops_sending_and_waits_is_let_go(port: int):
    with connect(port) as connection:
        connection.sendall(post_head("/v1/poses", "Content-Length: 1000") + b"half")
        connection.shutdown(socket.SHUT_WR)
        started = time.monotonic()
        read_until_closed(connection)

    assert time.monotonic() - started < 5
    wait_until(lambda: gauge(port, "mspn_requests_in_flight") == 0)


def read_until_closed(connection: socket.socket) -> None:
    while connection.recv(2**16):
        pass


def test_connections_above_the_limit_are_closed(port: int):
    connections = [connect(port) for _ in range(LIMITS.max_connections + 3)]
    try:
        num_closed = sum(is_closed(connection) for connection in connections)
    finally:
        for connection in connections:
            connection.close()

    assert num_closed >= 3


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_pictures_that_find_no_place_are_sent_away_at_once(port: int, detector: GatedDetector):
    detector.shut()
    threads, answers = in_threads(3, lambda n: ask(port, "/v1/poses", picture(seed=n)))
    wait_until(lambda: gauge(port, "mspn_waiting_images") == 3)

    started = time.monotonic()
    refused = ask(port, "/v1/poses", PHOTO)
    seconds = time.monotonic() - started
    detector.gate.set()
    for thread in threads:
        thread.join()

    assert refused.status == 503
    assert "3 images wait already" in refused.error
    assert int(refused.headers["retry-after"]) >= 1
    assert seconds < 2
    assert [answer.status for answer in answers] == [200] * 3
    assert ask(port, "/v1/poses", PHOTO).status == 200


def test_requests_in_flight_are_counted_while_their_bodies_arrive(port: int):
    uploads = [connect(port) for _ in range(LIMITS.max_in_flight)]
    for connection in uploads:
        connection.sendall(post_head("/v1/poses", "Content-Length: 1000") + b"half")
    wait_until(lambda: gauge(port, "mspn_requests_in_flight") == LIMITS.max_in_flight)

    refused = ask(port, "/v1/poses", PHOTO)

    assert refused.status == 503
    assert "6 requests are being answered already" in refused.error
    assert refused.headers["retry-after"] == "1"
    for connection in uploads:
        connection.close()
    wait_until(lambda: gauge(port, "mspn_requests_in_flight") == 0)
    assert ask(port, "/v1/poses", PHOTO).status == 200


def test_clients_that_leave_free_their_places_and_are_not_computed(port: int, detector: GatedDetector):
    detector.shut()
    threads, answers = in_threads(1, lambda n: ask(port, "/v1/poses", PHOTO))
    detector.has_begun.wait(5)
    leaving = [connect(port) for _ in range(2)]
    for connection in leaving:
        connection.sendall(post_head("/v1/poses", f"Content-Length: {len(PHOTO)}") + PHOTO)
    wait_until(lambda: gauge(port, "mspn_waiting_images") == 3)

    for connection in leaving:
        connection.close()
    wait_until(lambda: gauge(port, "mspn_waiting_images") == 1)
    detector.gate.set()
    threads[0].join()

    assert answers[0].status == 200
    assert ask(port, "/v1/poses", PHOTO).status == 200
    assert detector.num_images == 2


def test_an_answer_that_takes_too_long_is_given_up(tmp_path: Path):
    detector = GatedDetector()
    with served(tmp_path, gated_estimator(tmp_path, detector), ServeLimits(answer_seconds=0.2)) as port:
        detector.shut()
        answer = ask(port, "/v1/poses", PHOTO)
        waiting = gauge(port, "mspn_waiting_images")
        detector.gate.set()

        assert answer.status == 504
        assert "within 0.2 s" in answer.error
        assert waiting == 0


def test_a_client_gets_so_many_answers_a_second(tmp_path: Path):
    slow = ServeLimits(requests_per_second=1.5)
    with served(tmp_path, gated_estimator(tmp_path, GatedDetector()), slow) as port:
        answers = [ask(port, "/v1/models") for _ in range(4)]

        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert answers[3].headers["retry-after"] == "1"
        assert "1.5 requests a second" in answers[3].error
        assert ask(port, "/health").status == 200


def test_a_bucket_holds_two_seconds_of_requests_and_fills_again():
    limiter = RateLimiter(requests_per_second=2)

    assert [limiter.take("a", 10.0) for _ in range(4)] == [0, 0, 0, 0]
    assert limiter.take("a", 10.0) == 0.5  # one request takes half a second
    assert limiter.take("b", 10.0) == 0
    assert limiter.take("a", 10.25) == 0.25
    assert limiter.take("a", 10.5) == 0


def test_clients_that_are_counted_are_bounded_in_number():
    limiter = RateLimiter(requests_per_second=1)

    for number in range(25_000):
        limiter.take(str(number), number / 1000)

    assert len(limiter._buckets) <= 10_000


def test_a_service_with_a_token_answers_only_those_who_show_it(tmp_path: Path):
    token = "0123456789abcdef"
    with served(tmp_path, gated_estimator(tmp_path, GatedDetector()), token=token) as port:
        basic = b64encode(f"me:{token}".encode()).decode()

        for right in (f"Bearer {token}", f"bearer {token}", f"Basic {basic}"):
            assert ask(port, "/v1/poses", PHOTO, {"Authorization": right}).status == 200
        for wrong in (
            "",
            "Bearer ",
            "Bearer 0123456789abcdeF",
            f"Basic {token}",
            "Basic !",
            "Bearer é",
            "Basic é",
            "Basic /w==",
        ):
            refused = ask(port, "/v1/poses", PHOTO, {"Authorization": wrong})
            assert refused.status == 401
            assert refused.headers["www-authenticate"].startswith("Basic")
            assert "token" in refused.error
        assert ask(port, "/metrics").status == 401
        assert ask(port, "/health").status == 200


def test_pages_of_other_sites_are_refused(port: int):
    own = {"Origin": f"http://{HOST}:{port}"}

    for foreign in ("https://example.org", "null", "http://["):
        refused = ask(port, "/v1/poses", PHOTO, {"Origin": foreign})
        assert refused.status == 403
        assert "other sites" in refused.error
    answer = ask(port, "/v1/poses", PHOTO, own)
    assert answer.status == 200
    assert not any(name.startswith("access-control") for name in answer.headers)


WRITES = ("w", "a", "x", "+")
opened: list[tuple[Any, Any]] | None = None


def _note_opened(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and opened is not None:
        opened.append((arguments[0], arguments[1]))


def test_pictures_never_touch_the_disk_nor_the_log(port: int, caplog: pytest.LogCaptureFixture):
    global opened  # noqa: PLW0603 (audit hooks stay for good)
    sys.addaudithook(_note_opened)
    body, headers = form_of([("secret.bmp", picture(90, 100, suffix=".bmp")), ("b.jpg", PHOTO)])

    opened = []
    with caplog.at_level(logging.INFO):
        answer = ask(port, "/v1/poses/batch?threshold=0.123", body, headers)
        ask(port, "/v1/secret.bmp", PHOTO)
        wait_until(lambda: len(logged(caplog)) == 2)
    written = [path for path, mode in opened if isinstance(mode, str) and any(letter in mode for letter in WRITES)]
    opened = None

    assert answer.status == 200
    assert written == []
    lines = [JsonFormatter().format(record) for record in logged(caplog)]
    assert [json.loads(line)["status"] for line in lines] == [200, 404]
    assert json.loads(lines[0])["request_id"] == answer.headers["x-request-id"]
    assert json.loads(lines[0])["body_bytes"] == len(body)
    assert not any("secret" in line or "0.123" in line or "127.0.0.1" in line for line in lines)


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "mspn.serve"]


def test_addresses_are_fetched_only_from_public_hosts(tmp_path: Path):
    with (
        served(tmp_path, gated_estimator(tmp_path, GatedDetector()), allow_fetch=True) as port,
        closing(socket.create_server((HOST, 0))) as inner,
    ):
        inner.settimeout(0)
        answer = ask(port, f"/v1/poses?url=http://{HOST}:{inner.getsockname()[1]}/a.jpg", b"")

        assert answer.status == 422
        assert "not on the public internet" in answer.error
        with pytest.raises(BlockingIOError):
            inner.accept()
        assert ask(port, "/v1/poses?url=file:///etc/passwd", b"").status == 422


def test_the_picture_at_an_address_is_answered_like_one_that_is_sent(tmp_path: Path):
    estimator = gated_estimator(tmp_path, GatedDetector())
    anywhere = partial(FetchRules, allowed_networks=ANY_NETWORK)
    with (
        served(tmp_path, estimator, LIMITS, allow_fetch=True) as port,
        files_at_an_address({"/a.png": picture(suffix=".png"), "/big.jpg": bytes(300_000)}) as address,
        patch.object(limits, "FetchRules", anywhere),
    ):
        fetched = ask(port, f"/v1/poses?url={address}/a.png", b"")

        assert fetched.status == 200
        assert fetched.json == ask(port, "/v1/poses", picture(suffix=".png")).json
        assert "above the limit of 200000" in ask(port, f"/v1/poses?url={address}/big.jpg", b"").error
        assert "answers 404" in ask(port, f"/v1/poses?url={address}/none", b"").error


@contextmanager
def files_at_an_address(files: Mapping[str, bytes]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(200 if content else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            pass

    with HTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()
