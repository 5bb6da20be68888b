"""Watching for pictures that cannot be read."""

import logging
from collections.abc import Sequence

from mspn.data.dataset import Sample
from mspn.data.people import People
from mspn.images import PictureError

logger = logging.getLogger(__name__)

_MOST_UNREADABLE = 0.1


class PictureWatch:
    """Says once of each picture that it cannot be read, and stops when that is no exception any more."""

    def __init__(self, people: People) -> None:
        self._people = people
        self._reported: set[int] = set()

    def report_unreadable(self, parts: Sequence[Sample]) -> None:
        """Log new unreadable pictures of a batch.

        Raises:
            PictureError: if they are more than one in ten of all pictures.
        """
        for person in [person for part in parts for person in part.person[~part.is_readable].tolist()]:
            index = int(self._people.picture_index[person])
            path = self._people.pictures[index]
            if index not in self._reported:
                self._reported.add(index)
                logger.warning("skipped: %s cannot be read (%d such pictures so far)", path, len(self._reported))
            if len(self._reported) > max(1, _MOST_UNREADABLE * len(self._people.pictures)):
                raise PictureError(
                    f"{len(self._reported)} pictures cannot be read, the last is {path}; check data.root"
                )
