"""A network camera on this machine: RTSP over TCP, with images in VP8."""

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from socketserver import StreamRequestHandler, TCPServer
from threading import Event, Thread

import av

from tests.sources.video_files import SIZE, frame_pixels

_MAX_PIECE = 1000
_DESCRIPTION = "\r\n".join(
    [
        *("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=camera", "c=IN IP4 127.0.0.1", "t=0 0"),
        *("m=video 0 RTP/AVP 96", "a=rtpmap:96 VP8/90000", "a=control:track", ""),
    ]
)


class _Handler(StreamRequestHandler):
    disable_nagle_algorithm = True
    server: "_Camera"

    def handle(self) -> None:
        with suppress(ConnectionError):
            while request := self._read_request():
                method, number = request
                extra, body = "", ""
                if method == "OPTIONS":
                    extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
                elif method == "DESCRIBE":
                    body = _DESCRIPTION
                    extra = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
                elif method == "SETUP":
                    extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
                elif method == "PLAY":
                    extra = "Session: 1\r\n"
                if method == "DESCRIBE" and self.server.redirect:
                    self._redirect(number)
                    continue
                self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{extra}\r\n{body}".encode())
                if method == "PLAY":
                    self._play()
                    return

    def _read_request(self) -> tuple[str, str] | None:
        first = self.rfile.readline().decode()
        number = "0"
        while (line := self.rfile.readline().decode().strip()) != "":
            self.server.headers.append(line)
            if line.lower().startswith("cseq:"):
                number = line.split(":")[1].strip()
        return (first.split()[0], number) if first else None

    def _redirect(self, number: str) -> None:
        for piece in (f"RTSP/1.0 302 Found\r\nCSeq: {number}\r\n", *self.server.redirect, "\r\n\r\n"):
            self.wfile.write(piece.encode())
            self.server.closing.wait(0.005)

    def _play(self) -> None:
        for number, encoded in enumerate(self.server.frames):
            self.server.closing.wait(0.02)
            pieces = [encoded[at : at + _MAX_PIECE] for at in range(0, len(encoded), _MAX_PIECE)]
            for index, piece in enumerate(pieces):
                self.server.sequence += 1
                is_last = index == len(pieces) - 1
                header = struct.pack(
                    ">BBHII", 0x80, 96 | is_last << 7, self.server.sequence % 2**16, number * 9000, 1
                ) + (b"\x10" if index == 0 else b"\x00")
                packet = header + piece
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


class _Camera(TCPServer):
    def __init__(self, num_frames: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.frames = list(_encode(num_frames))
        self.sequence = 0
        self.closing = Event()
        self.headers: list[str] = []
        self.redirect: Sequence[str] = ()
        """The header, in pieces that are sent one after the other."""

    @property
    def url(self) -> str:
        return f"rtsp://user:secret@127.0.0.1:{self.server_address[1]}/live"


@contextmanager
def camera(num_frames: int) -> Iterator[_Camera]:
    """Plays its frames to whoever asks, ten times as fast as they were taken, and hangs up."""
    with _Camera(num_frames) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


def _encode(num_frames: int) -> Iterator[bytes]:
    encoder = av.CodecContext.create("libvpx", "w")
    encoder.height, encoder.width = SIZE
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 10)
    encoder.options = {"deadline": "realtime", "lag-in-frames": "0"}
    frames = [av.VideoFrame.from_ndarray(frame_pixels(number), format="rgb24") for number in range(num_frames)]
    for number, frame in enumerate(frames):
        frame.pts = number
        yield from (bytes(packet) for packet in encoder.encode(frame))
    yield from (bytes(packet) for packet in encoder.encode(None))
