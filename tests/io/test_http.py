import io
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import ip_network
from typing import Any

import pytest

from mspn.errors import SourceError
from mspn.io import http as module
from mspn.io.http import FetchRules, fetched, open_url
from mspn.io.limits import InputLimits
from tests.checkpoints import file_server
from tests.checkpoints.file_server import FileServer

CONTENT = bytes(range(256)) * 400
HERE = ip_network("127.0.0.1/32")
SETTINGS = InputLimits(
    wait_seconds=0.3, download_seconds=5, download_bytes=len(CONTENT), max_redirects=2, allowed_networks=(HERE,)
)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server.running(CONTENT) as server:
        yield server


def fetch(url: str, **changes: Any) -> bytes:
    with fetched(url, SETTINGS.model_copy(update=changes)) as file:
        return file.read()


def test_what_an_address_gives_is_fetched(server: FileServer):
    assert fetch(server.url("an image.jpg?size=large")) == CONTENT
    assert server.requests[0]["User-Agent"] == "mspn (human pose estimation)"
    assert server.requests[0]["Host"] == f"127.0.0.1:{server.server_port}"


def test_redirects_are_followed(server: FileServer):
    server.answers = [file_server.redirect("/elsewhere"), file_server.redirect(server.url()), file_server.serve]

    assert fetch(server.url()) == CONTENT


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_redirect_may_have_letters_that_are_not_ascii(encoding: str, server: FileServer):
    paths = []

    def serve(handler: file_server.Handler) -> None:
        paths.append(handler.path)
        file_server.serve(handler)

    server.answers = [file_server.redirect("/\u00c5.jpg".encode(encoding).decode("latin-1")), serve]

    assert fetch(server.url()) == CONTENT
    assert paths == ["/%C3%85.jpg"]


def test_who_asks_is_not_said_to_another_host(server: FileServer):
    elsewhere = server.url().replace("127.0.0.1", "localhost")
    server.answers = [file_server.redirect("/same"), file_server.redirect(elsewhere), file_server.serve]
    rules = FetchRules(0.3, 5, 2, allowed_networks=(HERE, ip_network("::1/128")))

    with open_url(server.url(), rules, {"Authorization": "Token secret", "Range": "bytes=0-"}):
        pass

    assert [request.get("Authorization") for request in server.requests] == ["Token secret", "Token secret", None]
    assert [request["Range"] for request in server.requests] == ["bytes=0-"] * 3


def test_a_post_goes_to_its_address_alone(server: FileServer):
    server.answers = [file_server.redirect(server.url("elsewhere"))]

    with open_url(server.url(), FetchRules(0.3, 5, 2, allowed_networks=(HERE,)), {}, b"secret") as response:
        assert response.status == 302

    assert len(server.requests) == 1


def test_redirects_end(server: FileServer):
    server.answers = [file_server.redirect("/again")]

    with pytest.raises(SourceError, match="redirects more than 2 times; give the last address"):
        fetch(server.url())
    assert len(server.requests) == 3


