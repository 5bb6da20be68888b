"""Running a function in several processes that know each other, as torchrun would start them."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from typing import Any

from mspn.distributed import joined_processes


def clean_processes() -> ForkServerContext:
    """Processes that begin with everything imported and none of this one's threads.

    torch's optimizers import `torch._dynamo` when they are first made, which takes seconds.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mspn.training.loop", "torch._dynamo", "pytest"])
    return context


def run_together(count: int, work: Callable[..., Any], *arguments: Any) -> None:
    """Run `work(processes, *arguments)` in that many processes over gloo, on this machine alone.

    `work` stands at the top of a module.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = clean_processes()
    started = [context.Process(target=_join, args=(rank, count, port, work, arguments)) for rank in range(count)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    codes = [process.exitcode for process in started]
    for process in started:
        process.kill()
    assert codes == [0] * count


def _join(rank: int, count: int, port: int, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ.update(address, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
    with joined_processes() as processes:
        work(processes, *arguments)
