"""A service on this machine's loopback address, and clients that speak to it."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import uvicorn

from mspn.predict.estimator import PoseEstimator
from mspn.serve import server
from mspn.serve.limits import ServeLimits
from mspn.serve.server import ServeSettings
from mspn.structures.boxes import Box, Detection
from mspn.structures.image import Image
from tests.untrained import untrained, untrained_weights

HOST = "127.0.0.1"
_TWO_STAGES = ["model.num_stages=2"]
"""The service shows the heat maps of each."""


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The one line of an error."""
        assert self.headers["content-type"] == "application/json", self
        message = self.json["error"]
        assert message
        assert "\n" not in message
        return message


def ask(
    port: int, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, method: str | None = None
) -> Answer:
    with closing(http.client.HTTPConnection(HOST, port, timeout=20)) as connection:
        connection.request(method or ("GET" if body is None else "POST"), path, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


def connect(port: int) -> socket.socket:
    connection = socket.create_connection((HOST, port), timeout=10)
    connection.settimeout(10)
    return connection


def in_threads(count: int, function: Callable[[int], Any]) -> tuple[list[threading.Thread], list[Any]]:
    results: list[Any] = [None] * count

    def run(index: int) -> None:
        results[index] = function(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    return threads, results


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def gauge(port: int, name: str) -> float:
    lines = ask(port, "/metrics").body.decode().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def form_of(files: Sequence[tuple[str, bytes]]) -> tuple[bytes, dict[str, str]]:
    """A form with files, and its headers."""
    parts = [
        f'--cut\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in files
    ]
    return b"".join(parts) + b"--cut--\r\n", {"Content-Type": "multipart/form-data; boundary=cut"}


def picture(width: int = 48, height: int = 64, seed: int = 0, suffix: str = ".jpg") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    done, encoded = cv2.imencode(suffix, pixels)
    assert done
    return encoded.tobytes()


@dataclass(eq=False)
class GatedDetector:
    """Finds `num_people` in each image, once the gate is open."""

    num_people: int = 1
    gate: threading.Event = field(default_factory=threading.Event)
    has_begun: threading.Event = field(default_factory=threading.Event)
    num_images: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def shut(self) -> None:
        self.gate.clear()
        self.has_begun.clear()
        self.num_images = 0

    def detect(self, image: Image) -> list[Detection]:
        self.has_begun.set()
        assert self.gate.wait(20)
        self.num_images += 1
        height, width = image.size
        # The whole image, its left third, its left fifth: a tracker takes none for a second box of another.
        widths = [width / (1 + 2 * n) for n in range(self.num_people)]
        return [Detection(Box(0.0, 0.0, part, float(height)), 0.9 - 0.1 * n) for n, part in enumerate(widths)]


def gated_estimator(folder: Path, detector: GatedDetector) -> PoseEstimator:
    checkpoint = untrained(folder, _TWO_STAGES)
    return PoseEstimator(checkpoint, detector, device="cpu", precision="float32", batch_size=3)


@contextmanager
def served(folder: Path, estimator: PoseEstimator, limits: ServeLimits | None = None, **settings: Any) -> Iterator[int]:
    """Serve in a thread, and give the port."""
    chosen = ServeSettings(limits=limits or ServeLimits(), port=0, **settings)
    model = str(untrained_weights(folder, _TWO_STAGES))
    with patch.object(server, "LOGGING", None):
        running = uvicorn.Server(server.configure(model, estimator, chosen))
        listener = server.listen(chosen.host, chosen.port)
    port = listener.getsockname()[1]
    thread = threading.Thread(target=running.run, args=([listener],))
    thread.start()
    try:
        while not running.started:
            thread.join(0.01)
            assert thread.is_alive()
        yield port
    finally:
        running.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
