"""Limits on what sources may be read, and how."""

from pathlib import Path

from pydantic import Field

from mspn.io.hosts import Networks
from mspn.io.images import MAX_PIXELS
from mspn.structures.settings import Settings


class InputLimits(Settings):
    """Sizes, waits, and allowed networks of sources, and how deep images are read."""

    max_pixels: int = Field(MAX_PIXELS, ge=1)
    """Of one image, or one frame of a video."""
    wait_seconds: float = Field(10.0, gt=0)
    """Longest wait for a connection, the headers of an answer, more bytes, or the next frame of a live source."""
    download_seconds: float = Field(120.0, gt=0)
    """For all that an address gives, redirects included."""
    download_bytes: int = Field(256 * 2**20, ge=1)
    """Of all that an address gives."""
    max_redirects: int = Field(5, ge=0)
    """From one address to the next."""
    allowed_networks: Networks = ()
    """Networks that are not public but may be asked for images all the same, such as 192.168.1.0/24."""
    own_addresses: frozenset[str] = frozenset()
    """Addresses that the user wrote: their hosts may be anywhere, unlike those of lists, requests and redirects."""
    stretch: bool = False
    """Whether the largest value of a 16-bit image becomes white, in place of the largest possible one."""
    excluded_folders: tuple[Path, ...] = ()
    """Folders that are not searched when they lie in one that is: where results are written to."""
    reconnections: int = Field(3, ge=0)
    """Tries to get a live source back, a pause after each, before it counts as ended."""
    reconnection_seconds: float = Field(2.0, ge=0)
    """Pause before each of them."""


DEFAULTS = InputLimits()
