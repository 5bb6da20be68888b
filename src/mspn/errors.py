"""Every error that a user can cause, which commands print as one line; and imports of optional libraries."""

import importlib
import signal
from typing import Any


class MspnError(ValueError):
    """The root of all errors that a user can cause; the message is one line: what, where, what to do.

    >>> import mspn
    >>> try:
    ...     mspn.load_model("mspn-tinny")
    ... except mspn.MspnError as error:
    ...     print(error)
    no weights file at mspn-tinny and no model of that name; did you mean 'mspn-tiny'?
    """


class InvalidValueError(MspnError):
    """An argument, option or value, or a combination of them, that cannot be used."""


class FileError(MspnError, OSError):
    """A file or folder that cannot be written."""


class MissingFileError(FileError, FileNotFoundError):
    """A file or folder that is not there."""


class ImageError(MspnError):
    """A file that cannot be read as an image."""


_MAX_REASON = 150


class SourceError(MspnError):
    """A source that gives no image, or no more; the message is one line: what, where, what to do."""


def reason(error: Exception) -> str:
    """The message of a system or library error in one line; it may come from a server."""
    text = getattr(error, "strerror", None) or str(error)
    return one_line(text).rstrip(".") or type(error).__name__


def one_line(text: str) -> str:
    """External text as one printable line of bounded length, without control characters."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())[:_MAX_REASON]


class YamlError(MspnError):
    """A file that cannot be read as YAML."""


class SettingsError(MspnError):
    """A setting that does not exist or has an impossible value."""


class SkeletonError(MspnError):
    """A skeleton that does not exist or contradicts itself."""


class WeightsError(MspnError):
    """A weights file that is missing or cannot be used."""


class DownloadError(WeightsError):
    """A file that cannot be downloaded, or has another digest."""


class AnnotationError(MspnError):
    """An annotation file that cannot be used as it is."""


class TracksError(MspnError):
    """Tracks that cannot be read, or not be used as is wanted."""


class DetectorError(MspnError):
    """A detector that cannot be used as it is, or not for an image."""


class ExportError(MspnError):
    """A network that cannot be exported, or an exported file that cannot be used."""


class EngineError(MspnError):
    """An evaluation engine that is not installed, or whose results differ from those of pycocotools."""


class ReportError(MspnError):
    """A report that cannot be used, or is not what was written."""


class TrainingStoppedError(Exception):
    """Training was stopped by a signal; a checkpoint was written."""

    def __init__(self, iteration: int, signal_number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signal_number).name} after iteration {iteration}")
        self.iteration = iteration
        self.signal_number = signal_number


class TrainingDivergedError(MspnError):
    """The loss became NaN or infinite."""


def import_extra(module: str, missing: Exception) -> Any:
    """Import a module where it is first used.

    Args:
        module: its full name.
        missing: the error to raise if it cannot be imported; it says what needs the library and how to install it.

    Raises:
        Exception: `missing`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing from error
