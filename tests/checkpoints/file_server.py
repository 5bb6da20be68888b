"""A web server on this machine that serves one file, and can be told to misbehave."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    server: "FileServer"

    def do_GET(self) -> None:
        self.server.requests.append(dict(self.headers))
        answers = self.server.answers
        with suppress(BrokenPipeError, ConnectionResetError):  # the client has seen enough
            # The last answer is given again and again.
            (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def do_POST(self) -> None:
        self.do_GET()

    def start(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (its parent's name)
        pass


class FileServer(ThreadingHTTPServer):
    """Gives its answers in turn, one a request."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.answers: list[Answer] = [serve]
        self.requests: list[dict[str, str]] = []
        self.closing = threading.Event()

    def url(self, name: str = "weights.pth") -> str:
        return f"http://127.0.0.1:{self.server_port}/files/{name}"

    @property
    def ranges(self) -> list[str | None]:
        return [request.get("Range") for request in self.requests]


@contextmanager
def running(content: bytes) -> Iterator[FileServer]:
    with FileServer(content) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def serve(handler: Handler) -> None:
    """As servers do: whole, or from where the client asks; whole if it asks for a version that is not here."""
    content, asked = handler.server.content, re.match(r"bytes=(\d+)-", handler.headers["Range"] or "")
    tag = f'"{len(content)}-{hash(content)}"'
    if asked is None or handler.headers.get("If-Range", tag) != tag:
        handler.start(200, Content_Length=len(content), ETag=tag)
        handler.wfile.write(content)
    elif int(asked[1]) >= len(content):
        handler.start(416, Content_Range=f"bytes */{len(content)}")
    else:
        start = int(asked[1])
        rest = content[start:]
        handler.start(
            206,
            Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}",
            Content_Length=len(rest),
            ETag=tag,
        )
        handler.wfile.write(rest)


def serve_late(handler: Handler) -> None:
    handler.server.closing.wait(0.3)
    serve(handler)


def cut_half_way(handler: Handler) -> None:
    content = handler.server.content
    handler.start(200, Content_Length=len(content))
    handler.wfile.write(content[: len(content) // 2])


def cut_half_way_without_length(handler: Handler) -> None:
    content = handler.server.content
    handler.start(200)
    handler.wfile.write(content[: len(content) // 2])


def ignore_range(handler: Handler) -> None:
    handler.start(200, Content_Length=len(handler.server.content))
    handler.wfile.write(handler.server.content)


def claim_length(difference: int) -> Answer:
    def answer(handler: Handler) -> None:
        handler.start(200, Content_Length=len(handler.server.content) + difference)
        handler.wfile.write(handler.server.content)

    return answer


def send(content: bytes) -> Answer:
    def answer(handler: Handler) -> None:
        handler.start(200, Content_Length=len(content))
        handler.wfile.write(content)

    return answer


def send_another_piece(handler: Handler) -> None:
    content = handler.server.content
    handler.start(206, Content_Range=f"bytes 7-{len(content) - 1}/{len(content)}", Content_Length=len(content) - 7)
    handler.wfile.write(content[7:])


def status(code: int) -> Answer:
    return lambda handler: handler.start(code, Content_Length=0)


def redirect(url: str) -> Answer:
    return lambda handler: handler.start(302, Location=url, Content_Length=0)


def hang(handler: Handler) -> None:
    handler.server.closing.wait(10)


def hang_half_way(handler: Handler) -> None:
    cut_half_way(handler)
    hang(handler)


def drip(handler: Handler) -> None:
    handler.start(200, Content_Length=len(handler.server.content))
    while not handler.server.closing.wait(0.02):
        handler.wfile.write(b"x")


def never_end(handler: Handler) -> None:
    handler.start(200)
    while not handler.server.closing.is_set():
        handler.wfile.write(b"x" * 65536)
