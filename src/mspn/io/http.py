"""Fetch what a web address gives: bounded in size and time, hosts and redirects checked."""

import socket
import ssl
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from typing import IO
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from mspn.errors import SourceError, reason
from mspn.io.hosts import ANY_NETWORK, WEB_SCHEMES, Networks, connect, without_password
from mspn.io.http_response import USE_A_FILE, FetchError, FetchRules, Response, Wire, WireSocket, explain
from mspn.io.limits import InputLimits

_REDIRECTS = (301, 302, 303, 307, 308)
_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
_HEADERS = {"User-Agent": "mspn (human pose estimation)", "Accept-Encoding": "identity", "Connection": "close"}
_SAFE_IN_PATHS = "/%:@!$&'()*+,;=~"
_SAFE_IN_QUERIES = _SAFE_IN_PATHS + "?"


@contextmanager
def open_url(url: str, rules: FetchRules, headers: Mapping[str, str] | None = None) -> Iterator[Response]:
    """Request an address and follow its redirects, whose bodies are not read; any other status is given back.

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
            with _request(current, previous, deadline, rules, sent) as response:
                location = response.headers["Location"] if response.status in _REDIRECTS else None
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
    url: str, previous: str | None, deadline: float, rules: FetchRules, headers: Mapping[str, str]
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
            connection.request("GET", _target(parts), headers={**host_header, **_HEADERS, **headers})
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
        return urljoin(url, location)
    except ValueError as error:
        raise FetchError(f"redirects to what is no address ({reason(error)})", "give the last address") from error


def _write(chunk: bytes, file: IO[bytes]) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        folder = tempfile.gettempdir()
        raise FetchError(f"cannot be kept ({reason(error)})", f"make room in {folder}, or set TMPDIR") from error
