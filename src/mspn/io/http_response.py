"""An answer of a web server, read with bounds: on its bytes, its pauses, its pace and the time in all."""

import io
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from typing import Any

from mspn.errors import one_line, reason
from mspn.io.hosts import Networks

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
