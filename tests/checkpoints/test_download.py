import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mspn.checkpoints.index import Limits, check_url, download
from mspn.errors import DownloadError
from mspn.io.http import FetchError, FetchRules, check_address
from tests.checkpoints import file_server
from tests.checkpoints.file_server import Answer, FileServer, serve

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LIMITS = Limits(stall_seconds=0.2, tries=3, pause_seconds=0, max_bytes=2 * len(CONTENT))
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
    "hang": (file_server.hang, r"sends nothing for 0\.2 seconds"),
    "hang half-way": (file_server.hang_half_way, r"sends nothing for 0\.2 seconds"),
    "drip": (file_server.drip, r"is too slow \(\d+ bytes in 0 s\)"),
    "endless": (file_server.never_end, "sends more than the limit of 512000 bytes"),
    "enormous": (file_server.claim_length(10**12), "offers 1000000256000 bytes, above the limit of 512000"),
    "always cut": (file_server.cut_half_way, "broke off, 128000 bytes before the end"),
    "redirect to file": (
        file_server.redirect("file:///etc/hostname"),
        "redirects to file:///etc/hostname: must be an https address",
    ),
    "redirect to ftp": (
        file_server.redirect("ftp://127.0.0.1/weights.pth"),
        "redirects to .*: must be an https address",
    ),
    "redirect to nowhere": (file_server.redirect("http://[::1/weights.pth"), "redirects to what is no address"),
    "redirect to http": (
        file_server.redirect("http://example.invalid/weights.pth"),
        "redirects to .*: must be an https address",
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
    with pytest.raises(DownloadError, match="offers 256000 bytes, above the limit of 1000"):
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
    rules = FetchRules(wait_seconds=1, total_seconds=1, max_redirects=1, is_https_only=True)

    check_address("http://localhost/", rules)
    check_address("http://localhost/", rules, previous="http://127.0.0.1/")
    with pytest.raises(FetchError, match="must be an https address"):
        check_address("http://localhost/", rules, previous="https://example.org/")


def test_a_connection_ends_at_its_time_limit_and_the_next_one_resumes(server: FileServer, tmp_path: Path):
    def drip_fast(handler: file_server.Handler) -> None:
        handler.start(200, Content_Length=len(CONTENT))
        handler.wfile.write(CONTENT[:HALF])
        for index in range(HALF, len(CONTENT)):
            if handler.server.closing.wait(0.05):
                return
            handler.wfile.write(CONTENT[index : index + 1])

    server.answers = [drip_fast, serve]
    limits = replace(LIMITS, stall_seconds=2, connection_seconds=0.3)

    download([server.url()], tmp_path / "weights.pth", sha256=SHA256, limits=limits)

    assert_only_the_file(tmp_path)
    assert [request.get("Range", "")[:6] for request in server.requests] == ["", "bytes="]


def test_redirects_of_a_download_end(server: FileServer, tmp_path: Path):
    server.answers = [file_server.redirect("/again")]

    with pytest.raises(DownloadError, match="redirects more than 10 times"):
        get(tmp_path, server.url())


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
    with pytest.raises(DownloadError, match="must be an https address"):
        check_url(url)


def test_nobody_listening_is_one_line(tmp_path: Path):
    with file_server.running(CONTENT) as server:
        url = server.url()

    with pytest.raises(DownloadError, match=r"127\.0\.0\.1 cannot be reached \(.*[Rr]efused"):
        get(tmp_path, url)
