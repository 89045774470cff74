"""Which evaluation and which budget of a document a figure shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.report.evaluations_in import evaluations_in
from robustbench_fgsm.report.tables.text import epsilon_text
from robustbench_fgsm.spec import DEFAULT_EPSILON


def select_evaluation(document: Document, targeted: str | None) -> Document:
    """Return the evaluation of a targeting rule, by default the first. Raises SettingError if the document lacks the rule."""
    found = {evaluation["attack"]["targeted"]: evaluation for evaluation in evaluations_in(document)}
    if targeted is None:
        return next(iter(found.values()))
    if targeted not in found:
        raise SettingError(f"targeted must be a rule of the run, {' or '.join(found)}, got {targeted!r}: name one of these")
    return found[targeted]


def select_epsilon(epsilons: Sequence[float], epsilon: float | None, owner: str = "of the run", *, rel_tol: float = 1e-9) -> int:
    """Return the index of a budget, by default that of 8/255, else of the largest.

    Args:
        epsilons: the budgets that there are.
        epsilon: a budget, or None for the default.
        owner: what the budgets are of, for the error.
        rel_tol: relative tolerance; budgets kept in float32 need 1e-6.

    Raises:
        SettingError: for a budget that is not there.
    """
    wanted = DEFAULT_EPSILON if epsilon is None else epsilon
    for index, there in enumerate(epsilons):
        if math.isclose(there, wanted, rel_tol=rel_tol):
            return index
    if epsilon is None:
        return max(range(len(epsilons)), key=lambda index: epsilons[index])
    known = ", ".join(map(epsilon_text, epsilons))
    raise SettingError(f"epsilon must be one {owner}, {known}, got {epsilon_text(epsilon)}: name one of these")
