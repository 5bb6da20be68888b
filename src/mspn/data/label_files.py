"""What readers of all formats share: the error that they end in, JSON, plain numbers."""

import json
from pathlib import Path
from typing import Any


class AnnotationError(ValueError):
    """An annotation file that cannot be used as it is."""


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        AnnotationError: if there is none or it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnnotationError(f"no file at {path}; check the path") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise AnnotationError(f"{path} is not JSON ({error}); is the file whole?") from error


def plain_number(value: float) -> int | float:
    """A number as people write it: whole ones without a decimal point."""
    return int(value) if float(value).is_integer() else float(value)
