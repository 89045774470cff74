"""The evaluations of a document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import robustbench_fgsm as rf
from robustbench_fgsm.report.evaluations_in import evaluations_in
from tests.report.conftest import subject

Measured = Callable[..., dict[str, Any]]


def test_an_evaluation_gives_itself(measured: Measured) -> None:
    document = measured()
    assert evaluations_in(document) == [document]


def test_a_sweep_gives_one_per_rule(measured: Measured) -> None:
    document = measured("4,64/255", targeted=("none", "next"))
    assert evaluations_in(document) == document["evaluations"]


def test_a_comparison_gives_our_side() -> None:
    document = rf.compare(*subject(1.0), references=[], candidate=rf.fgsm).to_dict()
    (found,) = evaluations_in(document)
    (at,) = found["epsilons"]
    assert found["clean"]["confusion"] == document["ours"]["clean_confusion"]
    assert at["robust_accuracy"] == document["ours"]["robust_accuracy"]
    assert at["per_class"][at["worst_class"]]["robust_accuracy"]["value"] == min(
        result["robust_accuracy"]["value"] for result in document["ours"]["per_class"] if result["n"]
    )
