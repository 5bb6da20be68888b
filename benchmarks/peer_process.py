"""A peer in a process of its own, asked line by line; beside what it is made of, this needs NumPy and OpenCV alone."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np

GivenBox = Sequence[float]
"""Left, top, width and height in image pixels."""


class Peer(Protocol):
    """Finds the keypoints of people whose boxes are known, in its own way."""

    def read(self, path: str) -> np.ndarray:
        """RGB pixels of an image file."""
        ...

    def estimate(self, image: np.ndarray, boxes: Sequence[GivenBox]) -> np.ndarray:
        """(people, 17, 3): x, y in image pixels and score of COCO's keypoints."""
        ...


class Answer(NamedTuple):
    """What a peer says to an image; seconds are the processor's, of all threads."""

    keypoints: list[list[list[float]]]
    """As `Peer.estimate`."""
    read_seconds: float
    people_seconds: float
    process_seconds: float
    """Of the whole process so far, its start included."""
    peak_mib: float
    """Of its resident memory so far."""


def serve(make: Callable[[], Peer]) -> None:
    """Answer the images that standard input names, until it ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    peer = make()
    videos: dict[str, Any] = {}
    for line in sys.stdin:
        path, is_video, boxes = json.loads(line)
        began = time.process_time()
        if is_video and path not in videos:
            videos[path] = cv2.VideoCapture(path)
        image = _next_frame(videos[path]) if is_video else peer.read(path)
        read = time.process_time()
        keypoints = peer.estimate(image, boxes)
        ended = time.process_time()
        answer = Answer(keypoints.tolist(), read - began, ended - read, ended, _peak_mib())
        print(json.dumps(answer), file=answers, flush=True)


def _next_frame(video: Any) -> np.ndarray:
    was_read, frame = video.read()
    assert was_read, "the video has no more frames"
    rgb: np.ndarray = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    return rgb


class PeerProcess:
    """The asking side."""

    def __init__(self, command: Sequence[str], errors: Path) -> None:
        """Start it.

        Args:
            command: whose module calls `serve`.
            errors: file for what it prints.
        """
        self._errors = errors
        with errors.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )

    def ask(self, path: Path, boxes: Sequence[GivenBox], is_video: bool = False) -> Answer:
        """What it answers to an image, or to the next frame of a video; a RuntimeError if it ended."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            print(json.dumps([str(path), is_video, [list(box) for box in boxes]]), file=self._process.stdin, flush=True)
            return Answer(*json.loads(self._process.stdout.readline()))
        except (OSError, ValueError) as error:
            log = self._errors.read_text(encoding="utf-8", errors="replace")
            raise RuntimeError(f"a peer has ended: {log[-1000:]}") from error

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def _peak_mib() -> float:
    """Since the start of this program: `getrusage` also counts what its parent had when it started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
