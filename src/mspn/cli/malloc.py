"""Settings of glibc's allocator for programs that run networks."""

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's `mallopt`, from its malloc.h."""
_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": (_MMAP_THRESHOLD, 2**30),
    "MALLOC_TRIM_THRESHOLD_": (_TRIM_THRESHOLD, -1),  # never
}
"""Parameter and value by the environment variable that sets the same."""


def keep_freed_memory() -> None:
    """Let glibc reuse freed memory instead of returning it to the system; no effect with other C libraries.

    By default glibc returns tensors of more than 32 MiB and requests new pages for the next, which the kernel clears.
    Commands that run networks call this, except `mspn bench`, which measures what other programs would get. Environment
    variables take precedence.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    c_library = ctypes.CDLL(None)
    for variable, (parameter, value) in _SETTINGS.items():
        if variable not in os.environ:
            c_library.mallopt(parameter, value)
