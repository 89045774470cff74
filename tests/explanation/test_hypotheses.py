"""The attacks that are tried, each with at most two known mistakes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.explanation.hypotheses import TRIED_LOSSES, attack_variants
from robustbench_fgsm.variants.variant import CHOICES, RIGHT_VARIANT, Variant

EPSILONS = (0.07,)


def wrapped(**options: object) -> rf.TorchClassifier:
    return rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), 3, **options)  # type: ignore[arg-type]


NORMALISED = wrapped(mean=0.5, std=0.25)


def found(classifier: rf.TorchClassifier = NORMALISED, *, targeted: bool = False) -> set[Variant]:
    return set(attack_variants(classifier, EPSILONS, targeted=targeted))


@pytest.mark.parametrize("targeted", [False, True])
def test_the_right_attack_is_first(targeted: bool) -> None:
    variants = attack_variants(NORMALISED, EPSILONS, targeted=targeted)
    assert variants[0] == RIGHT_VARIANT
    assert len({variant.name for variant in variants}) == len(set(variants)) == len(variants)
    assert [len(variant.mistakes) for variant in variants] == sorted(len(variant.mistakes) for variant in variants)
    assert len(variants[-1].mistakes) == 2


def test_every_choice_is_tried_alone() -> None:
    alone = {one for targeted in (False, True) for one in found(targeted=targeted) if len(one.mistakes) == 1}
    tried = {stage: list(choices)[1:] for stage, choices in CHOICES.items()} | {"loss": list(TRIED_LOSSES)}
    assert alone == {Variant(**{stage: choice}) for stage, choices in tried.items() for choice in choices}


def test_pairs_of_mistakes() -> None:
    skipped = {
        Variant(**{"kept": "clean where wrong before", stage: choice}) for stage, choice in [("size", "half"), ("loss", "sum")]
    }
    assert (
        skipped
        | {
            Variant(size="times std", labels="predicted"),
            Variant(size="times std", clip="none"),
            Variant(size="over std", clip="normalised"),
            Variant(output="rounded", labels="predicted"),
        }
        <= found()
    )


def test_targeted_mistakes() -> None:
    untargeted, targeted = found(), found(targeted=True)
    assert {one.mistakes[0] for one in untargeted - targeted if len(one.mistakes) == 1} == {"wrong-sign", "skips-misclassified"}
    assert targeted - untargeted == {Variant(direction="away from the target")}


def test_no_normalisation_mistakes_without_normalisation() -> None:
    left_out = found() - found(wrapped())
    assert left_out
    assert all({"normalised-epsilon", "normalised-clip"} & set(one.mistakes) for one in left_out)
    assert not any("normalised" in one.name for one in found(wrapped()))


def test_other_bounds_exclude_8_bit_mistakes() -> None:
    assert {one.output for one in found(wrapped(bounds=(-1.0, 1.0)))} == {"float32"}


def test_a_constant_budget_differs_from_the_reported_one() -> None:
    constant = Variant(size="always 8/255")
    assert constant in found()
    assert constant not in attack_variants(NORMALISED, (8 / 255,), targeted=False)
    assert constant in attack_variants(NORMALISED, (4 / 255, 8 / 255), targeted=False)


def test_normalised_epsilon_is_epsilon_times_std() -> None:
    x, y = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 1, 2])
    data = rf.ArrayDataset("grey", x, y, ("a", "b", "c"))
    smaller = rf.evaluate(NORMALISED, data, 0.4 * 0.25).tallies[0]
    (tally,) = rf.explain(NORMALISED, data, 0.5, 0.4).tallies[Variant(size="times std")]
    assert tally.adversarial.tolist() == smaller.adversarial.tolist()
