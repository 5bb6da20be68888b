"""Which clock tells how long a computation takes."""

import time
from collections.abc import Callable


def clock_for(threads: int) -> Callable[[], float]:
    """The processor's time for one thread, which other programs disturb little; for several, the clock on the wall."""
    return time.process_time if threads == 1 else time.perf_counter
