"""The models that predict each source's images in a transfer; no torch."""

from __future__ import annotations

from collections.abc import Sequence


def evaluated_models(source: int, targets: Sequence[int]) -> tuple[int, ...]:
    """Return the models that predict a source's images: the source itself, then the targets, each once."""
    return tuple(dict.fromkeys((source, *targets)))
