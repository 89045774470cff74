"""Computation on blocks of indices by worker processes, with results in order."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from robustbench_fgsm.errors import IncompleteError, RfgsmError, first_line

MAX_WORKERS = 4
MIN_IMAGES_FOR_WORKERS = 256
"""Images below which starting processes takes longer than it saves."""

Result = TypeVar("Result")


class _BlockDataset(Dataset[Result | RfgsmError], Generic[Result]):
    def __init__(self, work: Callable[[Sequence[int]], Result], blocks: Sequence[Sequence[int]]) -> None:
        self.work = work
        self.blocks = blocks

    def __len__(self) -> int:
        return len(self.blocks)

    def __getitem__(self, number: int) -> Result | RfgsmError:
        try:
            return self.work(self.blocks[number])
        except RfgsmError as error:  # an exception would lose its message between processes
            return error


def map_in_order(work: Callable[[Sequence[int]], Result], blocks: Sequence[Sequence[int]], workers: int | None) -> Iterator[Result]:
    """Yield work(block) for each block, in order, computed by worker processes; by this process if workers is 0.

    workers: None for up to 4, if there is enough work and processes can be forked. Results are pickled, not put into shared memory,
    which is small in containers. The global random state does not change. Raises IncompleteError if a process is lost, and errors
    of this package that the work raises.
    """
    count = min(choose_num_workers(sum(map(len, blocks))) if workers is None else workers, len(blocks))
    if count == 0:
        yield from map(work, blocks)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of more processes than cores, which the user chose
        results = iter(
            DataLoader(
                _BlockDataset(work, blocks), batch_size=None, num_workers=count, collate_fn=_unchanged, generator=torch.Generator()
            )
        )
    try:
        for found in results:
            if isinstance(found, RfgsmError):
                raise found
            yield found
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise IncompleteError(
            f"a worker process that decodes images was lost ({first_line(error)}): run it again, perhaps with --workers 0"
        ) from error


def choose_num_workers(num_images: int) -> int:
    """Return the number of worker processes that help for so many images on this machine."""
    if num_images < MIN_IMAGES_FOR_WORKERS or multiprocessing.get_start_method() != "fork":
        return 0
    return min(MAX_WORKERS, len(os.sched_getaffinity(0)))


def _unchanged(result: Result) -> Result:
    return result
