"""Worker processes return blocks in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import pytest

from robustbench_fgsm.data.decode_workers import choose_num_workers, map_in_order
from robustbench_fgsm.errors import IncompleteError


def kill(indices: Sequence[int]) -> int:
    if indices == [2]:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(indices)


def test_names_a_lost_worker() -> None:
    with pytest.raises(IncompleteError, match=r"a worker process that decodes images was lost .* --workers 0"):
        list(map_in_order(kill, [[0], [1], [2], [3]], 2))


def test_few_images_need_no_worker() -> None:
    assert choose_num_workers(255) == 0
    assert 0 <= choose_num_workers(10_000) <= 4
