"""Poses of many files on many machines, on Ray Data.

Raises:
    ValueError: when it is imported and Ray is not installed.
"""

import os

from mspn.errors import InvalidValueError, import_extra

# Read when ray is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else its makers are told of each run
import_extra("ray.data", InvalidValueError("this needs Ray Data; pip install 'mspn[ray]'"))
