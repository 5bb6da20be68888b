"""Boxes in one text file a picture, as YOLO detectors write them."""

from pathlib import Path

import numpy as np

from mspn.detect.boxes_rule import choose_people
from mspn.detect.protocol import DetectorError
from mspn.picture import Picture
from mspn.records import Detection, Size

_PERSON = 0
_LARGEST_BYTES = 2**24


class BoxesFolder:
    """Detections looked up by picture: those of `a/b.jpg` are in `a/b.txt` or `b.txt` of the folder.

    A line is a box: category, x and y of its middle, width, height, and perhaps a score, all but the first and the last
    as shares of the picture. Category 0 are people. A picture without a file is one without anybody.
    """

    def __init__(self, folder: Path) -> None:
        """Look into the folder.

        Raises:
            DetectorError: if there are no text files in it.
        """
        if next(folder.rglob("*.txt"), None) is None:
            raise DetectorError(f"no .txt files in {folder}; name a boxes file, or a folder of one text file a picture")
        self.folder = folder

    def detect(self, picture: Picture) -> list[Detection]:
        """Everyone in the picture's file.

        Raises:
            DetectorError: if it cannot be read, naming the line that is no box.
        """
        path = self._file_of(picture.source)
        return [] if path is None else self._read(path, picture.size)

    def knows(self, file_name: str) -> bool:
        """Whether there is a file of a picture."""
        return self._file_of(file_name) is not None

    def _file_of(self, file_name: str) -> Path | None:
        path = Path(file_name)
        parts = [part for part in path.parts if part not in (path.anchor, "..")]
        candidates = (self.folder.joinpath(*parts[first:]).with_suffix(".txt") for first in range(len(parts)))
        return next((candidate for candidate in candidates if candidate.is_file()), None)

    def _read(self, path: Path, size: Size) -> list[Detection]:
        try:
            if path.stat().st_size > _LARGEST_BYTES:
                raise DetectorError(f"{path} is larger than {_LARGEST_BYTES // 2**20} MiB; is it a file of boxes?")
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError as error:
            raise DetectorError(f"{path} cannot be read ({error.strerror}); check its rights") from error
        rows = [_numbers(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1) if line.strip()]
        values = np.array(rows).reshape(-1, 6)
        middle, half = values[:, 1:3], values[:, 3:5] / 2
        limits = np.array([size.width, size.height] * 2)
        corners_image = np.concatenate([middle - half, middle + half], axis=1) * limits
        return choose_people(np.clip(corners_image, 0, limits), values[:, 5], values[:, 0] == _PERSON, "people")


def _numbers(line: str, where: str) -> list[float]:
    """Category, middle, extent and score."""
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError as error:
        raise DetectorError(f"{where}: {error}; write numbers only") from error
    if len(numbers) not in (5, 6) or not np.isfinite(numbers).all():
        raise DetectorError(f"{where} is no box; write category, x, y, width, height as shares, and perhaps a score")
    if not all(-1 <= number <= 2 for number in numbers[1:]):
        raise DetectorError(f"{where} has numbers far above 1; write shares of the picture's width and height")
    return [*numbers, 1.0][:6]
