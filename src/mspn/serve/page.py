"""The page's files, what a browser lets them do, and the interface in words: a page without scripts, from OpenAPI."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from mspn.checkpoints.index import ASSETS

PAGE = ASSETS / "page"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
    " connect-src 'self' data: blob:; worker-src 'self'; base-uri 'none'; form-action 'none'"
)
"""Nothing comes from another host, and nothing goes to one."""


def render_api_page(description: Mapping[str, Any]) -> str:
    """HTML of an OpenAPI description: each route with its options, answers and examples."""
    routes = [
        {"path": path, "method": method.upper(), **operation}
        for path, operations in description["paths"].items()
        for method, operation in operations.items()
    ]
    return _load_template().render(info=description["info"], routes=routes)


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["pretty"] = lambda value: json.dumps(value, indent=2)
    return environment.get_template("api_page.html.j2")
