"""Test what processes share, without starting any."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from torch.distributed import DistNetworkError, TCPStore  # type: ignore[attr-defined]  # exported, but not said so

from robustbench_fgsm.engine import distributed
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World, merge_by_number
from robustbench_fgsm.errors import IncompleteError


@pytest.mark.distributed
def test_restarted_processes_agree_on_a_number() -> None:
    """Over one store, as torchrun keeps it: three rounds, in each the others come before rank 0 has drawn its number."""
    store = TCPStore("127.0.0.1", 0, 1, True, wait_for_workers=False)
    numbers: list[list[int]] = []
    for _ in range(3):
        with ThreadPoolExecutor(3) as pool:
            clients = [TCPStore("127.0.0.1", store.port, None, False) for _ in range(3)]
            others = [pool.submit(distributed.agree_on_launch_id, clients[rank], rank, 3) for rank in (1, 2)]
            time.sleep(0.2)
            first = pool.submit(distributed.agree_on_launch_id, clients[0], 0, 3)
            numbers.append([found.result() for found in (first, *others)])
    assert numbers == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]


def test_a_store_that_ended_is_a_lost_process() -> None:
    """The process that holds the store may end while another one reports its progress."""

    class Ended:
        def add(self, key: str, count: int) -> int:
            raise DistNetworkError("Connection reset by peer")

    world = World(1, 2, store=Ended())
    with pytest.raises(IncompleteError, match=r"one was lost \(Connection reset by peer\): the same command continues the run"):
        world.add_done_images(1, 1)
    assert not world.report_failure()


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_local_parts_cover_all_numbers(size: int) -> None:
    parts = [World(rank, size).local_part(np.arange(10)) for rank in range(size)]
    assert np.concatenate(parts).tolist() == list(range(10))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_single_process_needs_no_exchange() -> None:
    assert SINGLE_PROCESS.is_main
    assert SINGLE_PROCESS.gather(3) == [3]
    assert SINGLE_PROCESS.broadcast("plan") == "plan"
    assert SINGLE_PROCESS.sum(np.array([1, 2])).tolist() == [1, 2]
    assert SINGLE_PROCESS.report_failure()
    SINGLE_PROCESS.check_same({"settings": 1})


def test_values_are_merged_by_number() -> None:
    assert merge_by_number([[(2, "c"), (0, "a")], [(1, "b")]]) == ["a", "b", "c"]
