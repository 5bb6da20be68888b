"""Videos with skeletons drawn on them, with their sound."""

from pathlib import Path

from mspn.errors import InvalidValueError
from mspn.io.extras import import_extra
from mspn.outputs.names import FileNames
from mspn.outputs.video.container import VideoFile
from mspn.predict.pipeline import ImageResult
from mspn.structures.image import Video
from mspn.visualize.draw import draw_poses
from mspn.visualize.themes import DEFAULT_THEME, Theme


class VideoWriter:
    """`videos/`: each video with skeletons drawn on its frames, put in its place when it is done."""

    FOLDER = "videos"

    def __init__(self, folder: Path, theme: Theme = DEFAULT_THEME, source_folder: Path | None = None) -> None:
        """Begin without a video.

        Raises:
            ValueError: if PyAV is not installed.
        """
        missing = InvalidValueError("--save video needs PyAV; pip install 'mspn[video]', or save images")
        self._av = import_extra("av", missing)
        self.folder = folder / self.FOLDER
        self._theme = theme
        self._names = FileNames(source_folder)
        self._video: Video | None = None
        self._file: VideoFile | None = None

    def write(self, result: ImageResult) -> None:
        """Add a frame; images that belong to no video are left out.

        Raises:
            OSError: if there is no room for it.
            ValueError: if the drawn video would take the place of the one that it is drawn from.
        """
        if result.image is None or result.image.frame is None:
            return
        frame = result.image.frame
        if self._file is None or frame.video is not self._video:
            self.close()
            self._file = VideoFile(self._av, self.folder / self._names.choose_for(result.source), frame.video)
            self._video = frame.video
        self._file.write(draw_poses(result.image.pixels, result.poses, self._theme), frame.seconds)

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()
