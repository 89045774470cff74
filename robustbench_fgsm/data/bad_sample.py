"""Unreadable samples of a data set; no torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class BadSample:
    """Unreadable sample: its path, the reason, and the hash of its bytes; None if the data set gives no hashes."""

    path: str
    reason: str
    hash: int | None = field(default=None, compare=False)
