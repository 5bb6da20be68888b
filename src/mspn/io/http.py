"""Fetch what a web address gives: bounded in size, time, pauses and pace, hosts and redirects checked."""

import io
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import IO, Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from mspn.errors import SourceError, one_line, reason
from mspn.io.limits import ANY_NETWORK, WEB_SCHEMES, InputLimits, Networks, connect, without_password

_CHUNK_BYTES = 2**16
_MAX_HEADER_BYTES = 2**16
"""Of an answer, those of interim answers before it included."""
USE_A_FILE = "download it and name the file"


class FetchError(Exception):
    """A fetch that failed; `open_url` puts the redirect that it failed at in front of the message."""

    def __init__(self, message: str, advice: str = "", *, is_temporary: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        """What the user may do."""
        self.is_temporary = is_temporary
        """Whether another try may succeed."""

    def __str__(self) -> str:
        return f"{self.message}; {self.advice}" if self.advice else self.message


@dataclass(frozen=True)
class FetchRules:
    """How long to wait, and what may be connected to."""

    wait_seconds: float
    """Longest wait for a connection, for the headers of an answer, or for more bytes of its body."""
    total_seconds: float
    """From the first connection to the last byte; nothing more is read then."""
    max_redirects: int
    min_bytes_per_second: float = 0.0
    """Over any `wait_seconds`; less counts as broken off."""
    allowed_networks: Networks = ()
    """Networks that are not public but may be connected to."""
    trusts_first: bool = False
    """Whether the first address may be anywhere, since the user wrote it; those that it redirects to may not."""
    is_https_only: bool = False
    """Refuse http, except on this machine: from the start, or as a redirect from this machine."""


class Wire(io.RawIOBase):
    """What a server sends: counted, and waited for only so long, whatever of an answer it is part of."""

    def __init__(self, connection: socket.socket, deadline: float, rules: FetchRules) -> None:
        self._connection = connection
        self._rules = rules
        self._deadline = deadline
        self._headers_deadline: float | None = min(deadline, time.monotonic() + rules.wait_seconds)
        self._num_allowed = _MAX_HEADER_BYTES
        self._num_bytes, self._num_bytes_then, self._then = 0, 0, time.monotonic()

    def start_body(self, max_bytes: int) -> None:
        """The headers are there; a body of that many bytes may follow, in chunks of any size."""
        self._headers_deadline = None
        self._num_allowed = self._num_bytes + 2 * max_bytes + _MAX_HEADER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = (self._headers_deadline or self._deadline) - time.monotonic()
        if remaining <= 0:
            raise self._too_slow()
        self._connection.settimeout(min(self._rules.wait_seconds, remaining))
        try:
            count = self._connection.recv_into(buffer)
        except TimeoutError as error:
            raise self._too_slow() from error
        self._num_bytes += count
        if self._num_bytes > self._num_allowed:
            part = "headers" if self._headers_deadline else "what stands around the body"
            raise FetchError(f"sends no end of {part}", USE_A_FILE)
        self._check_rate()
        return count

    def _too_slow(self) -> FetchError:
        now = time.monotonic()
        if now >= self._deadline:
            message = f"takes longer than {self._rules.total_seconds:g} seconds"
            return FetchError(message, USE_A_FILE, is_temporary=True)
        if self._headers_deadline and self._num_bytes:
            message = f"does not complete its headers within {self._rules.wait_seconds:g} seconds"
            return FetchError(message, "try again", is_temporary=True)
        return FetchError(f"sends nothing for {self._rules.wait_seconds:g} seconds", "try again", is_temporary=True)

    def _check_rate(self) -> None:
        seconds = time.monotonic() - self._then
        if seconds > self._rules.wait_seconds:
            count = self._num_bytes - self._num_bytes_then
            if count < seconds * self._rules.min_bytes_per_second:
                raise FetchError(f"is too slow ({count} bytes in {seconds:.0f} s)", is_temporary=True)
            self._num_bytes_then, self._then = self._num_bytes, time.monotonic()


class WireSocket:
    """What `http.client` uses of a socket; it is closed elsewhere."""

    def __init__(self, connection: socket.socket, wire: Wire) -> None:
        self.sendall = connection.sendall
        self._wire = wire

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self._wire)

    def close(self) -> None:
        pass


