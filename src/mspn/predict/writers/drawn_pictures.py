"""Pictures with skeletons drawn on them."""

from pathlib import Path

from mspn.draw import draw_poses
from mspn.jpeg import write_jpeg
from mspn.predict.pipeline import PictureResult
from mspn.predict.writers.file_names import FileNames
from mspn.themes import DEFAULT_THEME, Theme


class ImageWriter:
    """`images/`: each picture with its skeletons drawn, as a JPEG; frames of videos are `NAME-000123.jpg`."""

    FOLDER = "images"

    def __init__(self, folder: Path, theme: Theme = DEFAULT_THEME) -> None:
        self.folder = folder / self.FOLDER
        self._theme = theme
        self._names = FileNames()

    def write(self, result: PictureResult) -> None:
        if result.picture is not None:
            drawn = draw_poses(result.picture.pixels, result.poses, self._theme)
            write_jpeg(self.folder / f"{self._names.choose(result.picture)}.jpg", drawn)

    def close(self) -> None:
        pass