@pytest.mark.parametrize("target", ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://127.0.0.2/"])
def test_a_redirect_to_a_private_address_is_refused_before_connecting(
    target: str, server: FileServer, monkeypatch: pytest.MonkeyPatch
):
    connected = []
    connect = module.socket.socket.connect

    class Watched(module.socket.socket):
        def connect(self, place: Any) -> None:
            connected.append(place)
            connect(self, place)

    monkeypatch.setattr(module.socket, "socket", Watched)
    server.answers = [file_server.redirect(target)]

    with pytest.raises(SourceError, match=f"redirects to {re.escape(target)}: .* is not on the public internet"):
        fetch(server.url())
    assert connected == [("127.0.0.1", server.server_port)]


def test_private_addresses_are_refused_unless_allowed(server: FileServer):
    with pytest.raises(SourceError, match=r"nothing is asked there unless its network is allowed \(--allow-network"):
        fetch(server.url(), allowed_networks=())
    assert server.requests == []


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/a", "gopher://127.0.0.1/"])
def test_a_redirect_to_anything_but_the_web_is_refused(target: str, server: FileServer):
    server.answers = [file_server.redirect(target)]

    with pytest.raises(SourceError, match="only addresses that start with http"):
        fetch(server.url())


def test_the_address_that_was_checked_is_connected_to(server: FileServer, monkeypatch: pytest.MonkeyPatch):
    # A name that is looked up again after the check may be somewhere else by then.
    answers = ["127.0.0.1", "10.0.0.1"]
    look_up = module.socket.getaddrinfo
    monkeypatch.setattr(
        module.socket, "getaddrinfo", lambda _host, *rest, **more: look_up(answers.pop(0), *rest, **more)
    )

    assert fetch(f"http://changing.example:{server.server_port}/a.jpg") == CONTENT
    assert answers == ["10.0.0.1"]


def test_proxies_of_the_environment_are_not_used(server: FileServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("all_proxy", "http://127.0.0.1:9")

    assert fetch(server.url()) == CONTENT


def test_too_much_is_refused_with_and_without_its_length(server: FileServer):
    with pytest.raises(SourceError, match=r"offers 102400 bytes, above the limit of 1000; download it"):
        fetch(server.url(), download_bytes=1000)

    server.answers = [file_server.never_end]
    with pytest.raises(SourceError, match="sends more than the limit of 102400 bytes"):
        fetch(server.url())


def test_a_slow_address_ends_on_time(server: FileServer):
    server.answers = [file_server.drip]
    start = time.monotonic()

    with pytest.raises(SourceError, match=r"takes longer than 0\.2 seconds; download it"):
        fetch(server.url(), download_seconds=0.2)
    assert time.monotonic() - start < 2


def test_a_slow_address_without_a_length_is_not_taken_for_whole(server: FileServer):
    def drip_without_length(handler: file_server.Handler) -> None:
        handler.start(200)
        while not handler.server.closing.wait(0.02):
            handler.wfile.write(b"x")

    server.answers = [drip_without_length]

    with pytest.raises(SourceError, match=r"takes longer than 0\.2 seconds"):
        fetch(server.url(), download_seconds=0.2)


def test_a_host_that_cannot_show_who_it_is_is_refused(server: FileServer):
    with pytest.raises(SourceError, match=r"does not show that it is who it should be .*; check the address"):
        fetch(server.url().replace("http:", "https:"))
    assert server.requests == []


def test_a_header_that_never_ends_ends_on_time(server: FileServer):
    def drip_header(handler: file_server.Handler) -> None:
        while not handler.server.closing.wait(0.02):
            handler.wfile.write(b"x")

    server.answers = [drip_header]

    with pytest.raises(SourceError, match=r"takes longer than 0\.2 seconds"):
        fetch(server.url(), download_seconds=0.2)


def drip_headers(handler: file_server.Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.server.closing.wait(0.02):
        handler.wfile.write(b"X-Header: 1\r\n")


def continue_for_ever(handler: file_server.Handler) -> None:
    while not handler.server.closing.is_set():
        handler.wfile.write(100 * b"HTTP/1.1 100 Continue\r\n\r\n")


def send_trailers_for_ever(handler: file_server.Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    while not handler.server.closing.is_set():
        handler.wfile.write(100 * b"X-Trailer: 1\r\n")


def drip_trailers(handler: file_server.Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n")
    while not handler.server.closing.wait(0.02):
        handler.wfile.write(b"X")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (drip_headers, "does not complete its headers within 0.3 seconds"),
        (continue_for_ever, "sends no end of headers"),
        (send_trailers_for_ever, "sends no end of what stands around the body"),
        (drip_trailers, "takes longer than 0.6 seconds"),
    ],
)
def test_nothing_around_a_body_holds_or_fills_us(answer: file_server.Answer, problem: str, server: FileServer):
    server.answers = [answer]
    start = time.monotonic()

    with pytest.raises(SourceError, match=re.escape(problem)):
        fetch(server.url(), download_seconds=0.6)
    assert time.monotonic() - start < 1


def test_the_body_of_a_redirect_is_not_read(server: FileServer):
    sent = []

    def redirect_without_end(handler: file_server.Handler) -> None:
        handler.start(302, Location="/elsewhere")
        with suppress(OSError):  # the other side hangs up
            for _ in range(1000):
                handler.wfile.write(bytes(2**16))
                sent.append(2**16)

    server.answers = [redirect_without_end, file_server.serve]

    assert fetch(server.url()) == CONTENT
    # No more than the buffers between the two hold.
    assert sum(sent) < 16 * 2**20


def test_an_address_that_the_user_wrote_may_be_anywhere(server: FileServer):
    own = server.url("own")

    assert fetch(own, allowed_networks=(), own_addresses=frozenset({own})) == CONTENT
    with pytest.raises(SourceError, match="not on the public internet"):
        fetch(server.url("other"), allowed_networks=(), own_addresses=frozenset({own}))


def test_a_redirect_of_an_own_address_may_not_be_anywhere(server: FileServer):
    server.answers = [file_server.redirect("/other")]

    with pytest.raises(SourceError, match=r"redirects to .*/other: 127\.0\.0\.1 is not on the public internet"):
        fetch(server.url("own"), allowed_networks=(), own_addresses=frozenset({server.url("own")}))
    assert len(server.requests) == 1


def test_a_full_disk_is_a_clear_line(server: FileServer, monkeypatch: pytest.MonkeyPatch):
    class FullDisk(io.BytesIO):
        def write(self, _content: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.tempfile, "TemporaryFile", FullDisk)

    with pytest.raises(SourceError, match=r"cannot be kept \(No space left on device\); make room in"):
        fetch(server.url())


def test_silence_is_not_waited_for(server: FileServer):
    server.answers = [file_server.hang]

    with pytest.raises(SourceError, match=r"sends nothing for 0\.3 seconds; try again"):
        fetch(server.url())


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (file_server.status(404), "answers 404 Not Found"),
        (file_server.cut_half_way, "broke off, 51200 bytes before the end"),
        (lambda handler: handler.wfile.write(b"non\x1b[1msense\r\n\r\n"), r"broke off \(non\[1msense\)"),
        (file_server.redirect("http://["), r"redirects to what is no address \(Invalid IPv6 URL\)"),
    ],
)
def test_bad_answers_are_clear_lines(answer: file_server.Answer, problem: str, server: FileServer):
    server.answers = [answer]

    with pytest.raises(SourceError, match=f"^{re.escape(server.url())}: .*{problem}"):
        fetch(server.url())


def test_a_host_that_does_not_answer_is_a_clear_line():
    with socket.socket() as silent:  # it keeps its port, and does not listen
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]

        with pytest.raises(SourceError, match=r"cannot be reached \(Connection refused\); check the address"):
            fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http:///a.jpg", "http://me:secret@127.0.0.1:99999/a.jpg"])
def test_bad_addresses_are_refused_without_showing_passwords(url: str):
    with pytest.raises(SourceError) as raised:
        fetch(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("credentials", ["me:secret", "secret", ":secret"])
def test_addresses_with_credentials_are_not_fetched(credentials: str, server: FileServer):
    url = server.url().replace("http://", f"http://{credentials}@")

    with pytest.raises(SourceError, match=f"^{re.escape(server.url())}: addresses with a password in them are not"):
        fetch(url)
    assert server.requests == []


def test_a_redirect_to_an_address_with_credentials_is_not_followed(server: FileServer):
    server.answers = [file_server.redirect(server.url("b").replace("http://", "http://me:secret@"))]

    with pytest.raises(SourceError, match=f"redirects to {re.escape(server.url('b'))}: addresses with a password"):
        fetch(server.url("a"))
    assert len(server.requests) == 1
