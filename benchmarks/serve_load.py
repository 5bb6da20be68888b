"""Load on a service: pictures per second, latencies and errors of many clients at once, or of one after another.

mspn serve --port 8000 &
python -m benchmarks.serve_load http://127.0.0.1:8000 --clients 1 32 --seconds 60 --pid $!
"""

import argparse
import http.client
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from mspn.checkpoints.index import ASSETS
from mspn.io.images import IMAGE_SUFFIXES


@dataclass
class Load:
    """What clients saw."""

    seconds: list[float] = field(default_factory=list)
    """Of each answer with status 200."""
    refusal_seconds: list[float] = field(default_factory=list)
    """Of each 503."""
    statuses: Counter[str] = field(default_factory=Counter)
    """By status, or by the name of the error of a connection."""


def main() -> None:
    """Print a line for each number of clients."""
    parser = argparse.ArgumentParser(description="load on a service")
    parser.add_argument("address", help="such as http://127.0.0.1:8000")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 32], help="at once; several are measured in turn")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each")
    parser.add_argument("--pictures", type=Path, default=ASSETS / "sample", help="folder of those that are sent")
    parser.add_argument("--pid", type=int, help="process of the service, whose memory is shown")
    chosen = parser.parse_args()
    paths = sorted(path for path in chosen.pictures.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    pictures = [path.read_bytes() for path in paths]
    print("clients  pictures/s  p50 ms  p99 ms  503 p99 ms  MiB at first, at last  statuses")
    for num_clients in chosen.clients:
        first = _resident_mib(chosen.pid)
        load, seconds = put_load(chosen.address, pictures, num_clients, chosen.seconds)
        p50, p99 = (1000 * _percentile(load.seconds, share) for share in (50, 99))
        refused = 1000 * _percentile(load.refusal_seconds, 99)
        statuses = ", ".join(f"{status}: {count}" for status, count in load.statuses.most_common())
        print(
            f"{num_clients:7}  {len(load.seconds) / seconds:10.2f}  {p50:6.0f}  {p99:6.0f}  {refused:10.0f}"
            f"  {first:12.0f}, {_resident_mib(chosen.pid):7.0f}  {statuses}",
            flush=True,
        )


def put_load(address: str, pictures: list[bytes], num_clients: int, seconds: float) -> tuple[Load, float]:
    """Let clients ask one picture after another for a while; also returns the seconds until the last answer."""
    load = Load()
    started = time.monotonic()
    clients = [
        threading.Thread(target=_ask, args=(address, pictures[n % len(pictures) :] + pictures, started + seconds, load))
        for n in range(num_clients)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return load, time.monotonic() - started


def _ask(address: str, pictures: list[bytes], end: float, load: Load) -> None:
    parts = urlsplit(address)
    assert parts.hostname is not None
    with closing(http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=60)) as connection:
        for picture in cycle(pictures):
            begun = time.monotonic()
            if begun >= end:
                return
            try:
                connection.request("POST", "/v1/poses", picture)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                load.statuses[type(error).__name__] += 1
                connection.close()
                continue
            taken = time.monotonic() - begun
            load.statuses[str(response.status)] += 1
            if response.status == http.client.OK:
                load.seconds.append(taken)
            elif response.status == http.client.SERVICE_UNAVAILABLE:
                load.refusal_seconds.append(taken)
                time.sleep(min(float(response.headers["Retry-After"]), max(0.0, end - time.monotonic())))


def _percentile(seconds: list[float], share: float) -> float:
    return float(np.percentile(seconds, share)) if seconds else float("nan")


def _resident_mib(pid: int | None) -> float:
    """Memory of a process, on Linux."""
    if pid is None:
        return float("nan")
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024


if __name__ == "__main__":
    main()
