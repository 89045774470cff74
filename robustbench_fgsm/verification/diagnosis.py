"""Find the known mistake, or the pair of known mistakes, that gives the wrong images of a candidate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_fgsm.spec import AGREEMENT_TOLERANCE
from robustbench_fgsm.variants.catalogue import MISTAKES, Finding, StageChanges, mistake_recipes
from robustbench_fgsm.variants.recipe import CORRECT_RECIPE, STEP_STAGES, AttackRecipe, RecipeRunner, parse_steps
from robustbench_fgsm.variants.stages import EIGHT_BIT_PREFIXES, SIGN_DIRECTIONS
from robustbench_fgsm.verification.judge import MAX_ROUNDING_PIXELS, MIN_EXPLAINED_SHARE, JudgedCall

EQUAL_SHARE_TOLERANCE = 1e-3
"""Mistakes whose shares differ by less explain the images equally well."""

MAX_QUICK_STEPS = 10
"""Largest number of steps that a quick diagnosis tries: many steps on a large network take minutes."""

MAX_SHOWN = 3
"""Pixels of an unknown disagreement, or further matches, that are printed."""

MistakeIds = tuple[str, ...]


@dataclass(frozen=True)
class MistakeMatch:
    """Mistakes that together give the images, and the share of the wrong pixels that they explain."""

    mistake_ids: MistakeIds
    share: float


def match_mistakes(
    recipe_runner: RecipeRunner, judged_calls: Sequence[JudgedCall], *, pairs: bool = False, quick: bool = False
) -> list[MistakeMatch]:
    """Return the mistakes that explain every call as well as the best mistake does, the best first.

    Only the best variant of each mistake counts. pairs: try pairs of mistakes instead of single mistakes. quick: skip
    recipes with many steps, and pairs in which both mistakes need a new gradient.
    """
    num_classes = _num_classes(judged_calls[0])
    candidates = _mistake_pairs(num_classes, quick=quick) if pairs else _single_mistakes(num_classes, quick=quick)
    calls = _most_informative_first(judged_calls)
    best: dict[MistakeIds, MistakeMatch] = {}
    for ids, recipe in candidates:
        share = explained_share(recipe_runner, calls, recipe, at_least=MIN_EXPLAINED_SHARE)
        if share >= MIN_EXPLAINED_SHARE and (ids not in best or share > best[ids].share):
            best[ids] = MistakeMatch(ids, share)
    found = sorted(best.values(), key=lambda match: -match.share)
    return [match for match in found if match.share >= found[0].share - EQUAL_SHARE_TOLERANCE]


def explained_share(
    recipe_runner: RecipeRunner, judged_calls: Sequence[JudgedCall], recipe: AttackRecipe, *, at_least: float = 0.0
) -> float:
    """Return the share of the wrong pixels of all calls that a recipe explains; 0 if one call has less than `at_least`."""
    explained = wrong = 0
    for judged in judged_calls:
        if not _is_possible(judged, recipe):
            return 0.0
        same, of = _count_explained(judged, recipe_runner.cached(judged.call, recipe))
        if same < at_least * of - MAX_ROUNDING_PIXELS:
            return 0.0
        explained, wrong = explained + same, wrong + of
    return explained / wrong if wrong else 0.0


def _is_possible(judged: JudgedCall, recipe: AttackRecipe) -> bool:
    """Return False if facts about the images or the forward passes rule the recipe out, which saves most of the work.

    A pair of mistakes may have two forward passes more than steps, for predictions.
    """
    partial_steps = recipe.direction not in SIGN_DIRECTIONS or recipe.output_format.startswith("resized")
    if partial_steps and judged.has_full_steps and judged.any_pixel_moved:
        return False
    if recipe.changes.keys().isdisjoint(STEP_STAGES) and not judged.has_full_steps:
        return False
    steps, passes = parse_steps(recipe.steps)[0], judged.forward_pass_count
    if passes and (steps > passes or (1 < steps < passes - 2 and len(recipe.changes) > 1)):
        return False
    return judged.is_8_bit or not recipe.output_format.startswith(EIGHT_BIT_PREFIXES)


def _count_explained(judged: JudgedCall, adversarial: Tensor) -> tuple[int, int]:
    """Return how many of the pixels that are wrong on either side are equal on both sides, and how many are wrong."""
    wrong = judged.decidable & (_differ(judged.images, judged.expected) | _differ(adversarial, judged.expected))
    return int((wrong & ~_differ(judged.images, adversarial)).sum()), int(wrong.sum())


def _differ(one: Tensor, other: Tensor) -> Tensor:
    return ~((one - other).abs() <= AGREEMENT_TOLERANCE * (1 + other.abs()))


def _most_informative_first(judged_calls: Sequence[JudgedCall]) -> list[JudgedCall]:
    """Return calls with many wrong pixels first, and of these the early calls, which rule out most recipes soonest."""
    wrong = {id(judged): int(judged.wrong.sum()) for judged in judged_calls}
    most = max(wrong.values())
    return sorted(judged_calls, key=lambda judged: (2 * wrong[id(judged)] < most, len(judged.call.earlier_calls)))


def _num_classes(judged: JudgedCall) -> int:
    with torch.no_grad():
        return int(judged.call.model(judged.call.x[:1]).shape[1])


def _single_mistakes(num_classes: int, *, quick: bool) -> Iterator[tuple[MistakeIds, AttackRecipe]]:
    for mistake in MISTAKES:
        for recipe in mistake_recipes(mistake, num_classes):
            if not (quick and parse_steps(recipe.steps)[0] > MAX_QUICK_STEPS):
                yield (mistake.id,), recipe


def _mistake_pairs(num_classes: int, *, quick: bool) -> Iterator[tuple[MistakeIds, AttackRecipe]]:
    """Yield two mistakes at different stages, in each of their variants."""
    known = [
        (mistake.id, recipe.changes)
        for mistake in MISTAKES
        for recipe in mistake_recipes(mistake, num_classes, max_classes_all_orders=0)
        if mistake.id != "no-op"
    ]
    for index, (one, changes) in enumerate(known):
        for other, more in known[index + 1 :]:
            if one == other or changes.keys() & more.keys():
                continue
            if not (quick and _needs_own_gradient(changes) and _needs_own_gradient(more)):
                yield (one, other), replace(CORRECT_RECIPE, **changes, **more)


def _needs_own_gradient(changes: StageChanges) -> bool:
    """Return True if a mistake needs gradients that the correct attack does not take."""
    recipe = replace(CORRECT_RECIPE, **changes)
    return recipe.gradient_key != CORRECT_RECIPE.gradient_key or parse_steps(recipe.steps)[0] > 1


def matches_to_findings(matches: Sequence[MistakeMatch]) -> list[Finding]:
    """Return a finding for each mistake of the best match, which names the other matches."""
    if not matches:
        return []
    first, *others = matches
    ids, share = first.mistake_ids, f"{100 * first.share:.1f} % of the wrong pixels"
    if len(ids) == 1:
        also = tuple(match.mistake_ids[0] for match in others)
        beside = f"; {', '.join(also)} would give the same on these cases" if also else ""
        return [Finding.of_mistake(ids[0], f"the reference with this mistake gives {share}{beside}", also)]
    beside = "".join(f"; so would {' with '.join(match.mistake_ids)}" for match in others[:MAX_SHOWN])
    return [Finding.of_mistake(name, f"the reference with both {' and '.join(ids)} gives {share}{beside}") for name in ids]


def unknown_mistake_finding(recipe_runner: RecipeRunner, judged_calls: Sequence[JudgedCall]) -> Finding:
    """Return a finding with wrong pixels that no known mistake explains, and the nearest known mistake."""
    judged = max(judged_calls, key=lambda judged: float(judged.wrong.float().mean()))
    gradient, positions = recipe_runner.cached_gradient(judged.call, CORRECT_RECIPE), judged.wrong.nonzero().tolist()
    shown = (
        f"image {position[0]} pixel {position[1:]}: clean {_pixel_text(judged.call.x, position)}, expected "
        f"{_pixel_text(judged.expected, position)}, got {_pixel_text(judged.images, position)}, "
        f"gradient {_pixel_text(gradient, position)}"
        for position in positions[:MAX_SHOWN]
    )
    share, nearest = max(
        (explained_share(recipe_runner, [judged], recipe), ids[0])
        for ids, recipe in _single_mistakes(_num_classes(judged), quick=False)
    )
    evidence = (
        f"{len(positions):,} of {judged.wrong.numel():,} pixels of one call are wrong and no known mistake explains them "
        f"(nearest: {nearest}, {100 * share:.0f} %); {'; '.join(shown)}"
    )
    return Finding("unknown", evidence, "compare gradient and step at these pixels with those of a library")


def _pixel_text(images: Tensor, position: list[int]) -> str:
    return f"{float(images[tuple(position)]):.6g}"
