"""The next batch read, and made ready for the device, while the one before it is worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch

from robustbench_fgsm.data.dataset import Batch


def prefetch_batches(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """The same batches; for a GPU in pinned memory, from a thread that is one batch ahead. On a CPU that has no cores left."""
    return prefetch_in_thread(batches, _pin_memory) if device.type == "cuda" else batches


def prefetch_in_thread(batches: Iterator[Batch], transform: Callable[[Batch], Batch]) -> Iterator[Batch]:
    """Each batch prepared in a thread while the one before it is worked on; what the thread raises is raised here."""

    def take() -> Batch | None:
        batch = next(batches, None)
        return None if batch is None else transform(batch)

    with ThreadPoolExecutor(1, "rfgsm-read-ahead") as thread:
        coming = thread.submit(take)
        while (batch := coming.result()) is not None:
            coming = thread.submit(take)
            yield batch


def _pin_memory(batch: Batch) -> Batch:
    return replace(batch, images=batch.images.pin_memory())
