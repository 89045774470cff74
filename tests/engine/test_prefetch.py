"""Batches read ahead, and what was seen of one looked at after the next has been given out."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine import observer, run_pieces
from robustbench_fgsm.engine.prefetch import prefetch_batches, prefetch_in_thread

CPU = torch.device("cpu")


def batches(count: int, given: list[int]) -> Iterator[Batch]:
    for number in range(count):
        given.append(number)
        yield Batch(torch.full((1, 1, 2, 2), float(number)), torch.tensor([0]), torch.tensor([number]))


def test_one_batch_is_read_while_another_is_worked_on() -> None:
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


def test_what_the_thread_raises_is_raised_where_it_is_read() -> None:
    def broken() -> Iterator[Batch]:
        yield from batches(1, [])
        raise rf.DataError("image 1 is torn")

    flow = prefetch_in_thread(broken(), lambda batch: batch)
    next(flow)
    with pytest.raises(rf.DataError, match="torn"):
        next(flow)


def test_the_thread_ends_where_nobody_reads_on() -> None:
    given: list[int] = []
    flow = prefetch_in_thread(batches(9, given), lambda batch: batch)
    next(flow)
    flow.close()  # type: ignore[attr-defined]
    assert len(given) <= 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("rfgsm-read-ahead")]


def test_on_a_cpu_nothing_is_read_ahead() -> None:
    flow = batches(2, [])
    assert prefetch_batches(flow, CPU) is flow


def test_counts_are_the_same_where_a_device_works_on_its_own(images: rf.ArrayDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    network = rf.load_classifier("smallcnn", device="cpu")
    expected = rf.sweep(network, images, "4,16/255", batch_size=7)[0].to_dict()
    monkeypatch.setattr(observer, "is_asynchronous", lambda device: True)
    monkeypatch.setattr(run_pieces, "prefetch_batches", lambda flow, device: prefetch_in_thread(flow, lambda batch: batch))
    found = rf.sweep(network, images, "4,16/255", batch_size=7)[0].to_dict()
    for document in (expected, found):
        del document["seconds"]
    assert found == expected
