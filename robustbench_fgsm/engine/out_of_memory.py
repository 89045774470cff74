"""Work in parts that fit into memory: where one does not, half of it is tried, down to a single image."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.errors import ResourceError

Result = TypeVar("Result")

OUT_OF_MEMORY_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "_alloc_failed")
"""What libraries write, in any case, where an allocation failed and they raise nothing more telling."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory did not suffice, on the CPU or a device."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in OUT_OF_MEMORY_MESSAGES)


def run_on_fitting_prefix(batch: Batch, work: Callable[[Batch], Result]) -> Result:
    """work(batch), or work on the first half of it, and so on, where memory asks for that: enough to try things on.

    Raises ResourceError where not even one image fits.
    """
    found: list[Result] = []
    BatchSplitter().map_parts(len(batch), lambda rows: found.append(work(batch.at(rows))) if not found else None)
    return found[0]


class BatchSplitter:
    """Rows of a batch, all at a time, until memory asks for half of them, and from then on no more than did fit.

    Counts do not depend on it: each image's gradient and prediction are its own.
    """

    def __init__(self) -> None:
        self._size: int | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to say where the size was halved."""
        if self._size is None:
            return ()
        return (f"memory: batches were too large and were taken {self._size:,} images at a time; the counts are the same",)

    def map_parts(self, num_rows: int, work: Callable[[slice], Result]) -> list[Result]:
        """work(part) for parts that are all of the rows, in order.

        Raises ResourceError where not even one row fits; whatever else `work` raises.
        """
        done: list[Result] = []
        start = 0
        while start < num_rows:
            part = slice(start, num_rows if self._size is None else min(start + self._size, num_rows))
            found = self._try_part(part, work)
            if found is None:
                self._halve(part.stop - part.start)
                continue
            done.append(found[0])
            start = part.stop
        return done

    def _try_part(self, part: slice, work: Callable[[slice], Result]) -> tuple[Result] | None:
        try:
            return (work(part),)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if part.stop - part.start == 1:
                raise ResourceError(
                    f"memory must hold one image at a time, got too little ({str(error).splitlines()[0]}): "
                    "use a smaller network or image, or --device cpu"
                ) from error
            return None  # the traceback, which holds tensors, is gone with the error before the next try

    def _halve(self, tried: int) -> None:
        self._size = tried // 2
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
