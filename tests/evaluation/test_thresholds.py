"""Gates and success rates, asked of documents that were measured before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robustbench_fgsm.evaluation.thresholds import apply_thresholds, find_epsilon_for_success
from robustbench_fgsm.options import Thresholds

Document = dict[str, Any]
Measured = Callable[..., Document]


def verdicts(document: Document, **thresholds: float) -> list[tuple[str, bool]]:
    return [(gate["name"], gate["passed"]) for gate in apply_thresholds(document, Thresholds(**thresholds))["gates"]]


def test_no_gates_give_an_empty_list(measured: Measured) -> None:
    document = measured()
    assert apply_thresholds(document, Thresholds()) == document | {"gates": []}


def test_a_threshold_reached_exactly_passes(measured: Measured) -> None:
    document = measured()
    at = document["epsilons"][0]
    accuracy, success = at["robust_accuracy"]["value"], at["attack_success_rate"]["value"]
    assert verdicts(document, min_robust_accuracy=accuracy, max_asr=success) == [("min_robust_accuracy", True), ("max_asr", True)]
    judged = apply_thresholds(document, Thresholds(min_robust_accuracy=accuracy + 0.01, max_asr=success))
    assert judged["exit_code"] == 1
    assert judged["gates"][0] == {
        "name": "min_robust_accuracy",
        "threshold": accuracy + 0.01,
        "value": accuracy,
        "gradient": "ordinary",
        "passed": False,
    }


def test_the_last_judgement_counts(measured: Measured) -> None:
    failed = apply_thresholds(measured("64/255"), Thresholds(max_asr=0.0))
    assert failed["exit_code"] == 1
    assert apply_thresholds(failed, Thresholds(max_asr=1.0))["exit_code"] == 0


def test_an_invalid_run_fails(measured: Measured) -> None:
    assert apply_thresholds(measured() | {"invalid_reasons": ["not finite"]}, Thresholds(max_asr=1.0))["exit_code"] == 1


def test_the_worse_gradient_counts(measured: Measured) -> None:
    document = measured("0.3", scale=300)
    at = document["epsilons"][0]
    gates = apply_thresholds(document, Thresholds(min_robust_accuracy=at["robust_accuracy"]["value"], max_asr=1.0))["gates"]
    assert [gate["gradient"] for gate in gates] == ["stable", "stable"]
    assert gates[0]["value"] == at["stable"]["robust_accuracy"]["value"]
    assert not gates[0]["passed"]


def test_an_empty_rate_fails(measured: Measured) -> None:
    document = measured()
    nothing = {"value": None, "count": 0, "n": 0, "low": None, "high": None}
    document["epsilons"][0] |= {"attack_success_rate": nothing}
    assert verdicts(document, max_asr=1.0) == [("max_asr", False)]


def test_first_epsilon_matches_the_library(measured: Measured) -> None:
    document = measured("2,64,8/255")
    rates = {at["epsilon"]: at["attack_success_rate"]["value"] for at in document["evaluations"][0]["epsilons"]}
    for asked in (0.0, rates[64 / 255], 1.0):
        (found,) = (evaluation["find_asr"] for evaluation in find_epsilon_for_success(document, asked)["evaluations"])
        reached = [epsilon for epsilon, rate in rates.items() if rate >= asked]
        assert found == {"success_rate": asked, "epsilon": min(reached, default=None)}
    assert find_epsilon_for_success(document, None)["evaluations"][0]["find_asr"] is None


def test_stable_gradients_reach_it_no_later(measured: Measured) -> None:
    document = measured("0.05,0.1,0.2,0.3", scale=300)
    first = document["evaluations"][0]["epsilons"]
    asked = max(at["attack_success_rate"]["value"] for at in first) + 0.01
    (found,) = (evaluation["find_asr"] for evaluation in find_epsilon_for_success(document, asked)["evaluations"])
    assert found["epsilon"] is None
    assert found["stable_epsilon"] is not None
