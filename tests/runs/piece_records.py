"""Random records of pieces, and their comparison."""

from __future__ import annotations

import numpy as np

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.dataset_pieces import PieceRecord
from robustbench_fgsm.stats.tally import BatchOutcomes


def drawn(number: int, n: int = 7, *, classes: int = 10, targeted: bool = False, gap: int = 0) -> PieceRecord:
    """A record of n images whose predictions are drawn; gap: between their ids."""
    random = np.random.default_rng(number)
    zero, nonfinite, saturated = random.random((3, n)) < 0.4
    after, after_stable = random.integers(classes, size=(2, n, 2))
    outcomes = BatchOutcomes(
        ids=np.arange(n, dtype=np.int64) * (gap + 1) + 1000 * number,
        labels=random.integers(classes, size=n),
        before=random.integers(classes, size=n),
        after=after,
        targets=random.integers(classes, size=n) if targeted else None,
        zero_gradient=zero,
        nonfinite_gradient=nonfinite,
        saturated=saturated,
        after_stable=np.where(saturated[:, np.newaxis], after_stable, after) if saturated.any() else None,
    )
    return PieceRecord(number, (outcomes, outcomes), (number, 0), (BadSample("a\n.png", "no"),), 0.5)


def same(one: PieceRecord, other: PieceRecord) -> bool:
    settings = [(record.number, record.decided_again, record.bad, record.seconds) for record in (one, other)]
    return settings[0] == settings[1] and all(
        np.array_equal(getattr(mine, name), getattr(theirs, name), equal_nan=False)
        for mine, theirs in zip(one.outcomes, other.outcomes, strict=True)
        for name in vars(mine)
    )