class Response:
    """An answer whose body is not read yet."""

    def __init__(self, response: HTTPResponse, wire: Wire) -> None:
        self.status = response.status
        self.reason = one_line(response.reason)
        self.headers = response.headers
        self.length = response.length
        """Bytes of the body; None if the server does not say."""
        self._response = response
        self._wire = wire

    def read_chunks(self, max_bytes: int, num_before: int = 0) -> Iterator[bytes]:
        """The body, in pieces.

        Args:
            max_bytes: of the body, with `num_before`.
            num_before: bytes of the file that are there already.

        Raises:
            FetchError: at once if the declared length is above the limit; later if more than that arrives, or the
                connection breaks off, stalls or takes too long.
        """
        if self.length is not None and num_before + self.length > max_bytes:
            raise FetchError(f"offers {num_before + self.length} bytes, above the limit of {max_bytes}", USE_A_FILE)
        self._wire.start_body(max_bytes)
        return self._read_chunks(max_bytes, num_before)

    def _read_chunks(self, max_bytes: int, count: int) -> Iterator[bytes]:
        while chunk := self._read_chunk():
            count += len(chunk)
            if count > max_bytes:
                raise FetchError(f"sends more than the limit of {max_bytes} bytes", USE_A_FILE)
            yield chunk
        if self._response.length:
            raise cut_short(self._response.length)

    def _read_chunk(self) -> bytes:
        try:
            return self._response.read1(_CHUNK_BYTES)
        except (OSError, HTTPException, ValueError) as error:
            raise explain(error) from error


def cut_short(num_missing: int) -> FetchError:
    """The error for a body that ends too early, by that many bytes."""
    return FetchError(f"broke off, {num_missing} bytes before the end", "try again", is_temporary=True)


def explain(error: Exception) -> FetchError:
    """The error for a connection that failed with an error of the library."""
    if isinstance(error, ssl.SSLError):
        message = f"does not show that it is who it should be ({reason(error)})"
        return FetchError(message, "check the address", is_temporary=True)
    return FetchError(f"broke off ({reason(error)})", "try again", is_temporary=True)


_REDIRECTS = (301, 302, 303, 307, 308)
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
_HEADERS = {"User-Agent": "mspn (human pose estimation)", "Accept-Encoding": "identity", "Connection": "close"}
_SAFE_IN_PATHS = "/%:@!$&'()*+,;=~"
_SAFE_IN_QUERIES = _SAFE_IN_PATHS + "?"


