"""The attacks that are tried, each made of known mistakes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import robustbench_fgsm as rf
from robustbench_fgsm.explanation.hypotheses import (
    ATTACK_MISTAKES,
    CORRECT_VARIANT,
    LABEL_MISTAKES,
    UNIT_MISTAKES,
    AttackVariant,
    attack_variants,
)
from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID
from robustbench_fgsm.variants.recipe import AttackRecipe


def wrapped(**options: object) -> rf.TorchClassifier:
    return rf.wrap(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), 3, **options)  # type: ignore[arg-type]


NORMALISED = wrapped(mean=0.5, std=0.25)


def named(found: list[AttackVariant]) -> set[str]:
    return {variant.name for variant in found}


@pytest.mark.parametrize("targeted", [False, True])
def test_variants_change_the_correct_attack(targeted: bool) -> None:
    found = attack_variants(NORMALISED, targeted=targeted)
    assert found[0] == CORRECT_VARIANT
    assert CORRECT_VARIANT.recipe == AttackRecipe()
    assert len(named(found)) == len({variant.recipe for variant in found}) == len(found)
    assert [len(variant.mistakes) for variant in found] == sorted(len(variant.mistakes) for variant in found)
    for variant in found:
        made = [AttackRecipe()]
        for mistake in variant.mistakes:
            made = [replace(recipe, **changes) for recipe in made for changes in MISTAKE_BY_ID[mistake].stage_changes]
        assert variant.recipe in made, variant.name
        assert (variant.unit == "as given") == (not set(variant.mistakes) & set(UNIT_MISTAKES))
        assert (variant.labels == "true") == (not set(variant.mistakes) & set(LABEL_MISTAKES))


def test_every_mistake_is_tried_alone() -> None:
    tried = {
        variant.mistakes[0]
        for targeted in (False, True)
        for variant in attack_variants(NORMALISED, targeted=targeted)
        if len(variant.mistakes) == 1
    }
    assert tried == {*UNIT_MISTAKES, *LABEL_MISTAKES, *ATTACK_MISTAKES}


def test_pairs_of_mistakes() -> None:
    found = named(attack_variants(NORMALISED, targeted=False))
    assert {"normalised-epsilon + predicted-labels", "normalised-epsilon + no-clip"} <= found
    assert {"normalised-epsilon + normalised-clip", "quantised-8bit + predicted-labels"} <= found


def test_targeted_mistakes() -> None:
    none, targeted = (named(attack_variants(NORMALISED, targeted=targeted)) for targeted in (False, True))
    assert none - targeted == {"wrong-sign", "skips-misclassified"}
    assert targeted - none == {"targeted-as-untargeted"}


def test_no_normalisation_mistakes_without_normalisation() -> None:
    left_out = named(attack_variants(NORMALISED, targeted=False)) - named(attack_variants(wrapped(), targeted=False))
    assert left_out
    assert all(name.startswith("normalised-") for name in left_out)
    assert not any(name.startswith("normalised-") for name in named(attack_variants(wrapped(), targeted=False)))


def test_other_bounds_exclude_8_bit_mistakes() -> None:
    found = named(attack_variants(wrapped(bounds=(-1.0, 1.0)), targeted=False))
    assert not any("8bit" in name for name in found)
    assert "no-clip" in found


def test_normalised_epsilon_is_epsilon_times_std() -> None:
    (variant,) = (one for one in attack_variants(NORMALISED, targeted=False) if one.name == "normalised-epsilon")
    x, y = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 1, 2])
    data = rf.ArrayDataset("grey", x, y, ("a", "b", "c"))
    smaller = rf.evaluate(NORMALISED, data, 0.4 * 0.25).tallies[0]
    assert rf.explain(NORMALISED, data, 0.5, 0.4).tallies[variant].adversarial.tolist() == smaller.adversarial.tolist()
