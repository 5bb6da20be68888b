"""A disk that is full: no file gets longer than so many bytes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def full_disk(most_bytes: int) -> Iterator[None]:
    """Let writing beyond the limit fail, as it does without room; skip the test where that cannot be had."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    dont_write_bytecode = sys.dont_write_bytecode
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    sys.dont_write_bytecode = True  # a module imported here would be kept cut short, for every later process
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = dont_write_bytecode
