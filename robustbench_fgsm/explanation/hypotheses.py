"""The attacks that may have given a reported number: the correct attack, and variants with known mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from robustbench_fgsm.models.classifier import TorchClassifier
from robustbench_fgsm.spec import PIXEL_BOUNDS
from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID, StageChanges
from robustbench_fgsm.variants.recipe import AttackRecipe

UNIT_MISTAKES = ("normalised-epsilon", "epsilon-scale-255", "wrong-epsilon", "quantised-8bit", "truncated-8bit")
"""Mistakes in the unit of epsilon or of the result."""

LABEL_MISTAKES = ("predicted-labels", "label-offset")
"""Mistakes in the labels of the loss. Success still refers to the true labels."""

ATTACK_MISTAKES = (
    "no-clip",
    "normalised-clip",
    "train-mode",
    "double-softmax",
    "nll-on-logits",
    "sum-of-logits",
    "wrong-sign",
    "targeted-as-untargeted",
    "raw-gradient",
    "wrong-norm",
    "iterated",
    "random-start",
    "skips-misclassified",
    "returns-clean-on-failure",
    "no-op",
)
"""Mistakes in the attack itself, each tried alone."""

MISTAKE_PAIRS = (
    *((unit, "predicted-labels") for unit in UNIT_MISTAKES),
    *(("normalised-epsilon", clip) for clip in ATTACK_MISTAKES[:2]),
)
"""Mistakes that often occur together: a wrong unit with predicted labels, and mistakes with normalised images."""

TRIED_STEPS = frozenset({"2 of epsilon", "10 of a share"})
"""Iterated attacks that are tried; each step costs a gradient."""

UNTRIED_CHANGES = frozenset({"per-image-mean", "shifted by 2", "shifted by -2", "raw-mean", "norm-1-scaled"})
"""Stage changes that are not tried."""

REDUNDANT_CHANGE = {"step_sign": "down"}
"""A stage change that equals `opposite` if the attack is untargeted."""

NORMALISED_EPSILONS = frozenset({"normalised", "normalised-twice"})
UNTARGETED_ONLY = frozenset({"wrong-sign", "skips-misclassified"})
TARGETED_ONLY = frozenset({"targeted-as-untargeted"})


@dataclass(frozen=True)
class AttackVariant:
    """An attack that may have given a reported number, with the ids of its mistakes.

    unit: how epsilon or the result is read, `as given` if correct. labels: labels of the loss, `true` if correct.
    """

    name: str
    unit: str
    labels: str
    mistakes: tuple[str, ...]
    recipe: AttackRecipe


CORRECT_VARIANT = AttackVariant("the right attack", "as given", "true", (), AttackRecipe())


def attack_variants(classifier: TorchClassifier, *, targeted: bool) -> list[AttackVariant]:
    """Return the correct attack and the attacks with one or two mistakes that have an effect on this network."""
    excluded = UNTARGETED_ONLY if targeted else TARGETED_ONLY
    single = [
        variant
        for mistake in (*UNIT_MISTAKES, *LABEL_MISTAKES, *ATTACK_MISTAKES)
        if mistake not in excluded
        for variant in _with_mistake(CORRECT_VARIANT, mistake)
    ]
    pairs = [
        variant
        for first, second in MISTAKE_PAIRS
        for base in _with_mistake(CORRECT_VARIANT, first)
        for variant in _with_mistake(base, second)
        if variant.recipe.labels != "given" or variant.unit == "normalised"
    ]
    return [variant for variant in (CORRECT_VARIANT, *single, *pairs) if _has_effect(variant.recipe, classifier)]


def _with_mistake(base: AttackVariant, mistake: str) -> Iterator[AttackVariant]:
    """Yield the base with one more mistake, in each variant of this mistake that is tried."""
    known = [changes for changes in MISTAKE_BY_ID[mistake].stage_changes if changes != REDUNDANT_CHANGE]
    for changes in filter(_is_tried, known):
        change = next(iter(changes.values()))
        name = mistake if len(known) == 1 or mistake.startswith(change) else f"{mistake} ({change})"
        yield AttackVariant(
            f"{base.name} + {name}" if base.mistakes else name,
            change if mistake in UNIT_MISTAKES else base.unit,
            # a change of another stage, the largest logit as loss, climbs the loss of the predicted label
            changes.get("labels", "predicted") if mistake in LABEL_MISTAKES else base.labels,
            (*base.mistakes, mistake),
            replace(base.recipe, **changes),
        )


def _is_tried(changes: StageChanges) -> bool:
    return UNTRIED_CHANGES.isdisjoint(changes.values()) and ("steps" not in changes or changes["steps"] in TRIED_STEPS)


def _has_effect(recipe: AttackRecipe, classifier: TorchClassifier) -> bool:
    """Return False if the recipe needs a normalisation or pixels in [0, 1] that the classifier does not have."""
    if recipe.epsilon in NORMALISED_EPSILONS or recipe.clip == "normalised":
        mean = getattr(classifier.network, "mean", torch.zeros(()))
        std = getattr(classifier.network, "std", torch.ones(()))
        return bool((mean != 0).any()) or bool((std != 1).any())
    return recipe.output_format == "float32" or classifier.bounds == PIXEL_BOUNDS
