"""Apply thresholds to a finished document: its gates, and the budget at which an attack reaches a success rate."""

from __future__ import annotations

from operator import ge, le
from typing import Any

from robustbench_fgsm.errors import EXIT_NEGATIVE_RESULT, EXIT_SUCCESS
from robustbench_fgsm.evaluation.document import Document
from robustbench_fgsm.evaluation.result import first_epsilon_reaching
from robustbench_fgsm.options import Thresholds

THRESHOLD_RULES: tuple[tuple[str, str, Any, Any], ...] = (
    ("min_robust_accuracy", "robust_accuracy", min, ge),
    ("max_asr", "attack_success_rate", max, le),
)
"""Field of `Thresholds`, its rate, which of two rates is the worse one, and the comparison that must hold."""


def apply_thresholds(document: Document, thresholds: Thresholds) -> Document:
    """Return an evaluation with its `gates` and its exit code.

    A gate takes the worse rate if there are an ordinary and a stable one. A gate without a value (0/0) fails.
    """
    verdicts = []
    for at in document["epsilons"]:
        sides = {"ordinary": at} | ({"stable": at["stable"]} if "stable" in at else {})
        for name, rate, worst, holds in THRESHOLD_RULES:
            threshold = getattr(thresholds, name)
            if threshold is not None:
                gradient, value = _worst_rate(sides, rate, worst)
                passed = value is not None and holds(value, threshold)
                verdicts.append({"name": name, "threshold": threshold, "value": value, "gradient": gradient, "passed": passed})
    failed = document["invalid_reasons"] or not all(verdict["passed"] for verdict in verdicts)
    return document | {"gates": verdicts, "exit_code": EXIT_NEGATIVE_RESULT if failed else EXIT_SUCCESS}


def _worst_rate(sides: dict[str, Document], rate: str, worst: Any) -> tuple[str, float | None]:
    values = {name: side[rate]["value"] for name, side in sides.items()}  # one n: both are None or neither
    name = worst(values, key=lambda name: values[name] or 0.0)
    return name, values[name]


def find_epsilon_for_success(document: Document, success_rate: float | None) -> Document:
    """Return a sweep with `find_asr` in each evaluation: the first budget that reaches the success rate; None without a rate."""
    return document | {
        "evaluations": [
            evaluation | {"find_asr": None if success_rate is None else _epsilon_for_success(evaluation, success_rate)}
            for evaluation in document["evaluations"]
        ]
    }


def _epsilon_for_success(evaluation: Document, success_rate: float) -> Document:
    places = evaluation["epsilons"]
    epsilons = [at["epsilon"] for at in places]
    found = {
        "success_rate": success_rate,
        "epsilon": first_epsilon_reaching(success_rate, epsilons, (at["attack_success_rate"]["value"] for at in places)),
    }
    if "stable" in places[0]:
        stable = (at["stable"]["attack_success_rate"]["value"] for at in places)
        found["stable_epsilon"] = first_epsilon_reaching(success_rate, epsilons, stable)
    return found
