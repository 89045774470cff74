"""Read the next batch, and prepare it for the device, while the current batch is in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from robustbench_fgsm.data.dataset import Batch


def prefetch_batches(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield the batches, for a GPU in pinned memory from a thread that is one batch ahead. A CPU has no free core for it."""
    if device.type != "cuda":
        return batches
    return prefetch_in_thread(batches, lambda batch: replace(batch, images=batch.images.pin_memory()))


def prefetch_in_thread(batches: Iterator[Batch], transform: Callable[[Batch], Batch]) -> Iterator[Batch]:
    """Yield each batch after a thread has transformed it; errors of the thread are raised here."""

    def take() -> Batch | None:
        batch = next(batches, None)
        return None if batch is None else transform(batch)

    with ThreadPoolExecutor(1, "rfgsm-read-ahead") as thread:
        pending = thread.submit(take)
        while (batch := pending.result()) is not None:
            pending = thread.submit(take)
            yield batch
