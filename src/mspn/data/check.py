"""Everything that `mspn data check` looks for in a labelled set."""

from collections.abc import Sequence

import numpy as np

from mspn.data.checks.bodies import check_bodies
from mspn.data.checks.boxes import check_boxes
from mspn.data.checks.entries import check_entries
from mspn.data.checks.findings import Finding
from mspn.data.checks.keypoints import check_keypoints
from mspn.data.checks.pictures import PictureFile, check_pictures
from mspn.data.checks.repeats import check_repeats
from mspn.data.checks.table import make_table
from mspn.data.checks.whole_set import check_whole_set
from mspn.data.labels import LabelledSet

_RULES = (check_whole_set, check_entries, check_boxes, check_keypoints, check_repeats, check_bodies)


def check_labels(labels: LabelledSet, files: Sequence[PictureFile] = ()) -> list[Finding]:
    """Find what is wrong with labels, or looks so; `mspn.data.checks.findings.KINDS` has the kinds.

    Args:
        labels: as they were read.
        files: what `mspn.data.checks.pictures.scan_pictures` found of the pictures; without them only the labels are
            checked, and believed where they say how large pictures are.
    """
    sizes = {file.picture.id: file.size for file in files if file.size is not None}
    # Rules divide by sizes of people that may be 0 or NaN; what comes out of it is not greater than any threshold.
    with np.errstate(all="ignore"):
        table = make_table(labels, sizes)
        return [*check_pictures(files), *(finding for rule in _RULES for finding in rule(table))]
