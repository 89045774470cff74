"""Definitions of rates, and the order of hypotheses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import robustbench_fgsm as rf
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.explanation.claim import parse_claims
from robustbench_fgsm.explanation.result import RATE_DEFINITIONS, Explanation
from robustbench_fgsm.models.classifier import ModelInfo
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes, Tally
from robustbench_fgsm.variants.variant import RIGHT_VARIANT, Variant


def tally(*kinds: tuple[int, int, int, int]) -> Tally:
    """(images, label, before, after) of three classes."""
    labels, before, after = np.repeat([kind[1:] for kind in kinds], [kind[0] for kind in kinds], axis=0).T
    never = np.zeros(len(labels), np.bool_)
    return Tally.of(BatchOutcomes(labels, labels, before, after[:, None], None, never, never, never), 3)


WELL = tally((48, 0, 0, 0), (32, 0, 0, 1), (4, 0, 1, 0), (6, 0, 1, 2), (10, 0, 1, 1))
WORSE = tally((20, 0, 0, 0), (60, 0, 0, 1), (4, 0, 1, 0), (6, 0, 1, 2), (10, 0, 1, 1))


SAME, WORSE_ATTACK = Variant(clip="none"), Variant(size="half")
WORSE_AND_MORE = Variant(size="half", labels="predicted")


def explanation(*texts: str, spec: AttackSpec | None = None) -> Explanation:
    """Of attacks whose counts do not depend on the budget."""
    spec = spec or AttackSpec()
    counts = {RIGHT_VARIANT: WELL, SAME: WELL, WORSE_ATTACK: WORSE, WORSE_AND_MORE: WORSE}
    tallies = {variant: (tally,) * len(spec.epsilons) for variant, tally in counts.items()}
    info, environment = ModelInfo("hand-made", "given", 0, "0" * 64), describe_environment(torch.device("cpu"))
    data = {"spec": "hand-made", "n": 100, "fingerprint": "0" * 64, "classes": ["a", "b", "c"]}
    return Explanation(parse_claims(texts), info, spec, tallies, ("beware",), data=data, environment=environment, seconds=0.0)


def test_definitions_by_hand() -> None:
    found = {found.definition: (found.rate.count, found.rate.n) for found in explanation("0.4").honest}
    assert found == {
        "robust_accuracy": (52, 100),
        "attack_success_rate": (32, 80),
        "error_rate": (48, 100),
        "flip_rate": (42, 100),
        "accuracy_drop": (28, 80),
        "accuracy_difference": (28, 100),
        "accuracy_of_correct": (48, 80),
        "clean_accuracy": (80, 100),
    }
    assert set(found) | {"target_hit_rate"} == set(RATE_DEFINITIONS)


def test_exact_matches_are_first() -> None:
    found = explanation("0.760").explanations  # the error rate of the worse attack, near the clean accuracy
    fitting = [(one.definition, one.variant, one.exact) for one in found if one.fits]
    assert fitting == [
        ("error_rate", WORSE_ATTACK, True),
        ("clean_accuracy", RIGHT_VARIANT, False),
        ("attack_success_rate", WORSE_ATTACK, False),
        ("flip_rate", WORSE_ATTACK, False),
        ("accuracy_drop", WORSE_ATTACK, False),
    ]


def test_merges_equal_counts() -> None:
    found = [one for one in explanation("0.4").explanations if one.definition == "robust_accuracy"]
    assert {one.variant: one.also for one in found} == {RIGHT_VARIANT: (SAME.name,), WORSE_ATTACK: (WORSE_AND_MORE.name,)}
    assert sum(one.definition == "clean_accuracy" for one in explanation("0.4").explanations) == 1


def test_numbers_at_one_budget_have_their_own_definitions() -> None:
    found = explanation("0.80", "0.24")
    first, second = found.explanations
    assert (first.variant, first.fits, first.exact) == (WORSE_ATTACK, True, True)
    assert [match.definition for match in first.matches] == ["clean_accuracy", "robust_accuracy"]
    assert (second.variant, second.exact) == (RIGHT_VARIANT, False)
    assert second.distance == pytest.approx(0.035)
    assert [match.definition for match in second.matches] == ["clean_accuracy", "accuracy_difference"]


def test_numbers_at_several_budgets_have_one_definition() -> None:
    spec = AttackSpec((0.1, 0.2))
    found = explanation("0.52", "0.52", spec=spec).explanations
    assert (found[0].variant, found[0].exact) == (RIGHT_VARIANT, True)
    assert all(len({match.definition for match in one.matches}) == 1 for one in found)
    assert [match.epsilon for match in found[0].matches] == [0.1, 0.2]
    assert not any(one.fits for one in explanation("0.52", "0.24", spec=spec).explanations)


def test_honest_figures_stand_beside_the_nearest_number() -> None:
    one_budget = {one.definition: one.distance for one in explanation("0.80", "0.24").honest}
    assert one_budget["clean_accuracy"] == 0
    assert one_budget["accuracy_difference"] == pytest.approx(0.035)
    several = explanation("0.52", "0.24", spec=AttackSpec((0.1, 0.2))).honest
    robust = [one for one in several if one.definition == "robust_accuracy"]
    assert [(one.matches[0].epsilon, one.exact) for one in robust] == [(0.1, True), (0.2, False)]


def test_a_hypothesis_is_excluded_with_its_first_number() -> None:
    first, *_ = explanation("0.55", "0.50", spec=AttackSpec((0.1, 0.2))).explanations
    limits = [match.excluded_from_n for match in first.matches]
    assert first.excluded_from_n == min(limit for limit in limits if limit is not None)
    assert None not in limits


def test_document() -> None:
    document = explanation("0.4").to_dict()
    assert document["claim"] == {"text": "0.4", "value": 0.4, "low": 0.35, "high": 0.45, "n": 100}
    assert document["warnings"] == ["beware"]
    assert (document["status"], document["exit_code"]) == ("complete", 0)
    assert [one["definition"] for one in document["honest"]] == [one.definition for one in explanation("0.4").honest]
    assert {tuple(one["mistakes"]) for one in document["explanations"]} == {(), ("wrong-epsilon",)}
    assert document["claims"] == [document["claim"] | {"epsilon": 8 / 255}]
    assert all(one | one["numbers"][0] == one | {"epsilon": 8 / 255} for one in document["honest"])


def test_document_of_several_numbers() -> None:
    document = explanation("0.52", "0.24", spec=AttackSpec((0.1, 0.2))).to_dict()
    assert [claim["epsilon"] for claim in document["claims"]] == [0.1, 0.2]
    assert (document["claim"]["text"], document["attack"]["epsilon"]) == ("0.52", 0.1)
    assert document["test"].endswith("each number must fit")
    assert all(len(one["numbers"]) == 2 for one in document["explanations"])
    assert all(one["fits"] == all(number["fits"] for number in one["numbers"]) for one in document["explanations"])


def test_unit_and_labels_of_a_document() -> None:
    found = replace(explanation("0.4"), tallies={RIGHT_VARIANT: (WELL,), WORSE_AND_MORE: (WORSE,)}).to_dict()["explanations"]
    assert {(one["unit"], one["labels"]) for one in found} == {("as given", "true"), ("half", "predicted")}


def test_rising_accuracy_is_not_a_success() -> None:
    risen = tally((50, 0, 0, 0), (50, 0, 1, 0))
    found = {one.definition: one for one in replace(explanation("0.0"), tallies={RIGHT_VARIANT: (risen,)}).honest}
    assert found["accuracy_drop"].rate == rf.Rate(-50, 50)
    assert found["accuracy_drop"].distance == 1.0
    assert found["error_rate"].fits
