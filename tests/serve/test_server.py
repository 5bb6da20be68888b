import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mspn.errors import InvalidValueError
from mspn.serve.server import listen, read_token
from tests.cli.runner import error_line, run
from tests.serve.serving import (
    HOST,
    GatedDetector,
    ask,
    connect,
    gated_estimator,
    gauge,
    in_threads,
    picture,
    served,
    wait_until,
)
from tests.untrained import untrained_weights

START_SECONDS = 120


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command in a process of its own, and its port once it is ready."""
    command = [sys.executable, "-m", "mspn", "serve", "--port", "0"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            port = int(json.loads(process.stderr.readline())["address"].rpartition(":")[2])
            threading.Thread(target=process.stderr.read, daemon=True).start()
            wait_until_ready(port)
            yield process, port
        finally:
            process.kill()


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError):
            if ask(port, "/ready").status == 200:
                return
        time.sleep(0.05)
    raise TimeoutError


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Ids of its processes that serve, which multiprocessing has spawned."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def test_a_stop_loses_no_request_that_was_accepted(tmp_path: Path):
    detector = GatedDetector()
    received: list[bytes] = []
    with served(tmp_path, gated_estimator(tmp_path, detector)) as port:
        detector.shut()
        clients, answers = in_threads(5, lambda n: ask(port, "/v1/poses", picture(seed=n)))
        # Connected before the stop, and asks after it.
        late = connect(port)
        wait_until(lambda: gauge(port, "mspn_requests_in_flight") == 5)
        asking = threading.Timer(0.15, lambda: received.append(ask_on(late, "/v1/models")))
        opening = threading.Timer(0.5, detector.gate.set)
        for timer in (asking, opening):
            timer.start()
    for thread in (*clients, asking, opening):
        thread.join()
    late.close()

    assert [answer.status for answer in answers] == [200] * 5
    assert received[0].startswith(b"HTTP/1.1 200")
    with pytest.raises(ConnectionRefusedError):
        connect(port)


def ask_on(connection: socket.socket, path: str) -> bytes:
    connection.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    return connection.recv(100)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_a_killed_worker_comes_back(tmp_path: Path):
    one = ("--model", str(untrained_weights(tmp_path)), "--detector", "none")
    with serving(*one, "--workers", "2") as (process, port):
        killed, _ = workers_of(process)
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + START_SECONDS
        while (killed in (now := workers_of(process)) or len(now) < 2) and time.monotonic() < deadline:
            time.sleep(0.05)

        assert ask(port, "/v1/poses", picture()).status == 200
        assert killed not in workers_of(process)
        assert len(workers_of(process)) == 2
        assert "mspn_people_total" in ask(port, "/metrics").body.decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_SECONDS) == 0


def test_an_address_that_is_taken_is_one_line(tmp_path: Path):
    weights = untrained_weights(tmp_path)
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]

        line = error_line(run("serve", "--model", weights, "--detector", "none", "--port", port))

    assert f"cannot listen at 127.0.0.1, port {port}" in line
    assert "choose another --host or --port" in line


def test_a_host_that_is_not_here_is_one_line():
    with pytest.raises(InvalidValueError, match=r"cannot listen at 192\.0\.2\.1, port 0"):
        listen("192.0.2.1", 0)  # of documentation: nobody has it


def test_weights_that_are_not_there_are_one_line():
    assert "no weights file at missing" in error_line(run("serve", "--model", "missing"))


@pytest.mark.parametrize("text", ["", "short", "0123456789 abcdef", "0123456789\nabcdef", "0123456789abcdé"])
def test_a_token_is_long_and_on_one_line(tmp_path: Path, text: str):
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(InvalidValueError, match="holds no token"):
        read_token(path)


def test_a_token_is_read_without_the_space_around_it(tmp_path: Path):
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n")

    assert read_token(path) == "0123456789abcdef"
    with pytest.raises(InvalidValueError, match="cannot be read"):
        read_token(tmp_path / "none")
