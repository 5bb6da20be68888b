"""PyAV, which only videos and streams need."""

import importlib
from typing import Any

from mspn.sources.problems import SourceError

SAFE_FORMATS = "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,dv,mxf"
"""What FFmpeg may take a file for: formats that hold pictures and sound themselves. Playlists, which name other files
and addresses, are not among them."""


def load_pyav(source: str) -> Any:
    """The module `av`.

    Raises:
        SourceError: naming the source, if it is not installed.
    """
    try:
        return importlib.import_module("av")  # late: an extra
    except ImportError as error:
        raise SourceError(f"reading {source} needs PyAV; pip install 'mspn[video]'") from error
