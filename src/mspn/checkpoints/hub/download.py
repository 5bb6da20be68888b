"""Downloading one file: over https, from several addresses in turn, resumed where it broke, checked before use."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from mspn.errors import DownloadError
from mspn.io.files import sha256_of

_CHUNK_BYTES = 2**20
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WORTH_ANOTHER_TRY = (408, 425, 429)
_RANGE_NOT_SATISFIABLE = 416

Report = Callable[[int, int | None], None]
"""Called now and then with the bytes that are there and, if the server says so, how many there will be."""


class _BrokenOffError(Exception):
    """The transfer ended early; another try may go on from there."""


@dataclass(frozen=True)
class Limits:
    """How long and how much a download may take."""

    stall_seconds: float = 30.0
    """Longest wait for a connection or for more bytes."""
    least_bytes_per_second: float = 1024.0
    """Over any `stall_seconds`; less counts as broken off."""
    most_bytes: int = 2 * 1024**3
    """Where the file's size is not known."""
    tries: int = 4
    """At one address, without getting a megabyte further."""
    pause_seconds: float = 2.0
    """Before another try at the same address."""


def check_url(url: str) -> None:
    """Refuse addresses that are not encrypted, except on this machine.

    Raises:
        DownloadError: naming the address.
    """
    if not _is_safe(url):
        raise DownloadError(f"{url} is no https address; nothing is downloaded over anything else")


def download(
    urls: Sequence[str],
    destination: Path,
    *,
    sha256: str,
    size: int | None = None,
    limits: Limits | None = None,
    report: Report = lambda _done, _total: None,
) -> str:
    """Download a file; it appears at its destination whole and checked, or not at all.

    What arrives is kept in `destination` + ".part" until then, and the next call goes on from there; a file that is
    there already is checked and, if right, not downloaded again. Only one process may do so at a time.

    Args:
        urls: where the same file lies; the next is asked when one fails.
        destination: in a folder that exists.
        sha256: the first digits, in lower case; the file must have them.
        size: in bytes, where known; the download stops when more arrives.
        limits: how long and how much it may take; None for the defaults.
        report: told of the progress.

    Returns:
        The address that gave the file.

    Raises:
        DownloadError: with what was wrong at each address.
        OSError: if the disk is full or the folder cannot be written to.
    """
    part = destination.with_name(destination.name + ".part")
    if destination.is_file():
        destination.replace(part)  # to be checked as any part
    transfer = _Transfer(part, sha256, size, limits or Limits(), report)
    problems = []
    for url in urls:
        try:
            transfer.run(url)
        except DownloadError as error:
            problems.append(f"{urlsplit(url).hostname} {error}")
            continue
        part.replace(destination)
        return url
    raise DownloadError("; ".join(problems))


