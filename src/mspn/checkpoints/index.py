"""The index of published weights: what there is, where it lies, and how to know that it is the right file.

A file of it is downloaded over https, from several addresses in turn, resumed where it broke off, checked before
use.
"""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from mspn.errors import DownloadError
from mspn.io.files import sha256_of
from mspn.io.http import FetchError, FetchRules, Response, check_address, cut_short, open_url
from mspn.io.limits import ANY_NETWORK
from mspn.structures.settings import Settings

ASSETS = Path(__file__).parents[1] / "assets"
_INDEX_FILE = Path(__file__).parent / "index.json"
_FULL_DIGITS = 64


class IndexEntry(Settings):
    """One set of weights: a file of the package, a file to download, or one to fetch by hand."""

    name: str
    recipe: str
    """Name of the network; this version need not build it."""
    layout: Literal["mspn", "official", "mmpose"]
    file: str | None = None
    """In the package's assets."""
    urls: tuple[str, ...] = ()
    """Where the same file lies, tried in this order."""
    page: str | None = None
    """Where a person finds the file, if there is no address that gives it."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{8,64}$")
    """The first digits, as many as are known. MMPose's file names carry eight."""
    size: int | None = Field(None, ge=1)
    """Bytes of the file at `urls`, where known."""
    license: str
    data: tuple[str, ...]
    """Sets that it was trained on."""
    results: dict[str, float] = Field(default_factory=dict)
    """As published, from 0 to 1."""
    protocol: str = ""
    """What the results were measured on, with whose boxes."""
    source: str
    """Who says all this."""

    @property
    def filename(self) -> str:
        """Name of the file at `urls`."""
        return PurePosixPath(urlsplit(self.urls[0]).path).name

    @field_validator("urls")
    @classmethod
    def _check_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            check_url(url)
        if len({PurePosixPath(urlsplit(url).path).name for url in urls}) > 1:
            raise ValueError(f"urls must all end in the same file name, not {', '.join(urls)}")
        return urls

    @model_validator(mode="after")
    def _check_place(self) -> "IndexEntry":
        if [self.file is not None, bool(self.urls), self.page is not None].count(True) != 1:
            raise ValueError(f"{self.name} must have one of file, urls and page")
        if (self.file is not None) != (self.layout == "mspn"):
            raise ValueError(f"{self.name}: files of the package have the layout mspn, others have not")
        if self.urls and self.sha256 is None:
            raise ValueError(f"{self.name} needs a sha256: nothing is downloaded that cannot be checked")
        if self.file is not None and len(self.sha256 or "") != _FULL_DIGITS:
            raise ValueError(f"{self.name} is part of the package and needs all {_FULL_DIGITS} digits of its sha256")
        return self


class Index(Settings):
    """All entries, and other names that they go by."""

    aliases: dict[str, str] = Field(default_factory=dict)
    """Other name to name; a recipe's name stands for the best weights of it."""
    entries: tuple[IndexEntry, ...]

    @model_validator(mode="after")
    def _check_names(self) -> "Index":
        names = [entry.name for entry in self.entries]
        for name in [*names, *self.aliases]:
            if (names + list(self.aliases)).count(name) > 1:
                raise ValueError(f"the index has {name!r} twice")
        for alias, name in self.aliases.items():
            if name not in names:
                raise ValueError(f"alias {alias!r} stands for {name!r}, which the index does not have")
        return self

    def find(self, name: str) -> IndexEntry | None:
        """The entry of that name or alias, if there is one."""
        name = self.aliases.get(name, name)
        return next((entry for entry in self.entries if entry.name == name), None)

    def names(self) -> list[str]:
        """Everything that `find` knows."""
        return [*(entry.name for entry in self.entries), *self.aliases]


@cache
def load_index() -> Index:
    """The index that is part of the package."""
    return Index.model_validate_json(_INDEX_FILE.read_text(encoding="utf-8"))


_MIN_PROGRESS_BYTES = 2**20
_TEMPORARY_STATUSES = (408, 425, 429)
_RANGE_NOT_SATISFIABLE = 416

Report = Callable[[int, int | None], None]
"""Called now and then with the bytes that are there and, if the server says so, how many there will be."""


