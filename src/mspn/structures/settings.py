"""Base class of all settings."""

import difflib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class Settings(BaseModel):
    """A frozen pydantic model; unknown keys are refused, naming close ones."""

    # Built when they are used: a command uses few of some seventy.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, dict):
            for key in values:
                if key not in cls.model_fields:
                    close = difflib.get_close_matches(str(key), cls.model_fields, n=1)
                    hint = f"did you mean {close[0]!r}? " if close else ""
                    raise ValueError(
                        f"no setting {key!r} in {cls.__name__}; {hint}it has {', '.join(sorted(cls.model_fields))}"
                    )
        return values


def first_problem(error: ValidationError, whole: str = "") -> str:
    """Where and what, in one line, of the first problem that pydantic found.

    Args:
        error: of a settings class, or of any other model.
        whole: stands for "where" if the problem is with all that was read.
    """
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"]]
    for union, kinds in (("model", ""), ("recipe", "Recipe")):
        kind = parts.index(union) + 1 if union in parts else len(parts)
        if kind < len(parts) and parts[kind].endswith(kinds):
            del parts[kind]  # which of its kinds, which pydantic puts there
    where = ".".join(parts) or whole
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def flatten(value: Any, path: str = "") -> dict[str, str]:
    """Settings that are JSON already, as JSON text by the names that --set takes."""
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        children = list(enumerate(value))
    else:
        return {path: json.dumps(value, ensure_ascii=False)}
    flat: dict[str, str] = {}
    for name, child in children:
        flat |= flatten(child, f"{path}.{name}" if path else str(name))
    return flat
