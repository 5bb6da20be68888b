"""Around the routes: who may ask, and how much at once; request ids, counters, logs, headers of browsers."""

import asyncio
import base64
import hmac
import re
import time
import uuid
from contextlib import suppress
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mspn.serve.limits import RateLimiter, RequestError, ServeLimits, retry_after
from mspn.serve.observability import Metrics, log_request

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
    " connect-src 'self' data: blob:; worker-src 'self'; base-uri 'none'; form-action 'none'"
)
"""Nothing comes from another host, and nothing goes to one."""

REQUEST_ID = "x-request-id"
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_OPEN_PATHS = ("/health", "/ready")
"""Answered without a token: what watches the service has none."""
_WORK_PATHS = "/v1/"
"""Below it, requests count as in flight and are limited."""
_DRAIN_SECONDS = 1.0
"""How long the rest of a body is still read and thrown away after the answer. A client that is cut off while it sends
sees a broken connection in place of the answer."""
_HEADERS = {
    "content-security-policy": f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """Middleware (ASGI) around the whole service."""

    def __init__(self, app: ASGIApp, limits: ServeLimits, metrics: Metrics, token: str | None) -> None:
        """Put a guard before an application.

        Args:
            app: what is guarded.
            limits: of requests.
            metrics: to count in.
            token: that clients must show, as a bearer's or as the password of HTTP's basic scheme, which browsers
                ask their users for; None: nobody is asked.
        """
        self._app = app
        self._limits = limits
        self._metrics = metrics
        self._token = token
        self._rates = RateLimiter(limits.requests_per_second) if limits.requests_per_second else None
        self._num_in_flight = 0
        self._num_streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, one stream, or the service's start and stop."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        is_stream = scope["type"] == "websocket"
        is_work = scope["path"].startswith(_WORK_PATHS)
        try:
            self._check_client(scope)
            if is_work:
                self._take_place(is_stream)
        except RequestError as error:
            await exchange.refuse(error)
            exchange.log(self._metrics)
            return
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            if is_work:
                self._free_place(is_stream)
            exchange.log(self._metrics)

    def _check_client(self, scope: Scope) -> None:
        """Refuse other sites' pages, clients without the token, and those that ask too often."""
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            raise RequestError(HTTPStatus.FORBIDDEN, "pages of other sites may not use this service")
        if scope["path"] in _OPEN_PATHS:
            return
        if self._token is not None and not hmac.compare_digest(_read_token(headers).encode(), self._token.encode()):
            raise RequestError(
                HTTPStatus.UNAUTHORIZED, "this service wants a token; send the header 'Authorization: Bearer TOKEN'"
            )
        if self._rates is not None and scope["path"].startswith(_WORK_PATHS):
            client = scope["client"][0] if scope.get("client") else ""
            seconds = self._rates.take(client, time.monotonic())
            if seconds:
                raise RequestError(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    f"more than {self._limits.requests_per_second:g} requests a second; try again later",
                    retry_seconds=seconds,
                )

    def _take_place(self, is_stream: bool) -> None:
        count, most = (
            (self._num_streams, self._limits.max_streams)
            if is_stream
            else (self._num_in_flight, self._limits.max_in_flight)
        )
        if count >= most:
            what = "streams are open" if is_stream else "requests are being answered"
            raise RequestError(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{count} {what} already; try again later", retry_seconds=1
            )
        self._count(is_stream, 1)

    def _free_place(self, is_stream: bool) -> None:
        self._count(is_stream, -1)

    def _count(self, is_stream: bool, change: int) -> None:
        if is_stream:
            self._num_streams += change
            self._metrics.streams.inc(change)
        else:
            self._num_in_flight += change
            self._metrics.in_flight.inc(change)


def _read_token(headers: Headers) -> str:
    """What a client shows as its token; empty if it shows none."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        with suppress(ValueError):  # what is no base64, or no text
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
    return ""


class _Exchange:
    """A request and its answer as they pass."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = time.monotonic()
        headers = Headers(scope=scope)
        given = headers.get(REQUEST_ID, "")
        self._request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = self._request_id
        has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
        self._is_body_left = scope["type"] == "http" and has_body
        self._body_bytes = 0
        self._status = 0
        """0 until the answer starts; it stays so if the client leaves before."""

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._body_bytes += len(message.get("body", b""))
            self._is_body_left = message.get("more_body", False)
        elif message["type"] == "http.disconnect":
            self._is_body_left = False
        elif message["type"] == "websocket.receive":
            self._body_bytes += len(message.get("bytes") or message.get("text") or b"")
        return message

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self._request_id
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._is_body_left:
                headers["connection"] = "close"
        elif message["type"] == "websocket.accept":
            self._status = HTTPStatus.SWITCHING_PROTOCOLS
        elif message["type"] == "http.response.body" and not message.get("more_body", False) and self._is_body_left:
            await self._send({**message, "more_body": True})
            await self._drain()
            message = {"type": "http.response.body"}
        await self._send(message)

    async def _drain(self) -> None:
        async def read_on() -> None:
            while self._is_body_left:
                await self.receive()

        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(read_on(), _DRAIN_SECONDS)

    async def refuse(self, error: RequestError) -> None:
        """Answer in place of the application."""
        response = error_response(error.status, str(error), self._request_id, error.retry_seconds)
        await response(self._scope, self.receive, self.send)

    def log(self, metrics: Metrics) -> None:
        route = getattr(self._scope.get("route"), "path", "other")
        method = self._scope.get("method", "WEBSOCKET")
        seconds = time.monotonic() - self._started
        status = int(self._status)
        metrics.requests.labels(route, method if method in _METHODS else "OTHER", status).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        log_request(self._request_id, route, method, status, seconds, self._body_bytes)


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET")
"""Each has counters; a client could think of any number of others."""


def error_response(status: int, message: str, request_id: str, retry_seconds: float | None = None) -> JSONResponse:
    """An error as the service answers it: one line that says what was wrong, and what to do."""
    headers = {}
    if retry_seconds is not None:
        headers["retry-after"] = retry_after(retry_seconds)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Basic realm="mspn", charset="UTF-8"'
    return JSONResponse({"error": message, "request_id": request_id}, status, headers)
