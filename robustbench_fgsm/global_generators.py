"""The global random generators of PyTorch, NumPy and Python, which a caller must find as they were."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserve_generators(devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Restore the generators at the end of the block: PyTorch's on the CPU and on these GPUs, NumPy's and Python's."""
    python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device for device in devices if device.type == "cuda"]):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(of_numpy)


def seed_generators(seed: int) -> None:
    """Seed the generators of PyTorch, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
