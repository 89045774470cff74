"""Evaluations as one pandas table, a row for each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.stats.rate import Rate
from robustbench_fgsm.stats.tally import Tally

if TYPE_CHECKING:
    from pandas import DataFrame

    from robustbench_fgsm.evaluation.result import Evaluation


RATES = ("clean_accuracy", "robust_accuracy", "attack_success_rate")


def to_pandas(evaluations: Evaluation | Sequence[Evaluation]) -> DataFrame:
    """Rates of one evaluation, or of all that `sweep` gives: at each budget a row for all images, then one for each class.

    Columns: targeted, epsilon, gradient, label and name (missing for all images), n, and for clean_accuracy,
    robust_accuracy and attack_success_rate the value and, with _count, _n, _low and _high, what it is made of and its 95 %
    interval; missing for 0/0. Raises SettingError without pandas.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise SettingError(
            "to_pandas needs the package pandas, got none installed: pip install 'robustbench-fgsm[pandas]'"
        ) from error
    found = evaluations if isinstance(evaluations, Sequence) else [evaluations]
    frame = pd.DataFrame([row for evaluation in found for row in _rows(evaluation)])
    floats = [name for name in frame.columns if name.startswith(RATES) and not name.endswith(("_n", "_count"))]
    typed: DataFrame = frame.astype({"label": "Int64"} | dict.fromkeys(floats, "float64"))
    return typed


def _rows(evaluation: Evaluation) -> Iterator[dict[str, Any]]:
    sides = {"exact" if evaluation.attack.stable else "ordinary": evaluation.tallies}
    if evaluation.shows_stable:
        sides["stable where saturated"] = evaluation.stable
    for place, epsilon in enumerate(evaluation.attack.epsilons):
        for gradient, tallies in sides.items():
            shared = {"targeted": str(evaluation.attack.target), "epsilon": epsilon, "gradient": gradient}
            yield from (shared | row for row in _of(tallies[place], evaluation.classes))


def _of(tally: Tally, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    whole = (tally.clean_accuracy, tally.robust_accuracy, tally.attack_success_rate)
    yield {"label": None, "name": None, "n": tally.n} | _columns(whole)
    for result in tally.per_class(classes):
        clean = Rate(result.clean_correct, result.n)
        rates = (clean, result.robust_accuracy, result.attack_success_rate)
        yield {"label": result.label, "name": result.name, "n": result.n} | _columns(rates)


def _columns(rates: Sequence[Rate]) -> dict[str, float | int | None]:
    return {
        name if part == "value" else f"{name}_{part}": number
        for name, rate in zip(RATES, rates, strict=True)
        for part, number in rate.to_dict().items()
    }
