"""What one client, and all together, may ask of the service; requests are counted while they arrive."""

import asyncio
import io
import math
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, Field, ValidationError
from pydantic_core import from_json
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from mspn.errors import ImageError, MspnError, one_line
from mspn.io.http import FetchError, FetchRules, open_url
from mspn.io.image_headers import read_header
from mspn.io.images import decode_image
from mspn.structures.settings import Settings, first_problem
from mspn.structures.shapes import UInt8

Form = TypeVar("Form", bound=BaseModel)


class ServeLimits(Settings):
    """Bounds on the sizes, times and numbers of requests."""

    max_bytes: int = Field(20 * 2**20, ge=1)
    """Of a request's body, or of a frame of a stream."""
    max_pixels: int = Field(25_000_000, ge=1)
    """Of an image."""
    max_people: int = Field(100, ge=1)
    """Of an image: those that the detector is surest of."""
    max_files: int = Field(16, ge=1)
    """Images of one request."""
    max_in_flight: int = Field(64, ge=1)
    """Requests that are read or answered at once."""
    max_waiting: int = Field(64, ge=1)
    """Images that are decoded, or wait for their poses."""
    max_streams: int = Field(16, ge=1)
    """Streams at once."""
    max_connections: int = Field(1000, ge=1)
    """Open connections, idle ones included."""
    header_seconds: float = Field(10.0, gt=0)
    """From a connection, or the first byte of a further request, to the end of the request's headers."""
    upload_seconds: float = Field(30.0, gt=0)
    """For a request's body, and for a client to take a part of its answer."""
    answer_seconds: float = Field(30.0, gt=0)
    """From the end of the body to the answer."""
    idle_seconds: float = Field(60.0, gt=0)
    """Without a frame, after which a stream is closed."""
    requests_per_second: float | None = Field(None, gt=0)
    """Of one client's address, over time; twice as many may come at once; null: any number."""


class RequestError(MspnError):
    """A request that is not answered as was asked: the status of HTTP, and one line for the client."""

    def __init__(self, status: HTTPStatus, message: str, *, retry_seconds: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_seconds = retry_seconds
        """When to try again; None: another try would not help."""


@dataclass(frozen=True, eq=False)
class Upload:
    """An encoded image as a client sent it."""

    name: str
    """Of the file, as the client calls it; empty if it does not."""
    encoded: bytes | bytearray


async def read_uploads(request: Request, limits: ServeLimits) -> list[Upload]:
    """The images of a request: its body, or the files of a form (multipart/form-data).

    Nothing beyond the limit is kept, and nothing goes to the disk.

    Raises:
        RequestError: if the body is too large, too slow, empty, or a form that cannot be read or has too many files.
    """
    try:
        uploads = await asyncio.wait_for(_read_uploads(request, limits), limits.upload_seconds)
    except asyncio.TimeoutError as error:
        raise _too_slow(limits) from error
    if not all(upload.encoded for upload in uploads):
        raise RequestError(HTTPStatus.BAD_REQUEST, "there is no image in the request; send the bytes of an image")
    return uploads


async def _read_uploads(request: Request, limits: ServeLimits) -> list[Upload]:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return [Upload("", await _read_body(request, limits))]
    chunks = _count_body(request, limits.max_bytes)
    parser = MultiPartParser(request.headers, chunks, max_files=limits.max_files, max_fields=limits.max_files)
    parser.spool_max_size = limits.max_bytes + 1  # all of it stays in memory
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"the form cannot be read: {one_line(error.message)}") from error
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if not files:
        raise RequestError(HTTPStatus.BAD_REQUEST, "the form has no file; send the image as a file named 'file'")
    uploads = [Upload(one_line(file.filename or ""), await file.read()) for file in files]
    await form.close()
    return uploads


async def _count_body(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    too_large = RequestError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body is larger than the limit of {max_bytes:,} bytes; make the image smaller",
    )
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    count = 0
    async for chunk in request.stream():
        count += len(chunk)
        if count > max_bytes:
            raise too_large
        yield chunk


