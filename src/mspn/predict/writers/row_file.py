"""Text files that grow row by row."""

import json
from pathlib import Path
from typing import Any

from mspn.files import explain_failures


class RowFile:
    """Every row is on the disk, whole, when `append` returns; one that finds no room there leaves nothing behind."""

    def __init__(self, path: Path, final_path: Path | None = None) -> None:
        """Start an empty file.

        Args:
            path: of the file.
            final_path: what it will be called, for errors; None: the same.
        """
        self._final_path = final_path or path
        with explain_failures(self._final_path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=0)

    def append(self, text: str) -> None:
        """Add text at the end.

        Raises:
            OSError: if there is no room for it.
        """
        rest = memoryview(text.encode())
        start = self._file.tell()
        with explain_failures(self._final_path):
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError:
                self._file.truncate(start)
                self._file.seek(start)
                raise

    def close(self) -> None:
        self._file.close()


class JsonListFile:
    """A JSON list of which only the part at hand is in memory, a line each."""

    def __init__(self, path: Path, final_path: Path) -> None:
        """Start an empty list; arguments as those of `RowFile`."""
        self._rows = RowFile(path, final_path)
        self._is_empty = True

    def append(self, value: Any) -> None:
        """Add a value that JSON can hold.

        Raises:
            OSError: if there is no room for it.
        """
        self._rows.append(("[\n" if self._is_empty else ",\n") + json.dumps(value))
        self._is_empty = False

    def close(self) -> None:
        """End the list.

        Raises:
            OSError: if there is no room for that.
        """
        try:
            self._rows.append("[]\n" if self._is_empty else "\n]\n")
        finally:
            self._rows.close()
