"""Whether torchrun started this process, told without loading torch."""

from __future__ import annotations

import os


def is_under_torchrun() -> bool:
    """Whether torchrun started this process, also where it is one alone."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"))
