"""Every contender counts what `evaluate` counts."""

from __future__ import annotations

import copy

import pytest

import robustbench_fgsm as rf
from robustbench_fgsm.benchmarking.bare_loop import BareResult
from robustbench_fgsm.benchmarking.contenders import Contender, OurImplementation, ReferenceImplementation, list_contenders
from robustbench_fgsm.options import BenchmarkOptions
from robustbench_fgsm.references.registry import load_reference
from robustbench_fgsm.spec import AttackSpec

EPSILONS = (4 / 255, 8 / 255)
SPEC = AttackSpec(EPSILONS)


@pytest.mark.parametrize("level", BenchmarkOptions.levels)
def test_our_counts_match_evaluate(convolutional: rf.TorchClassifier, few: rf.Dataset, expected: BareResult, level: str) -> None:
    ours = Contender("ours", level).make_implementation(convolutional, few, SPEC, 32)
    assert isinstance(ours, OurImplementation)
    assert ours.execution.plan.level == level
    assert ours.job(few, EPSILONS) == expected
    assert ours.attack(few, EPSILONS) == 200


@pytest.mark.reference
@pytest.mark.parametrize("name", ["art", "foolbox"])
def test_reference_counts_match_evaluate(
    convolutional: rf.TorchClassifier, few: rf.Dataset, expected: BareResult, name: str
) -> None:
    library = Contender("reference", name).make_implementation(convolutional, few, SPEC, 32)
    assert isinstance(library, ReferenceImplementation)
    assert library.job(few, EPSILONS) == expected
    assert library.attack(few, EPSILONS) == 200
    assert library.version == load_reference(name, convolutional, SPEC, 32).version


def test_one_layout_without_variants(convolutional: rf.TorchClassifier) -> None:
    fixed = copy.copy(convolutional)
    fixed.has_variants = False
    assert list_contenders(fixed, ["none"], []) == [Contender("bare", "default"), Contender("ours", "none")]
