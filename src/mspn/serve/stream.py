"""A stream of frames over a web socket: the newest frame wins, and people keep their numbers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from mspn.errors import MspnError

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