@contextmanager
def open_url(
    url: str, rules: FetchRules, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> Iterator[Response]:
    """Request an address and follow its redirects, whose bodies are not read; any other status is given back.

    A `body` makes it a POST, which is sent to this address alone: a redirect of it is given back.

    The header Authorization goes to the address's own host and port alone.
    Each host on the way is looked up once; the addresses found are checked and connected to. Proxies of the environment
    are not used: they would look the host up again, and what they connect to could not be checked.

    Raises:
        FetchError: if an address must not be fetched, or a connection fails, stalls or takes too long.
    """
    deadline = time.monotonic() + rules.total_seconds
    previous, current = None, url
    try:
        for _ in range(rules.max_redirects + 1):
            sent = headers or {} if _have_one_origin(url, current) else _without_identity(headers or {})
            with _request(current, previous, deadline, rules, sent, body) as response:
                follows = body is None and response.status in _REDIRECTS
                location = response.headers["Location"] if follows else None
                if location is None:
                    yield response
                    return
            previous, current = current, _join(current, location)
    except FetchError as error:
        if current != url:
            error.message = f"redirects to {without_password(current)}: {error.message}"
        raise
    raise FetchError(f"redirects more than {rules.max_redirects} times", "give the last address")


@contextmanager
def fetched(url: str, settings: InputLimits) -> Iterator[IO[bytes]]:
    """Fetch an address into a temporary file, at its start, see `open_url`.

    Raises:
        SourceError: if it cannot be fetched, must not be, or is too large or too slow.
        OSError: if there is no room for it.
    """
    rules = FetchRules(
        settings.wait_seconds,
        settings.download_seconds,
        settings.max_redirects,
        allowed_networks=settings.allowed_networks,
        trusts_first=url in settings.own_addresses,
    )
    with tempfile.TemporaryFile() as file:
        try:
            with open_url(url, rules) as response:
                if response.status != 200:
                    raise FetchError(f"answers {response.status} {response.reason}", "does a browser show it?")
                for chunk in response.read_chunks(settings.download_bytes):
                    _write(chunk, file)
        except FetchError as error:
            raise SourceError(f"{without_password(url)}: {error}") from error
        file.seek(0)
        yield file


def check_address(url: str, rules: FetchRules, previous: str | None = None) -> SplitResult:
    """Split an address that may be fetched.

    Args:
        url: the address.
        rules: to check it by; its host is not looked up here.
        previous: the address that redirects to it, if any.

    Raises:
        FetchError: if it is not one, or one that the rules forbid.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise FetchError(f"is no address ({error})", "write https://host/path") from error
    is_local = is_loopback(url) and (previous is None or is_loopback(previous))
    if rules.is_https_only and not is_local and (parts.scheme != "https" or not parts.hostname):
        raise FetchError("must be an https address")
    if parts.scheme not in WEB_SCHEMES or not parts.hostname:
        raise FetchError("only addresses that start with http:// or https:// and a host are fetched")
    if parts.username is not None:
        raise FetchError("addresses with a password in them are not fetched", USE_A_FILE)
    return parts


def is_loopback(url: str) -> bool:
    """Whether an http or https address names this machine."""
    parts = urlsplit(url)
    return parts.scheme in WEB_SCHEMES and parts.hostname in _LOOPBACK_HOSTS


@contextmanager
def _request(
    url: str,
    previous: str | None,
    deadline: float,
    rules: FetchRules,
    headers: Mapping[str, str],
    body: bytes | None,
) -> Iterator[Response]:
    parts = check_address(url, rules, previous)
    with ExitStack() as stack:
        trusts = rules.trusts_first and previous is None
        connected = stack.enter_context(_connect(parts, deadline, rules, ANY_NETWORK if trusts else ()))
        try:
            host = _ascii_host(parts)
            if parts.scheme == "https":
                context = ssl.create_default_context()
                connected = stack.enter_context(context.wrap_socket(connected, server_hostname=host))
            wire = Wire(connected, deadline, rules)
            connection = HTTPConnection(host)
            connection.sock = WireSocket(connected, wire)
            port = f":{parts.port}" if parts.port else ""
            host_header = {"Host": (f"[{host}]" if ":" in host else host) + port}
            method = "GET" if body is None else "POST"
            connection.request(method, _target(parts), body, {**host_header, **_HEADERS, **headers})
            response = stack.enter_context(connection.getresponse())
        except (OSError, HTTPException, ValueError) as error:
            raise explain(error) from error
        yield Response(response, wire)


def _connect(parts: SplitResult, deadline: float, rules: FetchRules, trusted: Networks) -> socket.socket:
    assert parts.hostname is not None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        return connect(parts.hostname, port, (*rules.allowed_networks, *trusted), rules.wait_seconds, deadline)
    except SourceError as error:
        raise FetchError(str(error), is_temporary=True) from error
    except OSError as error:
        raise FetchError(
            f"cannot be reached ({reason(error)})", "check the address and the network", is_temporary=True
        ) from error


def _ascii_host(parts: SplitResult) -> str:
    assert parts.hostname is not None
    return parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()


def _target(parts: SplitResult) -> str:
    query = f"?{quote(parts.query, _SAFE_IN_QUERIES)}" if parts.query else ""
    return quote(parts.path or "/", _SAFE_IN_PATHS) + query


def _have_one_origin(url: str, other: str) -> bool:
    first, second = urlsplit(url), urlsplit(other)
    return (first.scheme, first.netloc) == (second.scheme, second.netloc)


def _without_identity(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "authorization"}


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, _as_utf8(location))
    except ValueError as error:
        raise FetchError(f"redirects to what is no address ({reason(error)})", "give the last address") from error


def _as_utf8(location: str) -> str:
    """What http.client has taken for Latin-1, as it was meant."""
    try:
        return location.encode("latin-1").decode()
    except UnicodeError:
        return location


def _write(chunk: bytes, file: IO[bytes]) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        folder = tempfile.gettempdir()
        raise FetchError(f"cannot be kept ({reason(error)})", f"make room in {folder}, or set TMPDIR") from error
