"""Reading small YAML files that others wrote."""

from pathlib import Path
from typing import Any

import yaml

_LARGEST_BYTES = 2**20


class YamlError(ValueError):
    """A file that cannot be read as YAML."""


def read_yaml(path: Path) -> Any:
    """Parse a file of at most a megabyte without aliases, of which a few can stand for gigabytes.

    Raises:
        YamlError: if there is no such file, it is too large, has an alias, or is no YAML.
    """
    if not path.is_file():
        raise YamlError(f"no file at {path}; check the path")
    if path.stat().st_size > _LARGEST_BYTES:
        raise YamlError(f"{path} is larger than a megabyte; such a file has a few dozen lines")
    try:
        text = path.read_text(encoding="utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise YamlError(f"{path} has an alias (*name); write out what it stands for")
        return yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlError(f"{path} is not YAML ({' '.join(str(error).split())})") from error
