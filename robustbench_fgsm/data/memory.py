"""Memory that data which are read as a whole may take."""

from __future__ import annotations

import os

from robustbench_fgsm.errors import ResourceError

MEMORY_SHARE = 0.4
"""Share of the free memory that data may take; joining their parts needs as much again."""


def free_memory() -> int:
    """Return the bytes of memory that the operating system says are free."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def check_memory(needed: int, data_name: str, remedy: str) -> None:
    """Raise ResourceError if so many bytes are more than a share of the free memory."""
    if needed > MEMORY_SHARE * free_memory():
        raise ResourceError(f"{data_name} must fit into memory as a whole, got {needed >> 20:,} MiB or more: {remedy}")
