"""Find out whether torchrun started this process, without loading torch."""

from __future__ import annotations

import os


def is_under_torchrun() -> bool:
    """Return whether torchrun started this process, even as the only process."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR"))
