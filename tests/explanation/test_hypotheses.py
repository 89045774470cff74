"""Which procedures are tried, and that each is made of known mistakes."""

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
    return {procedure.name for procedure in found}


@pytest.mark.parametrize("targeted", [False, True])
def test_each_is_the_right_attack_with_the_changes_of_its_mistakes(targeted: bool) -> None:
    found = attack_variants(NORMALISED, targeted=targeted)
    assert found[0] == CORRECT_VARIANT
    assert CORRECT_VARIANT.recipe == AttackRecipe()
    assert len(named(found)) == len({procedure.recipe for procedure in found}) == len(found)
    assert [len(procedure.mistakes) for procedure in found] == sorted(len(procedure.mistakes) for procedure in found)
    for procedure in found:
        made = [AttackRecipe()]
        for mistake in procedure.mistakes:
            made = [replace(recipe, **changes) for recipe in made for changes in MISTAKE_BY_ID[mistake].stage_changes]
        assert procedure.recipe in made, procedure.name
        assert (procedure.unit == "as given") == (not set(procedure.mistakes) & set(UNIT_MISTAKES))
        assert (procedure.labels == "true") == (not set(procedure.mistakes) & set(LABEL_MISTAKES))


def test_all_that_is_named_is_tried_alone() -> None:
    tried = {
        procedure.mistakes[0]
        for targeted in (False, True)
        for procedure in attack_variants(NORMALISED, targeted=targeted)
        if len(procedure.mistakes) == 1
    }
    assert tried == {*UNIT_MISTAKES, *LABEL_MISTAKES, *ATTACK_MISTAKES}


def test_units_meet_labels_and_normalised_images_meet_clipping() -> None:
    found = named(attack_variants(NORMALISED, targeted=False))
    assert {"normalised-epsilon + predicted-labels", "normalised-epsilon + no-clip"} <= found
    assert {"normalised-epsilon + normalised-clip", "quantised-8bit + predicted-labels"} <= found


def test_targeted_attacks_have_mistakes_of_their_own() -> None:
    none, targeted = (named(attack_variants(NORMALISED, targeted=targeted)) for targeted in (False, True))
    assert none - targeted == {"wrong-sign", "skips-misclassified"}
    assert targeted - none == {"targeted-as-untargeted"}


def test_without_a_normalisation_nothing_is_confused_with_it() -> None:
    left_out = named(attack_variants(NORMALISED, targeted=False)) - named(attack_variants(wrapped(), targeted=False))
    assert left_out
    assert all(name.startswith("normalised-") for name in left_out)
    assert not any(name.startswith("normalised-") for name in named(attack_variants(wrapped(), targeted=False)))


def test_without_pixels_in_0_1_nothing_becomes_bytes() -> None:
    found = named(attack_variants(wrapped(bounds=(-1.0, 1.0)), targeted=False))
    assert not any("8bit" in name for name in found)
    assert "no-clip" in found


def test_the_normalised_epsilon_is_the_one_times_std() -> None:
    (procedure,) = (one for one in attack_variants(NORMALISED, targeted=False) if one.name == "normalised-epsilon")
    x, y = torch.full((3, 1, 2, 2), 0.5), torch.tensor([0, 1, 2])
    data = rf.ArrayDataset("grey", x, y, ("a", "b", "c"))
    smaller = rf.evaluate(NORMALISED, data, 0.4 * 0.25).tallies[0]
    assert rf.explain(NORMALISED, data, 0.5, 0.4).tallies[procedure].adversarial.tolist() == smaller.adversarial.tolist()
