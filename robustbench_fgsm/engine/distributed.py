"""Processes that share one job, as `torchrun` starts them; a single process otherwise.

Each process takes its share of the pieces, and the processes exchange nothing until they sum the counts. A process that fails
reports it in the shared store. Its error is printed once, and the errors of all other processes count as its consequence.
"""

from __future__ import annotations

import atexit
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

import numpy as np

from robustbench_fgsm.engine.torchrun import is_under_torchrun
from robustbench_fgsm.errors import IncompleteError, RunError
from robustbench_fgsm.stats.tally import Int64Array

if TYPE_CHECKING:
    import torch
    from torch.distributed import Store  # type: ignore[attr-defined]  # exported, but not said so

Value = TypeVar("Value")

BARRIER_TIMEOUT = timedelta(days=7)
"""Time that a process waits for the others. A lost process closes its connections, which ends the wait at once."""

DONE_KEY, FAILED_KEY = "done", "failed"

POLL_SECONDS = 0.05
"""Seconds between two reads of the key that the main process writes."""


@dataclass(frozen=True)
class World:
    """All processes, seen by one: its rank, their number, and its rank on its machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    under_torchrun: bool = False
    """Whether torchrun started the process, even as the only process."""
    store: Any = field(default=None, repr=False, compare=False)

    @property
    def is_main(self) -> bool:
        """Return whether this is the main process, which prints and writes files."""
        return self.rank == 0

    def local_part(self, numbers: Int64Array) -> Int64Array:
        """Return this process's part of the numbers, which are consecutive; the parts of all processes cover each number once."""
        low, high = (len(numbers) * rank // self.size for rank in (self.rank, self.rank + 1))
        return numbers[low:high]

    def local_device(self, name: str) -> str:
        """Return the device for a name; `auto` and `cuda` give each process of a machine its own GPU."""
        if self.under_torchrun and name in ("auto", "cuda"):
            import torch

            if torch.cuda.is_available():
                return f"cuda:{self.local_rank % torch.cuda.device_count()}"
        return name

    def gather(self, value: Value) -> list[Value]:
        """Return in every process the values of all processes, by rank."""
        if self.size == 1:
            return [value]
        from torch import distributed as dist

        found: list[Any] = [None] * self.size
        _exchange(lambda: dist.all_gather_object(found, value))
        return cast("list[Value]", found)

    def broadcast(self, value: Value | None) -> Value:
        """Return in every process the value of the main process."""
        if self.size == 1:
            return cast("Value", value)
        from torch import distributed as dist

        found: list[Any] = [value]
        _exchange(lambda: dist.broadcast_object_list(found, 0))
        return cast("Value", found[0])

    def sum(self, counts: Int64Array) -> Int64Array:
        """Return in every process the sum of integer arrays, of one shape, over all processes."""
        if self.size == 1:
            return counts
        import torch
        from torch import distributed as dist

        total = torch.from_numpy(np.array(counts, np.int64, copy=True))
        _exchange(lambda: dist.all_reduce(total))
        return total.numpy()

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return in every process the mean of floating-point tensors, of one shape, over all processes."""
        if self.size == 1:
            return values
        from torch import distributed as dist

        total = values.detach().clone()
        _exchange(lambda: dist.all_reduce(total))
        return total / self.size

    def run_in_rank_order(self, work: Callable[[], object], *, wanted: bool) -> None:
        """Run the work in each process that wants it, one after the other by rank, while the others wait."""
        for rank, wants in enumerate(self.gather(wanted)):
            if wants:
                if rank == self.rank:
                    work()
                self.barrier()

    def barrier(self) -> None:
        """Wait until all processes have reached this call."""
        self.sum(np.zeros(1, np.int64))

    def add_done_images(self, count: int, local_total: int) -> int:
        """Add `count` done images, and return the done images of all processes; local_total: those of this process."""
        if self.store is None or self.size == 1:
            return local_total
        return _exchange(lambda: int(self.store.add(DONE_KEY, count)))

    def report_failure(self) -> bool:
        """Report that this process fails, and return whether it is the first, which prints its error."""
        if self.store is None:
            return True
        try:
            return int(self.store.add(FAILED_KEY, 1)) == 1
        except RuntimeError:  # the store ended with the process that held it
            return False

    def check_same(self, values: dict[str, Any]) -> None:
        """Raise RunError, which names the difference, unless all processes have equal values, compared as text."""
        gathered = self.gather({key: repr(value) for key, value in values.items()})
        for rank, other in enumerate(gathered):
            for key, value in gathered[0].items():
                if other.get(key) != value:
                    raise RunError(
                        f"all processes must have the same {key}, got {value[:80]} in rank 0 and "
                        f"{str(other.get(key))[:80]} in rank {rank}: start the same command from the same files"
                    )


SINGLE_PROCESS = World()


@cache
def join_world() -> World:
    """Join the processes that torchrun's environment describes, at the first call; else return `SINGLE_PROCESS`.

    gloo carries tensors on the CPU, such as counts, and nccl tensors on a GPU.
    """
    if not is_under_torchrun():
        return SINGLE_PROCESS
    import torch
    from torch import distributed as dist
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # exported, but not said so
    from torch.distributed.rendezvous import rendezvous

    local_rank = int(os.environ["LOCAL_RANK"])
    shared, rank, size = next(iter(rendezvous("env://")))
    store = PrefixStore(f"rfgsm/{agree_on_launch_id(shared, rank, size)}", shared)
    if size > 1 and not dist.is_initialized():
        on_gpu = torch.cuda.is_available() and dist.is_nccl_available()
        if on_gpu:
            torch.cuda.set_device(local_rank % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        with _output_to_stderr():
            dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=BARRIER_TIMEOUT)
        if not on_gpu:  # gloo's threads abort a process that exits while they run; NCCL may wait for lost processes
            atexit.register(leave_world)
    return World(rank, size, local_rank, under_torchrun=True, store=store)


@contextmanager
def _output_to_stderr() -> Iterator[None]:
    """Send to standard error what C++ code prints, as gloo of PyTorch 2.10 does: standard output holds the result alone."""
    try:
        kept = os.dup(1)
    except OSError:  # standard output is closed
        yield
        return
    try:
        with suppress(OSError):  # standard error is closed
            os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def agree_on_launch_id(store: Store, rank: int, size: int) -> int:
    """Return a number that these processes share and no earlier launch used.

    torchrun keeps one store over restarts, so keys of killed processes stay readable. Rank 0 draws a number. Each other rank
    answers with a new random word, and continues when rank 0 repeats all these words.
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
    """Leave the process group, if there is one; processes that are still in it get an error."""
    from torch import distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    join_world.cache_clear()


def _exchange(exchange: Callable[[], Value]) -> Value:
    """Return what an exchange with the other processes gives; raise IncompleteError if one of them was lost."""
    try:
        return exchange()
    except RuntimeError as error:
        raise IncompleteError(
            f"all processes must stay until the counts are summed, but one was lost ({str(error).splitlines()[0][:120]}): "
            "the same command continues the run"
        ) from error


def merge_by_number(parts: Sequence[Sequence[tuple[int, Value]]]) -> list[Value]:
    """Return the values of all ranks in ascending order of their numbers."""
    return [value for _, value in sorted((pair for part in parts for pair in part), key=lambda pair: pair[0])]
