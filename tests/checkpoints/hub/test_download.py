import hashlib
from collections.abc import Iterator
from pathlib import Path
from urllib.request import Request

import pytest

from mspn.checkpoints.hub import download as module
from mspn.checkpoints.hub.download import Limits, check_url, download
from mspn.errors import DownloadError
from tests.checkpoints.hub import file_server
from tests.checkpoints.hub.file_server import Answer, FileServer, serve

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LIMITS = Limits(stall_seconds=0.2, tries=3, pause_seconds=0, most_bytes=2 * len(CONTENT))
HALF = len(CONTENT) // 2


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server.running(CONTENT) as server:
        yield server


def get(folder: Path, *urls: str, sha256: str = SHA256, size: int | None = None) -> str:
    return download(urls, folder / "weights.pth", sha256=sha256, size=size, limits=LIMITS)


def assert_only_the_file(folder: Path) -> None:
    assert [path.name for path in folder.iterdir()] == ["weights.pth"]
    assert (folder / "weights.pth").read_bytes() == CONTENT


def test_a_file_is_downloaded_and_its_progress_told(server: FileServer, tmp_path: Path):
    told = []

    url = download(
        [server.url()],
        tmp_path / "weights.pth",
        sha256=SHA256[:8],
        limits=LIMITS,
        report=lambda done, total: told.append((done, total)),
    )

    assert url == server.url()
    assert_only_the_file(tmp_path)
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_a_broken_download_goes_on_where_it_broke(server: FileServer, tmp_path: Path):
    server.answers = [file_server.cut_half_way, serve]

    get(tmp_path, server.url())

    assert_only_the_file(tmp_path)
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server: FileServer, tmp_path: Path):
    server.answers = [file_server.cut_half_way, file_server.status(503)]
    with pytest.raises(DownloadError, match="answers 503"):
        get(tmp_path, server.url())
    server.answers = [serve]

    get(tmp_path, server.url())

    assert_only_the_file(tmp_path)
    assert server.ranges[-1] == f"bytes={HALF}-"


def test_a_server_that_ignores_ranges_is_read_from_the_start(server: FileServer, tmp_path: Path):
    server.answers = [file_server.cut_half_way, file_server.ignore_range]

    get(tmp_path, server.url())

    assert_only_the_file(tmp_path)
    assert len(server.requests) == 2


def test_a_server_that_sends_another_piece_than_asked_for_is_asked_again(server: FileServer, tmp_path: Path):
    server.answers = [file_server.cut_half_way, file_server.send_another_piece, serve]

    get(tmp_path, server.url())

    assert_only_the_file(tmp_path)
    assert server.ranges == [None, f"bytes={HALF}-", None]


def test_a_part_of_another_file_is_dropped(server: FileServer, tmp_path: Path):
    (tmp_path / "weights.pth.part").write_bytes(b"older version")

    get(tmp_path, server.url())

    assert_only_the_file(tmp_path)
    assert server.ranges == ["bytes=13-", None]


def test_a_part_that_is_longer_than_the_file_is_dropped(server: FileServer, tmp_path: Path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT + b"more")

    get(tmp_path, server.url())

    assert_only_the_file(tmp_path)


def test_a_file_that_changes_between_two_tries_is_read_from_the_start(server: FileServer, tmp_path: Path):
    def cut_older_version(handler: file_server.Handler) -> None:
        handler.start(200, Content_Length=len(CONTENT), ETag='"older"')
        handler.wfile.write(b"x" * 1000)

    server.answers = [cut_older_version, serve]

    get(tmp_path, server.url())

    assert_only_the_file(tmp_path)
    assert (server.requests[1]["Range"], server.requests[1]["If-Range"]) == ("bytes=1000-", '"older"')
    assert len(server.requests) == 2


def test_a_whole_part_is_not_downloaded_again(server: FileServer, tmp_path: Path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)

    get(tmp_path, server.url())

    assert_only_the_file(tmp_path)
    assert server.requests == []


def test_a_length_that_promises_too_much_does_not_matter_when_the_checksum_is_right(server: FileServer, tmp_path: Path):
    server.answers = [file_server.claim_length(100)]

    get(tmp_path, server.url())

    assert_only_the_file(tmp_path)


