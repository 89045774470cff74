"""Random records of pieces, and their comparison."""

from __future__ import annotations

import numpy as np

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.engine.dataset_pieces import PieceRecord, Pieces
from robustbench_fgsm.runs.record_schema import RecordSchema
from robustbench_fgsm.stats.audit import AuditCounts
from robustbench_fgsm.stats.distance import UNKNOWN
from robustbench_fgsm.stats.tally import BatchOutcomes

RUN = "0" * 64
"""Identity of the run of these records."""


def drawn(
    number: int, n: int = 7, *, classes: int = 10, targeted: bool = False, gap: int = 0, measured: bool = False
) -> PieceRecord:
    """A record of n images whose predictions are drawn; gap: between their ids; measured: with distances."""
    random = np.random.default_rng(number)
    zero, nonfinite, saturated = random.random((3, n)) < 0.4
    after, after_stable = random.integers(classes, size=(2, n, 2))
    distances, distances_stable = random.integers(UNKNOWN + 1, size=(2, n))
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
        distances=distances if measured else None,
        distances_stable=np.where(saturated, distances_stable, distances) if measured and saturated.any() else None,
        close=random.integers(8, size=n) if number % 2 else None,
    )
    return PieceRecord(
        number,
        (outcomes, outcomes),
        (min(number, n), 0),
        (BadSample("a\n.png", "no", 7),),
        0.5,
        (AuditCounts(n, 0),) * 2,
        random.integers(-(2**63), 2**63, n),
    )


def schema(pieces: int, *, n: int = 7, targeted: bool = False, classes: int = 10, measured: bool = False) -> RecordSchema:
    """The schema of a run of such records, each with one bad sample beside its n images."""
    return RecordSchema(
        RUN, Pieces(pieces * (n + 1), n + 1), classes, (2, 2), (targeted,) * 2, audited=True, measured=(measured,) * 2
    )


def same(one: PieceRecord, other: PieceRecord) -> bool:
    settings = [(record.number, record.decided_again, record.bad, record.seconds, record.audits) for record in (one, other)]
    hashes, others = (np.empty(0, np.int64) if record.hashes is None else record.hashes for record in (one, other))
    return (
        np.array_equal(hashes, others)
        and settings[0] == settings[1]
        and all(
            np.array_equal(getattr(mine, name), getattr(theirs, name), equal_nan=False)
            for mine, theirs in zip(one.outcomes, other.outcomes, strict=True)
            for name in vars(mine)
        )
    )
