"""Images with the poses drawn on them."""

from pathlib import Path

from mspn.io.images import write_jpeg
from mspn.outputs.names import FileNames
from mspn.predict.pipeline import ImageResult
from mspn.visualize.draw import draw_poses
from mspn.visualize.themes import DEFAULT_THEME, Theme


class ImageWriter:
    """`images/`: each image with its skeletons drawn, as a JPEG; frames of videos are `NAME-000123.jpg`.

    Sub-folders are those of the images below `source_folder`, see `FileNames`.
    """

    FOLDER = "images"

    def __init__(self, folder: Path, theme: Theme = DEFAULT_THEME, source_folder: Path | None = None) -> None:
        self.folder = folder / self.FOLDER
        self._theme = theme
        self._names = FileNames(source_folder)

    def write(self, result: ImageResult) -> None:
        if result.image is not None:
            drawn = draw_poses(result.image.pixels, result.poses, self._theme)
            write_jpeg(self.folder / f"{self._names.choose(result.image)}.jpg", drawn)

    def close(self) -> None:
        pass
