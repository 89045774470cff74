"""Test reading one batch ahead in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.prefetch import prefetch_batches, prefetch_in_thread

CPU = torch.device("cpu")


def batches(count: int, given: list[int]) -> Iterator[Batch]:
    for number in range(count):
        given.append(number)
        yield Batch(torch.full((1, 1, 2, 2), float(number)), torch.tensor([0]), torch.tensor([number]))


def test_reads_one_batch_ahead() -> None:
    given: list[int] = []
    names: list[str] = []

    def prepare(batch: Batch) -> Batch:
        names.append(threading.current_thread().name)
        return batch

    seen = []
    for batch in prefetch_in_thread(batches(4, given), prepare):
        seen.append(int(batch.ids))
        assert len(given) <= len(seen) + 1
    assert seen == given == [0, 1, 2, 3]
    assert all(name.startswith("rfgsm-read-ahead") for name in names)


def test_errors_of_the_thread_are_raised() -> None:
    def broken() -> Iterator[Batch]:
        yield from batches(1, [])
        raise rf.DataError("image 1 is torn")

    flow = prefetch_in_thread(broken(), lambda batch: batch)
    next(flow)
    with pytest.raises(rf.DataError, match="torn"):
        next(flow)


def test_thread_ends_with_its_reader() -> None:
    given: list[int] = []
    flow = prefetch_in_thread(batches(9, given), lambda batch: batch)
    next(flow)
    flow.close()  # type: ignore[attr-defined]
    assert len(given) <= 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rfgsm-read-ahead")]


def test_cpu_does_not_prefetch() -> None:
    flow = batches(2, [])
    assert prefetch_batches(flow, CPU) is flow
