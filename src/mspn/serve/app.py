"""The service as an application (ASGI): routes, errors, static files, and the guard around them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from mspn.checkpoints.index import ASSETS
from mspn.errors import MspnError, one_line
from mspn.predict.estimator import PoseEstimator
from mspn.serve.guard import Guard, error_response
from mspn.serve.label_studio import LabelStudio
from mspn.serve.label_studio import router as label_studio_router
from mspn.serve.limits import RequestError, ServeLimits
from mspn.serve.observability import Metrics
from mspn.serve.page import PAGE
from mspn.serve.routes import router
from mspn.serve.service import Service, limit_threads


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
        allow_fetch: whether pictures may be named by public addresses, which are then fetched.
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
        version=version("mspn"),
        description="Human pose estimation: pictures in, keypoints of people out.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.service = service
    app.state.allow_fetch = allow_fetch
    app.include_router(router)
    if label_studio is not None:
        app.state.label_studio = label_studio
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