async def read_form(request: Request, limits: ServeLimits, form: type[Form]) -> Form:
    """The JSON of a request's body.

    Raises:
        RequestError: if the body is too large, too slow, or not of that form.
    """
    try:
        body = await asyncio.wait_for(_read_body(request, limits), limits.upload_seconds)
        return form.model_validate(from_json(body))  # which refuses deep nesting
    except asyncio.TimeoutError as error:
        raise _too_slow(limits) from error
    except ValidationError as error:
        raise RequestError(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"the body: {first_problem(error)}; send what the interface describes"
        ) from error
    except ValueError as error:
        raise RequestError(HTTPStatus.BAD_REQUEST, f"the body is not JSON ({one_line(str(error))})") from error


async def _read_body(request: Request, limits: ServeLimits) -> bytes:
    body = bytearray()
    async for chunk in _count_body(request, limits.max_bytes):
        body += chunk
    return bytes(body)


def _too_slow(limits: ServeLimits) -> RequestError:
    return RequestError(
        HTTPStatus.REQUEST_TIMEOUT, f"the body did not arrive within {limits.upload_seconds:g} s; send it at once"
    )


def fetch_upload(
    url: str,
    limits: ServeLimits,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    is_own: bool = False,
) -> Upload:
    """What an address gives, in memory; hosts and redirects are checked.

    Args:
        url: a public address, or one of the operator's own.
        limits: of size and time.
        headers: sent to the address's host.
        body: posted to it; None: it is only asked for what it has.
        is_own: whether the operator named its host, which may then be anywhere.

    Raises:
        RequestError: if it cannot be fetched, must not be, or is too large or too slow.
    """
    rules = FetchRules(
        wait_seconds=limits.upload_seconds / 3,
        total_seconds=limits.upload_seconds,
        max_redirects=5,
        trusts_first=is_own,
    )
    encoded = bytearray()
    try:
        with open_url(url, rules, headers, body) as response:
            if response.status != HTTPStatus.OK:
                raise FetchError(f"answers {response.status}", "does a browser show it?")
            for chunk in response.read_chunks(limits.max_bytes):
                encoded += chunk
    except FetchError as error:
        why = one_line(error.message.partition(";")[0])  # without advice about options that the service has not
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, f"the address: {why}; send the image itself") from error
    return Upload("", encoded)


def decode_upload(encoded: bytes | bytearray, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
    """Decode an image, whose size is looked at first.

    Raises:
        RequestError: if it is no image, damaged, or has too many pixels.
    """
    header = read_header(io.BytesIO(encoded))
    if header is None:
        raise RequestError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the file is no image that can be read; send a JPEG, PNG or WebP"
        )
    height, width = header.size
    if height * width > max_pixels:
        raise RequestError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the image has {width}x{height} pixels, above the limit of {max_pixels:,}; make it smaller first",
        )
    try:
        return decode_image(encoded, "the image", max_pixels)
    except ImageError as error:
        raise RequestError(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from error


_MAX_CLIENTS = 10_000


class RateLimiter:
    """Counts the requests of each client: a bucket that holds two seconds' worth and is filled again over time."""

    def __init__(self, requests_per_second: float) -> None:
        self._rate = requests_per_second
        self._capacity = max(1.0, 2 * requests_per_second)
        self._buckets: dict[str, tuple[float, float]] = {}
        """By client: what was left, and when that was."""

    def take(self, client: str, now: float) -> float:
        """Count a request.

        Args:
            client: who asks.
            now: seconds of a clock that only goes forward.

        Returns:
            0 if the request may be answered; else the seconds until the next one may.
        """
        left = self._left(client, now)
        if left < 1:
            return (1 - left) / self._rate
        if client not in self._buckets and len(self._buckets) >= _MAX_CLIENTS:
            self._forget(now)
        self._buckets[client] = (left - 1, now)
        return 0.0

    def _left(self, client: str, now: float) -> float:
        left, then = self._buckets.get(client, (self._capacity, now))
        return min(self._capacity, left + (now - then) * self._rate)

    def _forget(self, now: float) -> None:
        """Forget clients whose buckets are full again, or all if there are none."""
        kept = {client: bucket for client, bucket in self._buckets.items() if self._left(client, now) < self._capacity}
        self._buckets = kept if len(kept) < _MAX_CLIENTS else {}


def retry_after(seconds: float) -> str:
    """Seconds as the header `Retry-After` has them: whole, and at least one."""
    return str(max(1, math.ceil(seconds)))
