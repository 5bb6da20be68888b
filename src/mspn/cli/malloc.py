"""Memory that networks need again and again."""

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's `mallopt`, from its malloc.h."""
_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": (_MMAP_THRESHOLD, 2**30),
    "MALLOC_TRIM_THRESHOLD_": (_TRIM_THRESHOLD, -1),  # never
}
"""By the variable of the environment that glibc reads for the same."""


def keep_freed_memory() -> None:
    """Let glibc keep what is freed for what is asked for next; other C libraries stay as they are.

    By default it gives tensors of more than 32 MiB back to the system and asks for them anew, which then clears each
    page. For commands that run networks; `mspn bench` compares with what others have, so it is none of them. A variable
    that is set in the environment counts instead.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    c_library = ctypes.CDLL(None)
    for variable, (parameter, value) in _SETTINGS.items():
        if variable not in os.environ:
            c_library.mallopt(parameter, value)
