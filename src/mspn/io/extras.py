"""Import of optional libraries, which the extras of the package install."""

import importlib
from typing import Any


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