@dataclass(frozen=True)
class Limits:
    """How long and how much a download may take."""

    stall_seconds: float = 30.0
    """Longest wait for a connection, for the headers of an answer, or for more bytes."""
    min_bytes_per_second: float = 1024.0
    """Over any `stall_seconds`; less counts as broken off."""
    connection_seconds: float = 3600.0
    """Longest time of one connection; the next one resumes."""
    max_bytes: int = 2 * 1024**3
    """Where the file's size is not known."""
    max_redirects: int = 10
    tries: int = 4
    """At one address, without getting a megabyte further."""
    pause_seconds: float = 2.0
    """Before another try at the same address."""


def check_url(url: str) -> None:
    """Refuse addresses that are not encrypted, except on this machine.

    Raises:
        DownloadError: naming the address.
    """
    try:
        check_address(url, _rules(Limits()))
    except FetchError as error:
        raise DownloadError(f"{url}: {error.message}") from error


def _rules(limits: Limits) -> FetchRules:
    return FetchRules(
        limits.stall_seconds,
        limits.connection_seconds,
        limits.max_redirects,
        limits.min_bytes_per_second,
        allowed_networks=ANY_NETWORK,
        is_https_only=True,
    )


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

    What arrives is kept in `destination` + ".part" until then, and the next call resumes from there; a file that is
    there already is checked and, if right, not downloaded again. Only one process may do so at a time. Proxies of the
    environment are not used, see `open_url`.

    Args:
        urls: where the same file lies; the next is tried when one fails.
        destination: in a folder that exists.
        sha256: the first digits, in lower case; the file must have them.
        size: in bytes, where known; the download stops when more arrives.
        limits: how long and how much it may take; None for the defaults.
        report: called with the progress.

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
        except FetchError as error:
            problems.append(f"{urlsplit(url).hostname} {error.message}")
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
        """Complete the part from one address."""
        tries, furthest, self.version = self.limits.tries, self._num_bytes(), None
        if furthest and self._is_right():
            return
        while True:
            try:
                is_resumed = self._receive(url)
            except FetchError as error:
                if not error.is_temporary:
                    raise
                if self._num_bytes() and self._is_right():  # whatever length the server promised
                    return
                tries = self.limits.tries if self._num_bytes() > furthest + _MIN_PROGRESS_BYTES else tries - 1
                furthest = max(furthest, self._num_bytes())
                if tries <= 0:
                    raise
                time.sleep(self.limits.pause_seconds)
                continue
            if self._is_right():
                return
            digest = sha256_of(self.part)
            self.part.unlink()
            if not is_resumed:
                raise FetchError(f"gives another file: its SHA-256 is {digest}, not {self.sha256}...")
            # The two pieces were of different files: once more, from the start.

    def _receive(self, url: str) -> bool:
        """Add to the part until the server has no more; whether it was resumed."""
        start = self._num_bytes()
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and self.version and not self.version.startswith("W/"):
            headers["If-Range"] = self.version
        with open_url(url, _rules(self.limits), headers) as response:
            has_range = response.status != _RANGE_NOT_SATISFIABLE
            if has_range or not start:
                self._save(response, start)
                return response.status == 206 and start > 0
        self.part.unlink()
        return self._receive(url)

    def _save(self, response: Response, start: int) -> None:
        if response.status not in (200, 206):
            is_temporary = response.status >= 500 or response.status in _TEMPORARY_STATUSES
            raise FetchError(f"answers {response.status} {response.reason}", is_temporary=is_temporary)
        self.version = response.headers["ETag"] or response.headers["Last-Modified"]
        is_resumed = response.status == 206
        if is_resumed and not _starts_at(response, start):
            self.part.unlink(missing_ok=True)
            raise FetchError("sends another range of the file than requested", is_temporary=True)
        done = start if is_resumed else 0
        total = None if response.length is None else done + response.length
        chunks = response.read_chunks(self.size or self.limits.max_bytes, done)
        try:
            with self.part.open("ab" if is_resumed else "wb") as file:
                for chunk in chunks:
                    done += len(chunk)
                    file.write(chunk)
                    self.report(done, total)
        except FetchError as error:
            if not error.is_temporary:  # more than the file can have
                self.part.unlink()
            raise
        if total is None and self.size is not None and done < self.size:
            raise cut_short(self.size - done)

    def _num_bytes(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def _is_right(self) -> bool:
        return sha256_of(self.part).startswith(self.sha256)


def _starts_at(response: Response, start: int) -> bool:
    match = re.match(r"bytes (\d+)-", response.headers["Content-Range"] or "")
    return match is not None and int(match[1]) == start
