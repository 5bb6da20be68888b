"""The server: connections bounded in number and time, processes that come back, a graceful stop.

What it serves is the application (ASGI): routes, errors, static files, and the guard around them.
"""

import asyncio
import json
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.supervisors import Multiprocess

from mspn import __version__
from mspn.checkpoints.index import ASSETS
from mspn.errors import InvalidValueError, MspnError, one_line, reason
from mspn.predict.estimator import PoseEstimator
from mspn.serve.answers import PAGE
from mspn.serve.guard import Guard, error_response
from mspn.serve.label_studio import ImageAccess, LabelStudio
from mspn.serve.label_studio import router as label_studio_router
from mspn.serve.limits import RequestError, ServeLimits
from mspn.serve.observability import LOGGING, METRICS_FOLDER, Metrics, logger
from mspn.serve.routes import router
from mspn.serve.service import Service, limit_threads
from mspn.structures.settings import Settings


def create_app(
    model: str,
    estimator: PoseEstimator,
    limits: ServeLimits | None = None,
    *,
    token: str | None = None,
    allow_fetch: bool = False,
    label_studio: LabelStudio | None = None,
    num_workers: int = 1,
) -> ASGIApp:
    """The service as an application (ASGI).

    Args:
        model: name or weights file of the network that is described, and whose heat maps are shown.
        estimator: what finds the poses.
        limits: of requests; None: the defaults.
        token: that clients must show; None: nobody is asked for one.
        allow_fetch: whether images may be named by public addresses, which are then fetched.
        label_studio: whose tasks are pre-labeled; None: nobody's.
        num_workers: processes that share the cores.
    """
    limits = limits or ServeLimits()
    limit_threads(num_workers)
    service = Service(model, estimator, limits, Metrics())

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.get_running_loop().run_in_executor(None, service.start)
        yield
        service.close()

    app = FastAPI(
        title="mspn",
        version=__version__,
        description="Human pose estimation: images in, keypoints of people out.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.allow_fetch = allow_fetch
    app.include_router(router)
    if label_studio is not None:
        app.state.label_studio = ImageAccess(label_studio)
        app.include_router(label_studio_router)
    app.mount("/static/sample", StaticFiles(directory=ASSETS / "sample"))
    app.mount("/static", StaticFiles(directory=PAGE))
    app.add_exception_handler(MspnError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(WebSocketRequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    app.add_exception_handler(Exception, _answer_bug)
    return Guard(app, limits, service.metrics, token)


def _error(connection: HTTPConnection, status: int, message: str, retry_seconds: float | None = None) -> Response:
    return error_response(status, message, connection.scope["state"]["request_id"], retry_seconds)


async def _answer_error(connection: HTTPConnection, error: Exception) -> Response:
    if isinstance(error, RequestError):
        return await _refuse(connection, _error(connection, error.status, str(error), error.retry_seconds))
    return await _refuse(connection, _error(connection, HTTPStatus.UNPROCESSABLE_ENTITY, str(error)))


async def _answer_invalid(connection: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError | WebSocketRequestValidationError)
    first = error.errors()[0]
    where = " ".join(str(part) for part in first["loc"])
    message = one_line(f"{where}: {first['msg'].removeprefix('Value error, ')}")
    return await _refuse(connection, _error(connection, HTTPStatus.UNPROCESSABLE_ENTITY, message))


async def _refuse(connection: HTTPConnection, response: Response) -> Response:
    """A web socket that is not accepted yet gets its answer here; that of a request is sent by the framework."""
    if isinstance(connection, WebSocket):
        await connection.send_denial_response(response)
    return response


async def _answer_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = _error(request, error.status_code, f"{error.detail}; /docs says what there is")
    response.headers.update(error.headers or {})
    return response


async def _answer_nobody(request: Request, _error_of_client: Exception) -> Response:
    return _error(request, HTTPStatus.BAD_REQUEST, "the client has left")


async def _answer_bug(request: Request, _error_of_ours: Exception) -> Response:
    return _error(request, HTTPStatus.INTERNAL_SERVER_ERROR, "the service failed at this; its log says more")


_STOP_SECONDS = 10
"""For requests in flight, after SIGTERM or Ctrl-C."""
_START_SECONDS = 60
"""After which a worker that says nothing is taken for hung; it loads its networks before it says anything."""
_BACKLOG = 2048
"""Connections that the system keeps until they are accepted."""
_LAST_WORDS_SECONDS = 0.5
"""After the stop, in which connections without a request are still read: one may be on its way already."""


class ServeSettings(Settings):
    """Where the service listens, and to whom."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any that is free."""
    workers: int = 1
    """Processes, each with its own networks."""
    token: str | None = None
    """That clients must show; null: nobody is asked."""
    allow_fetch: bool = False
    """Whether images may be named by public addresses."""
    label_studio: LabelStudio | None = None
    """The Label Studio whose tasks are pre-labeled."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses whose header `X-Forwarded-For` says who the client is."""
    limits: ServeLimits = ServeLimits()


class BoundedConfig(uvicorn.Config):
    """uvicorn's settings, with our limits for `BoundedProtocol`."""

    def __init__(self, limits: ServeLimits, **settings: Any) -> None:
        super().__init__(http=BoundedProtocol, **settings)
        self.limits = limits


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, which waits for clients as long as they like; here the time is bounded."""

    config: BoundedConfig
    _headers_due: asyncio.TimerHandle | None = None
    _taking_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        if len(self.connections) > self.config.limits.max_connections:
            transport.abort()
            return
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._stop_waiting_for_taking()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Between requests, uvicorn's own timer of idle connections runs until the first byte of the next.
        if not self._is_between_requests() or self.transport.get_protocol() is not self:
            self._stop_waiting()
        elif self._headers_due is None and self.timeout_keep_alive_task is None:
            self._wait_for_headers()

    def pause_writing(self) -> None:
        """Wait until the client takes what is sent already, but not for ever."""
        super().pause_writing()
        self._taking_due = self.loop.call_later(self.config.limits.upload_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with the answer."""
        self._stop_waiting_for_taking()
        super().resume_writing()

    def shutdown(self) -> None:
        """Close when the request in work is answered; where there is none, one may be about to arrive."""
        if self._is_between_requests():
            self.loop.call_later(_LAST_WORDS_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even of a client that does not take the rest of an answer."""
        super().timeout_keep_alive_handler()
        self.loop.call_later(self.config.limits.upload_seconds, self.transport.abort)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, as JSON; not in the middle of another answer."""
        self._answer_and_close(400, msg.rstrip(".").lower() + "; send HTTP/1.1")

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_headers(self) -> None:
        self._headers_due = self.loop.call_later(self.config.limits.header_seconds, self._give_up_headers)

    def _stop_waiting(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _stop_waiting_for_taking(self) -> None:
        if self._taking_due is not None:
            self._taking_due.cancel()
            self._taking_due = None

    def _give_up_headers(self) -> None:
        seconds = self.config.limits.header_seconds
        self._answer_and_close(408, f"the request's headers did not arrive within {seconds:g} s; send them at once")

    def _answer_and_close(self, status: int, message: str) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE) or self.transport.is_closing():
            self.transport.abort()
            return
        body = json.dumps({"error": message}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def serve(model: str, estimator: PoseEstimator, settings: ServeSettings) -> None:
    """Answer requests until SIGTERM or Ctrl-C; those in flight are then finished.

    Args:
        model: name or weights file of the network that the service describes.
        estimator: made anew in each of several processes.
        settings: where, to whom, how much.

    Raises:
        InvalidValueError: if the address cannot be listened at.
    """
    listener = listen(settings.host, settings.port)
    try:
        config = configure(model, estimator, settings)  # the log is set up here, after what can fail in one line
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        logger.info("listening", extra={"fields": {"address": f"http://{shown}:{listener.getsockname()[1]}"}})
        if settings.workers == 1:
            _Server(config).run(sockets=[listener])
        else:
            with _shared_counters():
                Multiprocess(config, sockets=[listener]).run()
    finally:
        listener.close()


def configure(model: str, estimator: PoseEstimator, settings: ServeSettings) -> BoundedConfig:
    """uvicorn's settings for the service, see `serve`."""
    limits = settings.limits
    make_app = partial(
        create_app,
        model,
        estimator,
        limits,
        token=settings.token,
        allow_fetch=settings.allow_fetch,
        label_studio=settings.label_studio,
        num_workers=settings.workers,
    )
    return BoundedConfig(
        limits,
        app=make_app,
        factory=True,
        workers=settings.workers,
        log_config=LOGGING,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ws="websockets-sansio",
        ws_max_size=limits.max_bytes,
        ws_per_message_deflate=False,  # images are compressed already
        timeout_graceful_shutdown=_STOP_SECONDS,
        timeout_worker_healthcheck=_START_SECONDS,
    )


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully, and end as a success: uvicorn would raise the signal again afterwards."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()


def listen(host: str, port: int) -> socket.socket:
    """A socket at which clients are accepted, from now on.

    Raises:
        InvalidValueError: if there is no such address here, or it is taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise InvalidValueError(
            f"cannot listen at {host}, port {port} ({reason(error)}); choose another --host or --port"
        ) from error
    listener.set_inheritable(True)
    return listener


@contextmanager
def _shared_counters() -> Iterator[None]:
    """A folder in memory, where the system has one, in which several processes keep their counters."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="mspn-", dir=memory if memory.is_dir() else None) as folder:
        os.environ[METRICS_FOLDER] = folder
        try:
            yield
        finally:
            del os.environ[METRICS_FOLDER]


def read_token(path: Path) -> str:
    """The token in a file, without the white space around it.

    Raises:
        InvalidValueError: if there is no such file, or nothing of use in it.
    """
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(f"the token in {path} cannot be read ({reason(error)}); check the path") from error
    if len(token) < _MIN_TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidValueError(
            f"{path} holds no token: {_MIN_TOKEN_LENGTH} or more letters and digits on one line; such as those of"
            " `openssl rand -hex 32`"
        )
    return token


_MIN_TOKEN_LENGTH = 16
