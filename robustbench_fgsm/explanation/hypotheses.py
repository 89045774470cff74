"""Ways in which a reported number may have been made: the right attack, and the same with mistakes that change its number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from robustbench_fgsm.models.classifier import TorchClassifier
from robustbench_fgsm.spec import PIXEL_BOUNDS
from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID, StageChanges
from robustbench_fgsm.variants.recipe import AttackRecipe

UNIT_MISTAKES = ("normalised-epsilon", "epsilon-scale-255", "wrong-epsilon", "quantised-8bit", "truncated-8bit")
"""Mistakes of the unit in which epsilon or the result is read."""

LABEL_MISTAKES = ("predicted-labels", "label-offset")
"""Mistakes of the labels whose loss is climbed. Success is counted by the true ones all the same."""

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
"""Mistakes of the attack itself, each tried alone."""

MISTAKE_PAIRS = (
    *((unit, "predicted-labels") for unit in UNIT_MISTAKES),
    *(("normalised-epsilon", clip) for clip in ATTACK_MISTAKES[:2]),
)
"""Mistakes that are made together: a unit with the network's own labels, and all that follows from normalised images."""

TRIED_STEPS = frozenset({"2 of epsilon", "10 of a share"})
"""Of several steps, what is tried: each step costs a gradient."""

UNTRIED_CHANGES = frozenset({"per-image-mean", "shifted by 2", "shifted by -2", "raw-mean", "norm-1-scaled"})
"""Variants that are not tried."""

REDUNDANT_CHANGE = {"step_sign": "down"}
"""What `opposite` does as well, untargeted."""

NORMALISED_EPSILONS = frozenset({"normalised", "normalised-twice"})
UNTARGETED_ONLY = frozenset({"wrong-sign", "skips-misclassified"})
TARGETED_ONLY = frozenset({"targeted-as-untargeted"})


@dataclass(frozen=True)
class AttackVariant:
    """An attack as somebody may have run it.

    unit: how epsilon or the result is read, `as given` where rightly. labels: whose loss is climbed, `true` where rightly.
    mistakes: ids of `compare.mistakes`, the ones of unit and labels too; none for the right attack. name: the mistakes,
    each with its variant where its id leaves that open.
    """

    name: str
    unit: str
    labels: str
    mistakes: tuple[str, ...]
    recipe: AttackRecipe


CORRECT_VARIANT = AttackVariant("the right attack", "as given", "true", (), AttackRecipe())


def attack_variants(classifier: TorchClassifier, *, targeted: bool) -> list[AttackVariant]:
    """The right attack, those with one mistake, and those with two; without the ones that mean nothing for this network."""
    alone = [
        made
        for id_ in (*UNIT_MISTAKES, *LABEL_MISTAKES, *ATTACK_MISTAKES)
        if _applies(id_, targeted)
        for made in _with_mistake(CORRECT_VARIANT, id_)
    ]
    together = [
        made
        for first, second in MISTAKE_PAIRS
        for one in _with_mistake(CORRECT_VARIANT, first)
        for made in _with_mistake(one, second)
    ]
    found = [CORRECT_VARIANT, *alone, *(made for made in together if made.recipe.labels != "given" or made.unit == "normalised")]
    return [made for made in found if _has_effect(made.recipe, classifier)]


def _with_mistake(base: AttackVariant, mistake: str) -> Iterator[AttackVariant]:
    """The procedure with one mistake more, in each of its variants."""
    variants = [changes for changes in MISTAKE_BY_ID[mistake].stage_changes if changes != REDUNDANT_CHANGE]
    for changes in filter(_is_tried, variants):
        variant = next(iter(changes.values()))
        plain = len(variants) == 1 or mistake.startswith(variant)  # its id says it all
        yield AttackVariant(
            _variant_name(base, mistake if plain else f"{mistake} ({variant})"),
            variant if mistake in UNIT_MISTAKES else base.unit,
            _label_rule(changes) if mistake in LABEL_MISTAKES else base.labels,
            (*base.mistakes, mistake),
            replace(base.recipe, **changes),
        )


def _is_tried(changes: StageChanges) -> bool:
    return UNTRIED_CHANGES.isdisjoint(changes.values()) and ("steps" not in changes or changes["steps"] in TRIED_STEPS)


def _variant_name(base: AttackVariant, mistake: str) -> str:
    return f"{base.name} + {mistake}" if base.mistakes else mistake


def _label_rule(changes: StageChanges) -> str:
    """Whose labels the changed stages climb: the largest logit is that of the prediction."""
    return changes.get("labels", "predicted")


def _applies(mistake: str, targeted: bool) -> bool:
    return mistake not in (UNTARGETED_ONLY if targeted else TARGETED_ONLY)


def _has_effect(recipe: AttackRecipe, classifier: TorchClassifier) -> bool:
    """Whether there is a normalisation for the recipe to confuse, and pixels in [0, 1] for it to make bytes of."""
    if recipe.epsilon in NORMALISED_EPSILONS or recipe.clip == "normalised":
        mean = getattr(classifier.network, "mean", torch.zeros(()))
        std = getattr(classifier.network, "std", torch.ones(()))
        return bool((mean != 0).any()) or bool((std != 1).any())
    return recipe.output_format == "float32" or classifier.bounds == PIXEL_BOUNDS
