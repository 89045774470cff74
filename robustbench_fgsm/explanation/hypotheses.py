"""Ways in which a reported number may have been made: the right attack, and the same with mistakes that change its number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from robustbench_fgsm.models.classifier import TorchClassifier
from robustbench_fgsm.spec import PIXEL_BOUNDS
from robustbench_fgsm.variants.catalogue import BY_ID, Changes
from robustbench_fgsm.variants.recipe import Recipe

UNITS = ("normalised-epsilon", "epsilon-scale-255", "wrong-epsilon", "quantised-8bit", "truncated-8bit")
"""Mistakes of the unit in which epsilon or the result is read."""

LABELS = ("predicted-labels", "label-offset")
"""Mistakes of the labels whose loss is climbed. Success is counted by the true ones all the same."""

SINGLE = (
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

PAIRS = (*((unit, "predicted-labels") for unit in UNITS), *(("normalised-epsilon", clip) for clip in SINGLE[:2]))
"""Mistakes that are made together: a unit with the network's own labels, and all that follows from normalised images."""

STEPS = frozenset({"2 of epsilon", "10 of a share"})
"""Of several steps, what is tried: each step costs a gradient."""

RARE = frozenset({"per-image-mean", "shifted by 2", "shifted by -2", "raw-mean", "norm-1-scaled"})
"""Variants that are not tried."""

SAME_UNTARGETED = {"sense": "down"}
"""What `opposite` does as well, untargeted."""

NORMALISED = frozenset({"normalised", "normalised-twice"})
UNTARGETED_ONLY = frozenset({"wrong-sign", "skips-misclassified"})
TARGETED_ONLY = frozenset({"targeted-as-untargeted"})


@dataclass(frozen=True)
class Procedure:
    """An attack as somebody may have run it.

    unit: how epsilon or the result is read, `as given` where rightly. labels: whose loss is climbed, `true` where rightly.
    mistakes: ids of `compare.mistakes`, the ones of unit and labels too; none for the right attack. name: the mistakes,
    each with its variant where its id leaves that open.
    """

    name: str
    unit: str
    labels: str
    mistakes: tuple[str, ...]
    recipe: Recipe


RIGHT = Procedure("the right attack", "as given", "true", (), Recipe())


def procedures(classifier: TorchClassifier, *, targeted: bool) -> list[Procedure]:
    """The right attack, those with one mistake, and those with two; without the ones that mean nothing for this network."""
    alone = [
        made for id_ in (*UNITS, *LABELS, *SINGLE) if _makes_sense(id_, targeted) for made in _variants(RIGHT, id_)
    ]
    together = [made for first, second in PAIRS for one in _variants(RIGHT, first) for made in _variants(one, second)]
    found = [RIGHT, *alone, *(made for made in together if made.recipe.labels != "given" or made.unit == "normalised")]
    return [made for made in found if _differs(made.recipe, classifier)]


def _variants(procedure: Procedure, mistake: str) -> Iterator[Procedure]:
    """The procedure with one mistake more, in each of its variants."""
    variants = [changes for changes in BY_ID[mistake].variants if changes != SAME_UNTARGETED]
    for changes in filter(_is_tried, variants):
        variant = next(iter(changes.values()))
        plain = len(variants) == 1 or mistake.startswith(variant)  # its id says it all
        yield Procedure(
            _and(procedure, mistake if plain else f"{mistake} ({variant})"),
            variant if mistake in UNITS else procedure.unit,
            _rule(changes) if mistake in LABELS else procedure.labels,
            (*procedure.mistakes, mistake),
            replace(procedure.recipe, **changes),
        )


def _is_tried(changes: Changes) -> bool:
    return RARE.isdisjoint(changes.values()) and ("steps" not in changes or changes["steps"] in STEPS)


def _and(procedure: Procedure, mistake: str) -> str:
    return f"{procedure.name} + {mistake}" if procedure.mistakes else mistake


def _rule(changes: Changes) -> str:
    """Whose labels the changed stages climb: the largest logit is that of the prediction."""
    return changes.get("labels", "predicted")


def _makes_sense(mistake: str, targeted: bool) -> bool:
    return mistake not in (UNTARGETED_ONLY if targeted else TARGETED_ONLY)


def _differs(recipe: Recipe, classifier: TorchClassifier) -> bool:
    """Whether there is a normalisation for the recipe to confuse, and pixels in [0, 1] for it to make bytes of."""
    if recipe.epsilon in NORMALISED or recipe.clip == "normalised":
        mean = getattr(classifier.network, "mean", torch.zeros(()))
        std = getattr(classifier.network, "std", torch.ones(()))
        return bool((mean != 0).any()) or bool((std != 1).any())
    return recipe.store == "float32" or classifier.bounds == PIXEL_BOUNDS