REFUSED: dict[str, tuple[Answer, str]] = {
    "length too short": (file_server.claim_length(-100), r"gives another file: its SHA-256 is [0-9a-f]{64}, not"),
    "wrong bytes": (file_server.send(b"x" * len(CONTENT)), r"gives another file: its SHA-256 is"),
    "nothing": (file_server.send(b""), r"gives another file: its SHA-256 is e3b0c442"),
    "page": (file_server.send(b"<html>"), r"gives another file: its SHA-256 is"),
    "404": (file_server.status(404), "answers 404 Not Found"),
    "500": (file_server.status(500), "answers 500 Internal Server Error"),
    "hang": (file_server.hang, r"cannot be reached \(timed out\)"),
    "hang half-way": (file_server.hang_half_way, r"broke off \(timed out\)"),
    "drip": (file_server.drip, r"is too slow \(\d+ bytes in 0 s\)"),
    "endless": (file_server.never_end, "sends more than the 512000 bytes that are expected"),
    "enormous": (file_server.claim_length(10**12), r"offers 1000000256000 bytes, where at most 512000 are expected"),
    "always cut": (file_server.cut_half_way, "ended the connection at 128000 of 256000 bytes"),
    "redirect to file": (file_server.redirect("file:///etc/hostname"), "answers 302 .* is not allowed"),
    "redirect to ftp": (
        file_server.redirect("ftp://127.0.0.1/weights.pth"),
        "redirects to .*, which is no https address",
    ),
    "redirect to nowhere": (file_server.redirect("http://[::1/weights.pth"), "redirects to what is no address"),
    "redirect to http": (
        file_server.redirect("http://example.invalid/weights.pth"),
        "redirects to .*, which is no https address",
    ),
}


@pytest.mark.parametrize(("answer", "message"), REFUSED.values(), ids=REFUSED)
def test_a_server_that_fails_is_named_with_the_reason_and_leaves_no_file(
    answer: Answer, message: str, server: FileServer, tmp_path: Path
):
    server.answers = [answer]

    with pytest.raises(DownloadError, match=rf"^127\.0\.0\.1 ({message})"):
        get(tmp_path, server.url())

    assert not (tmp_path / "weights.pth").exists()
    assert len(server.requests) <= LIMITS.tries


@pytest.mark.parametrize("answer", [answer for answer, _ in REFUSED.values()], ids=REFUSED)
def test_the_next_address_makes_good_what_the_first_one_failed_at(answer: Answer, server: FileServer, tmp_path: Path):
    server.answers = [answer]

    with file_server.running(CONTENT) as mirror:
        assert get(tmp_path, server.url(), mirror.url()) == mirror.url()

    assert_only_the_file(tmp_path)


def test_every_address_is_named_when_all_fail(server: FileServer, tmp_path: Path):
    server.answers = [file_server.status(404), file_server.status(403)]

    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 answers 404 Not Found; 127\.0\.0\.1 answers 403 Forbidden"):
        get(tmp_path, server.url(), server.url())


def test_a_known_size_bounds_what_is_downloaded(server: FileServer, tmp_path: Path):
    with pytest.raises(DownloadError, match="offers 256000 bytes, where at most 1000 are expected"):
        get(tmp_path, server.url(), size=1000)


def test_a_known_size_tells_a_broken_download_where_the_server_gives_no_length(server: FileServer, tmp_path: Path):
    server.answers = [file_server.cut_half_way_without_length, serve]

    get(tmp_path, server.url(), size=len(CONTENT))

    assert_only_the_file(tmp_path)
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_a_redirect_to_this_machine_is_followed_from_this_machine(server: FileServer, tmp_path: Path):
    server.answers = [file_server.redirect(server.url("elsewhere.pth")), serve]

    get(tmp_path, server.url())

    assert_only_the_file(tmp_path)


def test_a_redirect_from_the_internet_to_this_machine_is_refused():
    redirects = module._SafeRedirects()

    with pytest.raises(DownloadError, match=r"redirects to http://localhost/, which is no https address"):
        redirects.redirect_request(
            Request("https://example.org"),
            None,
            302,
            "Found",
            {},
            "http://localhost/",  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a.pth",
        "ftp://127.0.0.1/a.pth",
        "file:///a.pth",
        "a.pth",
        "https:///a.pth",
        "http://127.0.0.1.example.org/a",
    ],
)
def test_addresses_that_are_not_https_are_refused(url: str):
    with pytest.raises(DownloadError, match="is no https address"):
        check_url(url)


def test_nobody_listening_is_one_line(tmp_path: Path):
    with file_server.running(CONTENT) as server:
        url = server.url()

    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 cannot be reached \(.*[Rr]efused"):
        get(tmp_path, url)
