"""Fetching what an address of the web gives: bounded in size and time, from public hosts alone."""

import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from threading import Event, Timer
from typing import IO
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from mspn.errors import SourceError, one_line, reason
from mspn.io.hosts import WEB_SCHEMES, resolve_host, without_password
from mspn.io.limits import InputLimits

_CHUNK_BYTES = 2**16
_REDIRECTS = (301, 302, 303, 307, 308)
_USER_AGENT = "mspn (human pose estimation)"
_SAFE_IN_PATHS = "/%:@!$&'()*+,;=~"
_SAFE_IN_QUERIES = _SAFE_IN_PATHS + "?"


@contextmanager
def fetched(url: str, settings: InputLimits) -> Iterator[IO[bytes]]:
    """Fetch an address into a temporary file, at its start.

    Each host on the way is looked up once, and what was found there is checked and connected to. Proxies of the
    environment are not used: they would look the host up again, and what they connect to could not be checked.

    Raises:
        SourceError: if it cannot be had, is not to be had, or is too large or too slow.
        OSError: if there is no room for it.
    """
    deadline = time.monotonic() + settings.download_seconds
    with tempfile.TemporaryFile() as file:
        hop = url
        for _ in range(settings.max_redirects + 1):
            try:
                location = _fetch(hop, file, deadline, settings)
            except SourceError as error:
                by = "" if hop == url else f"redirects to {without_password(hop)}: "
                raise SourceError(f"{without_password(url)}: {by}{error}") from error
            if location is None:
                file.seek(0)
                yield file
                return
            hop = location
        raise SourceError(f"{url}: redirects more than {settings.max_redirects} times; give the last address")


def _fetch(url: str, file: IO[bytes], deadline: float, settings: InputLimits) -> str | None:
    """Write what an address gives, or say where it redirects to."""
    parts = _checked(url)
    connected = _connect(parts, deadline, settings)
    # A second handle on the same connection, which ends it on time whatever is being waited for.
    guard = connected.dup()
    is_late = Event()
    timer = Timer(max(0.0, deadline - time.monotonic()), _end, [guard, is_late])
    timer.daemon = True
    timer.start()
    try:
        with closing(_ask(parts, connected)) as asking, asking.getresponse() as response:
            location: str | None = response.headers["Location"] if response.status in _REDIRECTS else None
            if location is not None:
                return _join(url, location)
            if response.status != 200:
                raise SourceError(f"answers {response.status} {one_line(response.reason)}; does a browser show it?")
            _receive(response, file, settings)
            if is_late.is_set():  # a body without a length seems to end well then
                raise _too_slow(settings)
    except (OSError, HTTPException, UnicodeError, ValueError) as error:
        if is_late.is_set():
            raise _too_slow(settings) from error
        if isinstance(error, SourceError):
            raise
        raise _broken_off(error, settings) from error
    finally:
        timer.cancel()
        guard.close()
        connected.close()
    return None


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise SourceError(f"redirects to what is no address ({reason(error)}); give the last address") from error


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise SourceError(f"is no address ({error}); write https://host/path") from error
    if parts.scheme not in WEB_SCHEMES or not parts.hostname:
        raise SourceError("only addresses that start with http:// or https:// and a host are fetched")
    if parts.username is not None:
        raise SourceError("addresses with a password in them are not fetched; download it and name the file")
    return parts


def _connect(parts: SplitResult, deadline: float, settings: InputLimits) -> socket.socket:
    assert parts.hostname is not None
    is_encrypted = parts.scheme == "https"
    port = parts.port or (443 if is_encrypted else 80)
    problem: OSError | None = None
    for family, place in resolve_host(parts.hostname, port, settings.allowed_networks):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(max(0.01, min(settings.wait_seconds, deadline - time.monotonic())))
            connection.connect(place)
        except OSError as error:
            connection.close()
            problem = error
        else:
            return connection
    assert problem is not None
    raise SourceError(f"cannot be reached ({reason(problem)}); check the address and the network")


def _ask(parts: SplitResult, connected: socket.socket) -> HTTPConnection:
    assert parts.hostname is not None
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    asking = HTTPConnection(host)
    asking.sock = connected
    if parts.scheme == "https":
        asking.sock = ssl.create_default_context().wrap_socket(connected, server_hostname=host)
    headers = {
        "Host": (f"[{host}]" if ":" in host else host) + (f":{parts.port}" if parts.port else ""),
        "User-Agent": _USER_AGENT,
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    query = f"?{quote(parts.query, _SAFE_IN_QUERIES)}" if parts.query else ""
    asking.request("GET", quote(parts.path or "/", _SAFE_IN_PATHS) + query, headers=headers)
    return asking


def _receive(response: HTTPResponse, file: IO[bytes], settings: InputLimits) -> None:
    most = settings.download_bytes
    if response.length is not None and response.length > most:
        raise SourceError(f"offers {response.length} bytes, above the limit of {most}; download it and name the file")
    done = 0
    while chunk := response.read1(_CHUNK_BYTES):
        done += len(chunk)
        if done > most:
            raise SourceError(f"sends more than the limit of {most} bytes; download it and name the file")
        try:
            file.write(chunk)
        except OSError as error:
            room = tempfile.gettempdir()
            raise SourceError(f"cannot be kept ({reason(error)}); make room in {room}, or set TMPDIR") from error
    if response.length:
        raise SourceError(f"broke off, {response.length} bytes before the end; try again")


def _too_slow(settings: InputLimits) -> SourceError:
    return SourceError(f"takes longer than {settings.download_seconds:g} seconds; download it and name the file")


def _broken_off(error: Exception, settings: InputLimits) -> SourceError:
    if isinstance(error, ssl.SSLError):
        return SourceError(f"does not show that it is who it should be ({reason(error)}); check the address")
    if isinstance(error, TimeoutError):
        return SourceError(f"sends nothing for {settings.wait_seconds:g} seconds; try again")
    return SourceError(f"broke off ({reason(error)}); try again")


def _end(connection: socket.socket, is_late: Event) -> None:
    is_late.set()
    with suppress(OSError):  # it is at its end already
        connection.shutdown(socket.SHUT_RDWR)
