"""For the site's reference: examples in docstrings (>>>) become blocks of code, which Markdown takes for quotations."""

import re
from typing import Any

from griffe import Extension, Object

_EXAMPLE = re.compile(r"^(>>> (?:.+\n?)+)", re.MULTILINE)


class FenceExamples(Extension):
    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Put fences around each example of a docstring."""
        if obj.docstring:
            obj.docstring.value = _EXAMPLE.sub(_fence, obj.docstring.value)


def _fence(example: re.Match[str]) -> str:
    return f"```pycon\n{example[1].rstrip()}\n```\n"
