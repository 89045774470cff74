"""Each attack of each run under a name of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robustbench_fgsm.report.attacks_in_runs import attacks_in_runs
from tests.report.runs import run

Measured = Callable[..., dict[str, Any]]


def test_attacks_are_named_by_their_rule(measured: Measured) -> None:
    found = attacks_in_runs([run(measured("4,64/255", targeted=("none", "next")))])
    assert [attack.name for attack in found] == ["Untargeted", "Targeted next"]
    assert [attack.pointer("n") for attack in found] == ["0/evaluations/0/n", "0/evaluations/1/n"]


def test_numbers_runs_with_equal_names(measured: Measured) -> None:
    found = attacks_in_runs([run(measured()), run(measured())])
    assert [attack.name for attack in found] == ["a run, untargeted", "a run, untargeted (2)"]
    assert [attack.pointer("n") for attack in found] == ["0/n", "1/n"]
