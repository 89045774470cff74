"""Split work into parts that fit into memory: halve a part after an out-of-memory error, down to one image."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TypeVar

import torch

from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.errors import ResourceError, first_line, is_out_of_memory

Result = TypeVar("Result")


def run_on_fitting_prefix(batch: Batch, work: Callable[[Batch], Result]) -> Result:
    """Return work(batch), or work on the first half, quarter, ... of the batch that fits into memory.

    Raises ResourceError if one image does not fit.
    """
    found: list[Result] = []
    BatchSplitter().map_parts(len(batch), lambda rows: found.append(work(batch.at(rows))) if not found else None)
    return found[0]


class BatchSplitter:
    """Splitter of batches, which starts with whole batches and halves its part size after each out-of-memory error.

    Counts do not depend on the part size, because each image's gradient and prediction are its own.
    """

    def __init__(self) -> None:
        self._size: int | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return a warning if the part size was halved."""
        if self._size is None:
            return ()
        return (f"memory: batches were too large and were taken {self._size:,} images at a time; the counts are the same",)

    def map_parts(self, num_rows: int, work: Callable[[slice], Result]) -> list[Result]:
        """Return the results of `work` on parts that cover all rows, in order.

        Raises ResourceError if one row does not fit, and all other errors of `work`.
        """
        done: list[Result] = []
        start = 0
        while start < num_rows:
            part = slice(start, num_rows if self._size is None else min(start + self._size, num_rows))
            found = self._try_part(part, work)
            if found is None:
                self._size = (part.stop - part.start) // 2
                gc.collect()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
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
                    f"memory must hold one image at a time, got too little ({first_line(error)}): "
                    "use a smaller network or image, or --device cpu"
                ) from error
            return None  # the error is freed before the next try, and with it the tensors of its traceback
