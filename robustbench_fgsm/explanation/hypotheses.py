"""The attacks that may have given a reported number: the right attack, and variants with one or two known mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import torch

from robustbench_fgsm.models.classifier import TorchClassifier
from robustbench_fgsm.spec import PIXEL_BOUNDS
from robustbench_fgsm.variants.stages import COMMON_EPSILONS
from robustbench_fgsm.variants.variant import CHOICES, RIGHT_VARIANT, Variant

TRIED_LOSSES = (
    "double-softmax",
    "nll-on-logits",
    "own-logit",
    "sum",
    "sum-of-probabilities",
    "largest-logit",
    "margin",
    "multi-margin",
    "mse-on-probabilities",
    "smoothing 0.1",
)
"""Losses that are tried; each one costs a gradient."""

SKIPS = "clean where wrong before"
NORMALISED_SIZES = ("times std", "over std")
UNTARGETED_ONLY = ("minus the sign", SKIPS)
TARGETED_ONLY = ("away from the target",)


def attack_variants(classifier: TorchClassifier, epsilons: Sequence[float], *, targeted: bool) -> list[Variant]:
    """Return the right attack and the attacks with one or two mistakes that have an effect on this network and these budgets.

    Pairs are mistakes that often occur together: predicted labels with a wrong unit of epsilon or of the result, mistakes with
    normalised images, and any mistake with skipped images, which costs no prediction.
    """
    alone = [
        replace(RIGHT_VARIANT, **{stage: choice})
        for stage, choices in CHOICES.items()
        for choice in (TRIED_LOSSES if stage == "loss" else list(choices)[1:])
    ]
    pairs = [
        *(replace(one, labels="predicted") for one in alone if _has_wrong_unit(one)),
        *(replace(one, clip=clip) for one in alone if one.size in NORMALISED_SIZES for clip in ("none", "normalised")),
        *(replace(one, kept=SKIPS) for one in alone if one.kept == "all" and one.size != "none"),
    ]
    excluded = UNTARGETED_ONLY if targeted else TARGETED_ONLY
    constants = {f"always {name}" for name, epsilon in COMMON_EPSILONS.items() if set(epsilons) == {epsilon}}
    return [
        variant
        for variant in (RIGHT_VARIANT, *alone, *pairs)
        if constants.union(excluded).isdisjoint(asdict(variant).values()) and _has_effect(variant, classifier)
    ]


def _has_wrong_unit(variant: Variant) -> bool:
    return variant.size not in (RIGHT_VARIANT.size, "none") or variant.output != RIGHT_VARIANT.output


def _has_effect(variant: Variant, classifier: TorchClassifier) -> bool:
    """Return False if the variant needs a normalisation or pixels in [0, 1] that the classifier does not have."""
    if variant.size in NORMALISED_SIZES or variant.clip == "normalised":
        mean = getattr(classifier.network, "mean", torch.zeros(()))
        std = getattr(classifier.network, "std", torch.ones(()))
        return bool((mean != 0).any()) or bool((std != 1).any())
    return variant.output == RIGHT_VARIANT.output or classifier.bounds == PIXEL_BOUNDS
