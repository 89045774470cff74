"""Counts of several processes made one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from functools import reduce
from typing import Any

import numpy as np

from robustbench_fgsm.engine.distributed import World
from robustbench_fgsm.engine.outcomes import Totals
from robustbench_fgsm.stats import confusion
from robustbench_fgsm.stats.tally import Tally

MATRICES = ("clean", "adversarial", "transition", "attacked", "fooled")
NUMBERS = tuple(field.name for field in fields(Tally) if field.name not in (*MATRICES, "targeted"))


def summed(totals: Sequence[Totals], world: World) -> list[Totals]:
    """The totals of all processes, for all of them; each has as many, of the same attacks."""
    if world.size == 1:
        return list(totals)
    return [
        Totals(
            tuple(_summed(tally, world) for tally in mine.ordinary),
            tuple(_summed(tally, world) for tally in mine.stable),
            world.sum(mine.first_fooled),
            int(world.sum(np.array([mine.decided_again], np.int64))[0]),
        )
        for mine in totals
    ]


def _summed(tally: Tally, world: World) -> Tally:
    if confusion.is_sparse(tally.clean):  # as many entries as there are, not as there could be
        return reduce(Tally.__add__, world.gather(tally))
    numbers = world.sum(np.array([getattr(tally, name) for name in NUMBERS], np.int64))
    sums: dict[str, Any] = {name: world.sum(getattr(tally, name)) for name in MATRICES}
    sums |= zip(NUMBERS, map(int, numbers), strict=True)
    return Tally(**sums, targeted=tally.targeted)
