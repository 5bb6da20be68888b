"""One of several processes, without the others."""

from collections.abc import Sequence
from typing import Any

from mspn.distributed import Processes


class ProcessApart(Processes):
    """Has its share, and does not wait for what the others found."""

    def gather(self, items: Sequence[Any]) -> list[Any]:
        return list(items)
