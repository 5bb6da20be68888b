"""Watching for pictures that cannot be read."""

import logging
from collections.abc import Sequence

from mspn.data.people import PicturePaths
from mspn.images import PictureError

logger = logging.getLogger(__name__)

_MOST_UNREADABLE = 0.1


class PictureWatch:
    """Says once of each picture that it cannot be read, and stops when that is no exception any more."""

    def __init__(self, pictures: PicturePaths) -> None:
        self._pictures = pictures
        self._reported: set[int] = set()

    def report_unreadable(self, unreadable: Sequence[int]) -> None:
        """Log those pictures, by their positions, that are new.

        Raises:
            PictureError: if they are more than one in ten of all pictures.
        """
        for index in unreadable:
            path = self._pictures[index]
            if index not in self._reported:
                self._reported.add(index)
                logger.warning("skipped: %s cannot be read (%d such pictures so far)", path, len(self._reported))
            if len(self._reported) > max(1, _MOST_UNREADABLE * len(self._pictures)):
                raise PictureError(
                    f"{len(self._reported)} pictures cannot be read, the last is {path}; check data.root"
                )