@dataclass
class _Transfer:
    part: Path
    sha256: str
    size: int | None
    limits: Limits
    report: Report
    version: str | None = None
    """What the server that the part came from calls this version of the file, if it says."""

    def run(self, url: str) -> None:
        """Bring the part to completion from one address."""
        tries, furthest, self.version = self.limits.tries, self._done(), None
        if furthest and self._is_right():
            return
        while True:
            try:
                went_on = self._receive(url)
            except _BrokenOffError as error:
                if self._done() and self._is_right():  # whatever length the server promised
                    return
                tries = self.limits.tries if self._done() > furthest + _CHUNK_BYTES else tries - 1
                furthest = max(furthest, self._done())
                if tries <= 0:
                    raise DownloadError(str(error)) from error
                time.sleep(self.limits.pause_seconds)
                continue
            if self._is_right():
                return
            digest = sha256_of(self.part)
            self.part.unlink()
            if not went_on:
                raise DownloadError(f"gives another file: its SHA-256 is {digest}, not {self.sha256}...")
            # The two pieces were of different files: once more, from the start.

    def _receive(self, url: str) -> bool:
        """Add to the part until the server has no more; whether it went on from where the part ended."""
        start = self._done()
        response = self._open(url, start)
        if response is None:
            self.part.unlink()
            start, response = 0, self._open(url, 0)
        assert response is not None
        with response:
            self.version = response.headers["ETag"] or response.headers["Last-Modified"]
            went_on = response.status == 206
            if went_on and not _starts_at(response, start):
                self.part.unlink(missing_ok=True)
                raise _BrokenOffError("sends another piece of the file than was asked for")
            done = start if went_on else 0
            total = None if response.length is None else done + response.length
            most = self.size or self.limits.most_bytes
            if total is not None and total > most:
                raise DownloadError(f"offers {total} bytes, where at most {most} are expected")
            with self.part.open("ab" if went_on else "wb") as file:
                for chunk in self._chunks(response):
                    done += len(chunk)
                    if done > most:
                        break
                    file.write(chunk)
                    self.report(done, total)
        if done > most:
            self.part.unlink()
            raise DownloadError(f"sends more than the {most} bytes that are expected")
        promised = self.size if total is None else total
        if promised is not None and done < promised:
            raise _BrokenOffError(f"ended the connection at {done} of {promised} bytes")
        return went_on and start > 0

    def _open(self, url: str, start: int) -> HTTPResponse | None:
        """Ask for the file from a byte on; None if the server says that it has no such byte."""
        check_url(url)
        request = Request(url, headers={"User-Agent": "mspn", "Accept-Encoding": "identity"})
        if start:
            request.add_header("Range", f"bytes={start}-")
        if start and self.version and not self.version.startswith("W/"):
            request.add_header("If-Range", self.version)
        try:
            response: HTTPResponse = _opener(url).open(request, timeout=self.limits.stall_seconds)
        except HTTPError as error:
            error.close()
            if error.code == _RANGE_NOT_SATISFIABLE and start:
                return None
            if error.code >= 500 or error.code in _WORTH_ANOTHER_TRY:
                raise _BrokenOffError(f"answers {error.code} {error.reason}") from error
            raise DownloadError(f"answers {error.code} {error.reason}") from error
        except (OSError, HTTPException) as error:
            raise _BrokenOffError(f"cannot be reached ({_reason(error)})") from error
        except DownloadError:
            raise
        except ValueError as error:
            raise DownloadError(f"redirects to what is no address ({_reason(error)})") from error
        return response

    def _chunks(self, response: HTTPResponse) -> Iterator[bytes]:
        received, began = 0, time.monotonic()
        while True:
            try:
                chunk = response.read1(_CHUNK_BYTES)
            except (OSError, HTTPException) as error:
                raise _BrokenOffError(f"broke off ({_reason(error)})") from error
            if not chunk:
                return
            received += len(chunk)
            seconds = time.monotonic() - began
            if seconds > self.limits.stall_seconds:
                if received < seconds * self.limits.least_bytes_per_second:
                    raise _BrokenOffError(f"is too slow ({received} bytes in {seconds:.0f} s)")
                received, began = 0, time.monotonic()
            yield chunk

    def _done(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _is_right(self) -> bool:
        return sha256_of(self.part).startswith(self.sha256)


class _SafeRedirects(HTTPRedirectHandler):
    """Follow redirects to https only; to this machine only from this machine."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        if not _is_safe(newurl) or (urlsplit(newurl).scheme == "http" and not _is_loopback(req.full_url)):
            raise DownloadError(f"redirects to {newurl}, which is no https address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _opener(url: str) -> OpenerDirector:
    # Proxies of the environment serve the internet, not this machine.
    return build_opener(_SafeRedirects, *([ProxyHandler({})] if _is_loopback(url) else []))


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return (parts.scheme == "https" and bool(parts.hostname)) or (parts.scheme == "http" and _is_loopback(url))


def _is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in _LOOPBACK


def _starts_at(response: HTTPResponse, start: int) -> bool:
    match = re.match(r"bytes (\d+)-", response.headers["Content-Range"] or "")
    return match is not None and int(match[1]) == start


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, URLError) else error
    return " ".join(str(reason).split()) or type(reason).__name__
