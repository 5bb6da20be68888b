"""The routes of the service: poses and heat maps of images, streams, the page, what operations ask for.

A stream is frames over a web socket: the newest frame wins, and people keep their numbers.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import HTTPConnection

from mspn.errors import MspnError
from mspn.io.images import encode_jpeg
from mspn.serve.answers import (
    PAGE,
    HeatmapOptions,
    ImageOptions,
    PoseOptions,
    describe_model,
    describe_poses,
    find_names,
    render_api_page,
)
from mspn.serve.limits import RequestError, Upload, fetch_upload, read_uploads
from mspn.serve.service import Answer, Service, wait_for_answer
from mspn.structures.image import Image
from mspn.structures.pose import Pose
from mspn.tracking.tracker import Tracker, TrackerSettings
from mspn.visualize.draw import draw_poses
from mspn.visualize.themes import find_theme

_PERSON_EXAMPLE = {
    "box": [112.4, 60.0, 180.2, 402.7],
    "box_score": 0.93,
    "score": 0.71,
    "category": "person",
    "keypoints": {"nose": [201.3, 98.75, 0.9], "left_eye": [209.1, 90.2, 0.88]},
}
_EXAMPLE = {"source": "", "width": 640, "height": 480, "people": [_PERSON_EXAMPLE]}
_IMAGE_BODY = {
    "requestBody": {
        "description": "The bytes of an image (JPEG, PNG, WebP, ...), or a form with a file.",
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    }
}
_FILES_BODY = {
    "requestBody": {
        "description": "A form with a file for each image.",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            }
        },
    }
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status.value: {
        "description": status.phrase,
        "content": {"application/json": {"example": {"error": "one line", "request_id": "5f0c"}}},
    }
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    )
}

router = APIRouter()


def _service(connection: HTTPConnection) -> Service:
    service: Service = connection.app.state.service
    return service


ServiceOf = Annotated[Service, Depends(_service)]


@router.post(
    "/v1/poses",
    summary="Poses of the people in an image",
    openapi_extra=_IMAGE_BODY,
    responses={
        **_ERRORS,
        200: {
            "description": "As one entry of predictions.json: (x, y, score) of each keypoint in pixels, best person"
            " first; or the drawn image.",
            "content": {"application/json": {"example": _EXAMPLE}, "image/jpeg": {}},
        },
    },
    response_model=None,
)
async def poses(request: Request, service: ServiceOf, options: Annotated[ImageOptions, Query()]) -> Response:
    """`curl --data-binary @photo.jpg http://localhost:8000/v1/poses`"""
    skeleton = service.estimator.recipe.keypoint_table
    names, theme = find_names(options.keypoints, skeleton), find_theme(options.theme)

    def finish(image: Image, found: list[Pose]) -> Response:
        if options.draw:
            return Response(encode_jpeg(draw_poses(image.pixels, found, theme)), media_type="image/jpeg")
        return JSONResponse(describe_poses(image, found, names))

    upload = await _only_upload(request, service, options.url)
    (answer,) = await until_left(request, service, service.answer([upload], options, finish))
    return answer


@router.post(
    "/v1/poses/batch",
    summary="Poses of the people in several images",
    openapi_extra=_FILES_BODY,
    responses={
        **_ERRORS,
        200: {
            "description": "What predictions.json holds: one entry for each image, in their order.",
            "content": {"application/json": {"example": [{**_EXAMPLE, "source": "photo.jpg"}]}},
        },
    },
    response_model=None,
)
async def batch(request: Request, service: ServiceOf, options: Annotated[PoseOptions, Query()]) -> Response:
    """`curl -F file=@one.jpg -F file=@two.jpg http://localhost:8000/v1/poses/batch`"""
    names = find_names(options.keypoints, service.estimator.recipe.keypoint_table)
    uploads = await read_uploads(request, service.limits)

    def finish(image: Image, found: list[Pose]) -> dict[str, Any]:
        return describe_poses(image, found, names)

    return JSONResponse(await until_left(request, service, service.answer(uploads, options, finish)))


@router.post(
    "/v1/heatmaps",
    summary="What every stage and level of the network sees of a person",
    openapi_extra=_IMAGE_BODY,
    responses={
        **_ERRORS,
        200: {
            "description": "A list of stages, each a list of levels from coarse to fine, as PNG; and the part of the"
            " image that each of them shows: left, top, width, height.",
            "content": {
                "application/json": {
                    "example": {
                        "stages": [[{"keypoint_max": "data:image/png;base64,..."}]],
                        "box": [90.0, 41.2, 225.0, 300.0],
                    }
                }
            },
        },
    },
    response_model=None,
)
async def heatmaps(request: Request, service: ServiceOf, options: Annotated[HeatmapOptions, Query()]) -> Response:
    """`curl --data-binary @photo.jpg 'http://localhost:8000/v1/heatmaps?person=0'`"""

    def finish(image: Image, found: list[Pose]) -> dict[str, Any]:
        if options.x is not None and options.y is not None:
            place = (options.x, options.y)
            found = sorted(found, key=lambda pose: math.dist(pose.box.center, place))
        if options.person >= len(found):
            raise RequestError(
                HTTPStatus.NOT_FOUND, f"there is no person {options.person} among {len(found)}; they count from 0 on"
            )
        return service.paint_heatmaps(image, found[options.person])

    upload = await _only_upload(request, service, None)
    (answer,) = await until_left(request, service, service.answer([upload], options, finish))
    return JSONResponse(answer)


@router.websocket("/v1/stream")
async def stream(socket: WebSocket, service: ServiceOf, options: Annotated[PoseOptions, Query()]) -> None:
    """Frames in, poses out; people keep their ids as long as the stream lasts."""
    names = find_names(options.keypoints, service.estimator.recipe.keypoint_table)
    tracker = Tracker(TrackerSettings(confident_score=service.threshold(options)))
    await socket.accept()

    async def answer(frame: bytes) -> dict[str, Any]:
        arrived = time.monotonic()

        def finish(image: Image, found: list[Pose]) -> dict[str, Any]:
            return describe_poses(image, tracker.update(found, arrived), names)

        (entry,) = await service.answer([Upload("", frame)], options, finish)
        return entry

    await answer_frames(
        socket,
        answer,
        idle_seconds=service.limits.idle_seconds,
        count_dropped=service.metrics.dropped_frames.inc,
    )


@router.get("/v1/models", summary="The network that is served, its skeleton and colors, and the limits")
async def models(service: ServiceOf) -> list[dict[str, Any]]:
    """`curl http://localhost:8000/v1/models`"""
    limits = service.limits.model_dump(include={"max_bytes", "max_pixels", "max_people", "max_files"})
    return [{**describe_model(service.model, service.estimator), "limits": limits}]


@router.get("/health", summary="Whether the process lives")
async def health() -> dict[str, str]:
    """`curl http://localhost:8000/health`"""
    return {"status": "ok"}


@router.get("/ready", summary="Whether images are taken", responses={503: {"description": "Not now."}})
async def ready(service: ServiceOf, response: Response) -> dict[str, str]:
    """`curl http://localhost:8000/ready`"""
    if service.is_ready:
        return {"status": "ready"}
    response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return {"status": "not ready"}


@router.get("/metrics", summary="Counters for Prometheus", response_class=Response)
async def metrics(service: ServiceOf) -> Response:
    """`curl http://localhost:8000/metrics`"""
    return Response(service.metrics.render(), media_type=CONTENT_TYPE_LATEST)


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """The interface in words, from the OpenAPI description."""
    return HTMLResponse(render_api_page(request.app.openapi()))


@router.get("/", include_in_schema=False)
async def page() -> FileResponse:
    """The page for people."""
    return FileResponse(PAGE / "index.html")


async def _only_upload(request: Request, service: Service, url: str | None) -> Upload:
    if url is None:
        uploads = await read_uploads(request, service.limits)
        if len(uploads) > 1:
            raise RequestError(HTTPStatus.BAD_REQUEST, "there are several files; /v1/poses/batch takes them")
        return uploads[0]
    if not request.app.state.allow_fetch:
        raise RequestError(
            HTTPStatus.FORBIDDEN, "addresses are not fetched here; send the image itself, or start with --allow-fetch"
        )
    return await asyncio.get_running_loop().run_in_executor(None, fetch_upload, url, service.limits)


async def until_left(request: Request, service: Service, answer: Awaitable[Answer]) -> Answer:
    """The answer, unless the client leaves or the time is over; then the work for it ends."""
    return await wait_for_answer(answer, _leave(request), service.limits.answer_seconds)


async def _leave(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


_UNSUPPORTED, _GOING_AWAY = 1003, 1001
"""Codes with which web sockets are closed (RFC 6455, section 7.4.1)."""


class _NewestFrame:
    """The last frame that arrived and was not taken yet."""

    def __init__(self, count_dropped: Callable[[], None]) -> None:
        self._count_dropped = count_dropped
        self._number = -1
        self._frame: bytes | None = None
        self._changed = asyncio.Event()

    def put(self, frame: bytes) -> None:
        if self._frame is not None:
            self._count_dropped()
        self._number += 1
        self._frame = frame
        self._changed.set()

    async def take(self) -> tuple[int, bytes]:
        """Number, from 0 on with those that were dropped, and bytes."""
        await self._changed.wait()
        assert self._frame is not None
        frame, self._frame = self._frame, None
        self._changed.clear()
        return self._number, frame


async def answer_frames(
    socket: WebSocket,
    answer: Callable[[bytes], Awaitable[dict[str, Any]]],
    *,
    idle_seconds: float,
    count_dropped: Callable[[], None],
) -> None:
    """Answer the frames of a stream until its client closes it or sends nothing more; then the work for it ends.

    Frames that arrive while another is in work replace each other. A frame that cannot be answered is a line with
    `error`, and the stream goes on.

    Args:
        socket: accepted.
        answer: gives what is sent for a frame.
        idle_seconds: without a frame, after which the stream is closed.
        count_dropped: called for each frame that is not answered.
    """
    newest = _NewestFrame(count_dropped)
    reading = asyncio.ensure_future(_read_frames(socket, newest, idle_seconds))
    answering = asyncio.ensure_future(_answer_newest(socket, newest, answer))
    try:
        await asyncio.wait({reading, answering}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (reading, answering):
            task.cancel()
        await asyncio.gather(reading, answering, return_exceptions=True)
    if reading.cancelled():
        with suppress(WebSocketDisconnect):
            answering.result()
    elif reason := reading.result():
        await socket.close(*reason)


async def _answer_newest(
    socket: WebSocket, newest: _NewestFrame, answer: Callable[[bytes], Awaitable[dict[str, Any]]]
) -> None:
    while True:
        number, frame = await newest.take()
        try:
            found = await answer(frame)
        except MspnError as error:
            found = {"error": str(error)}
        await socket.send_json({"frame": number, **found})


async def _read_frames(socket: WebSocket, newest: _NewestFrame, idle_seconds: float) -> tuple[int, str] | None:
    """Until the stream ends; code and reason if it is to be closed from here."""
    try:
        while True:
            message = await asyncio.wait_for(socket.receive(), idle_seconds)
            if message["type"] == "websocket.disconnect":
                return None
            if message.get("bytes") is None:
                return _UNSUPPORTED, "send frames as binary messages"
            newest.put(message["bytes"])
    except asyncio.TimeoutError:
        return _GOING_AWAY, f"no frame for {idle_seconds:g} s"
