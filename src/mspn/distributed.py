"""The processes of one job: started by torchrun, or a single one."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.rendezvous import rendezvous

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Processes:
    """Rank of this process, and number of processes."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """True for the process that writes files and logs."""
        return self.rank == 0

    def share(self, items: Sequence[_Item]) -> Sequence[_Item]:
        """This process's part of the items; the parts of all processes hold each item once."""
        return items[self.rank :: self.count]

    def average(self, values: Tensor) -> Tensor:
        """Mean of a tensor over the processes."""
        if self.count == 1:
            return values
        total = values.clone()
        distributed.all_reduce(total)
        return total / self.count

    def highest(self, value: int) -> int:
        """The highest value of all processes."""
        if self.count == 1:
            return value
        numbers = torch.tensor(value)
        distributed.all_reduce(numbers, distributed.ReduceOp.MAX)
        return int(numbers)

    def gather(self, items: Sequence[_Item]) -> list[_Item]:
        """The items of all processes, in the order of ranks."""
        if self.count == 1:
            return list(items)
        parts: list[list[_Item]] = [[] for _ in range(self.count)]
        # Unpickles only values of the processes of this job.
        distributed.all_gather_object(parts, list(items))
        return [item for part in parts for item in part]

    def copy_from_first(self, values: Tensor) -> None:
        """Give a tensor, in place, the values that the first process has."""
        if self.count > 1:
            distributed.broadcast(values, 0)


ALONE = Processes()


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the processes that torchrun started, gloo between CPUs and nccl between GPUs; alone without torchrun."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, rank, count = next(rendezvous("env://"))
    # After a restart, torchrun's store still holds the addresses of the processes that are gone.
    store = distributed.PrefixStore(f"attempt {_num_restarts()}", store)  # type: ignore[attr-defined]
    distributed.init_process_group(backend, store=store, rank=rank, world_size=count)
    try:
        yield Processes(rank, count)
    finally:
        distributed.destroy_process_group()


def is_restart() -> bool:
    """True if torchrun restarted this process after a failure."""
    return _num_restarts() > 0


def _num_restarts() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
