"""The processes that share one job, as `torchrun` starts them; one alone where it did not.

Each takes its own share of the pieces, and nothing is exchanged until the counts are summed. A process that fails says so in
the store that all reach, so that its error is printed once and what the others run into is known to be its consequence.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar, cast
from uuid import uuid4

import numpy as np
import torch
from torch import distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]  # exported, but not said so
from torch.distributed.rendezvous import rendezvous

from robustbench_fgsm.engine.torchrun import is_under_torchrun
from robustbench_fgsm.errors import IncompleteError, RunError
from robustbench_fgsm.stats.tally import Int64Array

Value = TypeVar("Value")

BARRIER_TIMEOUT = timedelta(days=7)
"""Of one process for the others; one that was lost closes its connections, which ends the wait at once."""

DONE_KEY, FAILED_KEY = "done", "failed"

POLL_SECONDS = 0.05
"""Seconds between looks at what the first process says."""


@dataclass(frozen=True)
class World:
    """rank: of this process, from 0; size: processes in all; local_rank: of this process on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    under_torchrun: bool = False
    """Whether torchrun started it, also where it is one alone."""
    store: Any = field(default=None, repr=False, compare=False)

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes what is written once."""
        return self.rank == 0

    def local_part(self, numbers: Int64Array) -> Int64Array:
        """This process's part of these numbers, next to each other; all parts together are all of them, each once."""
        low, high = (len(numbers) * rank // self.size for rank in (self.rank, self.rank + 1))
        return numbers[low:high]

    def local_device(self, name: str) -> str:
        """The device for `auto` or `cuda`: a GPU of its own for each process of a machine."""
        if self.under_torchrun and name in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self.local_rank % torch.cuda.device_count()}"
        return name

    def gather(self, value: Value) -> list[Value]:
        """The value of every process, by rank, for all of them."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        _run_collective(lambda: dist.all_gather_object(found, value))
        return cast("list[Value]", found)

    def broadcast(self, value: Value | None) -> Value:
        """The value of rank 0, for all."""
        if self.size == 1:
            return cast("Value", value)
        found: list[Any] = [value]
        _run_collective(lambda: dist.broadcast_object_list(found, 0))
        return cast("Value", found[0])

    def sum(self, counts: Int64Array) -> Int64Array:
        """Integers of any shape, the same everywhere, added up over the processes, for all of them."""
        if self.size == 1:
            return counts
        total = torch.from_numpy(np.array(counts, np.int64, copy=True))
        _run_collective(lambda: dist.all_reduce(total))
        return total.numpy()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Floating-point values of any shape, the same everywhere, averaged over the processes, for all of them alike."""
        if self.size == 1:
            return values
        total = values.detach().clone()
        _run_collective(lambda: dist.all_reduce(total))
        return total / self.size

    def run_in_rank_order(self, work: Callable[[], object], *, wanted: bool) -> None:
        """Do the work in each process that wants it, one after the other by rank, while the others wait."""
        for rank, wants in enumerate(self.gather(wanted)):
            if wants:
                if rank == self.rank:
                    work()
                self.barrier()

    def barrier(self) -> None:
        """Go on when all have come here."""
        self.sum(np.zeros(1, np.int64))

    def add_done_images(self, count: int, local_total: int) -> int:
        """Say that so many more images are done, so_far with them; how many all processes have said by now."""
        return int(self.store.add(DONE_KEY, count)) if self.store is not None and self.size > 1 else local_total

    def report_failure(self) -> bool:
        """Say that this process fails; whether it is the first one to say so, and so the one to tell why."""
        if self.store is None:
            return True
        try:
            return int(self.store.add(FAILED_KEY, 1)) == 1
        except RuntimeError:  # the store went with a process that was lost
            return False

    def check_same(self, values: dict[str, Any]) -> None:
        """Raise RunError, naming what differs, unless all processes have the same facts; values are compared as text."""
        told = self.gather({key: repr(value) for key, value in values.items()})
        for rank, other in enumerate(told):
            for key, value in told[0].items():
                if other.get(key) != value:
                    raise RunError(
                        f"all processes must have the same {key}, got {value[:80]} in rank 0 and "
                        f"{str(other.get(key))[:80]} in rank {rank}: start the same command from the same files"
                    )


SINGLE_PROCESS = World()


@cache
def join_world() -> World:
    """The world that torchrun's environment describes, joined at the first call; `ALONE` where there is none.

    gloo carries what lies on the CPU, as counts do, and nccl what lies on a GPU.
    """
    if not is_under_torchrun():
        return SINGLE_PROCESS
    local_rank = int(os.environ["LOCAL_RANK"])
    shared, rank, size = next(iter(rendezvous("env://")))
    store = PrefixStore(f"rfgsm/{agree_on_launch_id(shared, rank, size)}", shared)
    if size > 1 and not dist.is_initialized():
        on_gpu = torch.cuda.is_available() and dist.is_nccl_available()
        if on_gpu:
            torch.cuda.set_device(local_rank % torch.cuda.device_count())
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo", store=store, rank=rank, world_size=size, timeout=BARRIER_TIMEOUT
        )
        if not on_gpu:  # gloo's threads abort a process that ends with them; NCCL may wait for processes that are lost
            atexit.register(leave_world)
    return World(rank, size, local_rank, under_torchrun=True, store=store)


def agree_on_launch_id(store: Store, rank: int, size: int) -> int:
    """A number that these processes have in common and none before them had, where the store outlives its processes.

    torchrun keeps one store over restarts, so that what killed processes wrote can still be read. Rank 0 draws a number, and
    the others answer it, each with a word that nobody used before; they go on when rank 0 repeats all these words.
    """
    word = uuid4().hex
    if rank == 0:
        number = int(store.add("rfgsm/number", 1))
        store.set("rfgsm/current", str(number))
        words = [store.get(f"rfgsm/{number}/word/{other}").decode() for other in range(1, size)]
        store.set(f"rfgsm/{number}/words", ",".join(words))
        return number
    while True:
        number = int(store.get("rfgsm/current"))
        store.set(f"rfgsm/{number}/word/{rank}", word)
        if store.check([f"rfgsm/{number}/words"]) and word in store.get(f"rfgsm/{number}/words").decode().split(","):
            return number
        time.sleep(POLL_SECONDS)


def leave_world() -> None:
    """Leave the world joined, if any; processes that are still in it find out."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    join_world.cache_clear()


def _run_collective(exchange: Callable[[], Any]) -> None:
    try:
        exchange()
    except RuntimeError as error:
        raise IncompleteError(
            f"all processes must stay until the counts are summed, but one was lost ({str(error).splitlines()[0][:120]}): "
            "the same command continues the run"
        ) from error


def merge_by_number(parts: Sequence[Sequence[tuple[int, Value]]]) -> list[Value]:
    """Values of all ranks by ascending number."""
    return [value for _, value in sorted((pair for part in parts for pair in part), key=lambda pair: pair[0])]
