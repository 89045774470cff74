"""What is wrong with images that are not right: the known mistake, or the pair of them, that gives the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from robustbench_fgsm.spec import AGREEMENT_TOLERANCE
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID, MISTAKES, Finding, Mistake, StageChanges, mistake_recipes
from robustbench_fgsm.variants.recipe import GRADIENT_STAGES, AttackRecipe, RecipeRunner, parse_steps
from robustbench_fgsm.variants.stages import EIGHT_BIT_PREFIXES, SIGN_DIRECTIONS
from robustbench_fgsm.verification.judge import CORRECT_RECIPE, Judgement

MIN_EXPLAINED_SHARE = 0.98
"""Share of the wrong pixels that a mistake must explain to be named."""

MAX_ROUNDING_PIXELS = 2
"""Pixels of one call that rounding may decide."""

EQUAL_SHARE_TOLERANCE = 1e-3
"""Mistakes whose shares are this close together are not told apart."""

MAX_QUICK_STEPS = 10
"""Steps that are tried on a network of unknown size."""

MAX_SHOWN = 3
"""Pixels of an unknown disagreement that are printed."""


@dataclass(frozen=True)
class JudgedCall:
    """One call, what came back (N, C, H, W), what was right, and the number of forward passes; 0 where that is not known."""

    attack_call: AttackCall
    images: Tensor
    judgement: Judgement
    forward_pass_count: int = 0

    @cached_property
    def is_8_bit(self) -> bool:
        """Whether every pixel is a whole number of 255ths."""
        levels = self.images * 255
        return bool((levels - levels.round()).abs().le(255 * AGREEMENT_TOLERANCE).all())

    @cached_property
    def has_full_steps(self) -> bool:
        """Whether pixels moved by epsilon, or to a bound, or not at all."""
        moved, (low, high) = (self.images - self.attack_call.x).abs(), self.attack_call.bounds
        full = ((moved - self.attack_call.epsilon).abs() <= AGREEMENT_TOLERANCE) | (moved <= AGREEMENT_TOLERANCE)
        full |= (self.images - low).abs().minimum((self.images - high).abs()) <= AGREEMENT_TOLERANCE
        decided = self.judgement.decidable
        return int((full & decided).sum()) >= MIN_EXPLAINED_SHARE * int(decided.sum()) - MAX_ROUNDING_PIXELS

    @cached_property
    def any_pixel_moved(self) -> bool:
        """Whether any pixel does."""
        return bool(((self.images - self.attack_call.x).abs() > AGREEMENT_TOLERANCE)[self.judgement.decidable].any())

    def is_possible(self, recipe: AttackRecipe) -> bool:
        """Whether it can be so at all, which spares most recipes.

        Not with more steps than forward passes, nor off the grid when stored in 8 bits, nor in other steps than full ones
        when only the gradient is another. Pairs are many, so that in these a pass or two may be predictions, and no more.
        """
        if (
            self.has_full_steps
            and self.any_pixel_moved
            and (recipe.direction not in SIGN_DIRECTIONS or recipe.output_format.startswith("resized"))
        ):
            return False
        if not self.has_full_steps and recipe.changes.keys() <= GRADIENT_STAGES:
            return False
        steps = parse_steps(recipe.steps)[0]
        if self.forward_pass_count and (
            steps > self.forward_pass_count or (1 < steps < self.forward_pass_count - 2 and len(recipe.changes) > 1)
        ):
            return False
        return self.is_8_bit or not recipe.output_format.startswith(EIGHT_BIT_PREFIXES)

    @property
    def largest_error(self) -> float:
        """How far a wrong pixel is from where it should be, at most."""
        return float((self.images - self.judgement.expected)[self.judgement.wrong].abs().max())

    def count_explained(self, adversarial: Tensor) -> tuple[int, int]:
        """Pixels that the crafted images have in common with those that came back, of all that are wrong in either."""
        expected, decided = self.judgement.expected, self.judgement.decidable
        wrong = decided & (_differ(self.images, expected) | _differ(adversarial, expected))
        return int((wrong & ~_differ(self.images, adversarial)).sum()), int(wrong.sum())


def _differ(one: Tensor, other: Tensor) -> Tensor:
    return ~((one - other).abs() <= AGREEMENT_TOLERANCE * (1 + other.abs()))


@dataclass(frozen=True)
class MistakeMatch:
    """Mistakes that together give the images, and the share of the wrong pixels that they explain."""

    mistake_ids: tuple[str, ...]
    share: float


def match_single_mistakes(
    recipe_runner: RecipeRunner, judged_calls: Sequence[JudgedCall], *, quick: bool = False
) -> list[MistakeMatch]:
    """Single mistakes that explain every call, the best first; none where nothing does.

    Of each mistake only its best variant is given, and all that are as good as the best one. quick: without many steps,
    which on a large network take minutes.
    """
    num_classes = _num_classes(judged_calls[0])
    singles = (
        ((mistake.id,), recipe)
        for mistake in MISTAKES
        for recipe in mistake_recipes(mistake, num_classes)
        if not (quick and parse_steps(recipe.steps)[0] > MAX_QUICK_STEPS)
    )
    return _find_matches(recipe_runner, _most_informative_first(judged_calls), singles)


def match_mistake_pairs(
    recipe_runner: RecipeRunner, judged_calls: Sequence[JudgedCall], *, quick: bool = False
) -> list[MistakeMatch]:
    """Pairs of mistakes that together do so. quick: only those in which one of the two changes the gradient."""
    return _find_matches(
        recipe_runner, _most_informative_first(judged_calls), _mistake_pairs(_num_classes(judged_calls[0]), quick=quick)
    )


def _most_informative_first(judged_calls: Sequence[JudgedCall]) -> list[JudgedCall]:
    """Calls with many wrong pixels first, of these the early ones: of them the fewest recipes are right, and soonest made."""
    wrong = {id(trial): int(trial.judgement.wrong.sum()) for trial in judged_calls}
    most = max(wrong.values())
    return sorted(judged_calls, key=lambda trial: (2 * wrong[id(trial)] < most, len(trial.attack_call.earlier_calls)))


def _num_classes(judged_call: JudgedCall) -> int:
    with torch.no_grad():
        return int(judged_call.attack_call.model(judged_call.attack_call.x[:1]).shape[1])


def _find_matches(
    recipe_runner: RecipeRunner, judged_calls: Sequence[JudgedCall], candidates: Iterable[tuple[tuple[str, ...], AttackRecipe]]
) -> list[MistakeMatch]:
    best: dict[tuple[str, ...], MistakeMatch] = {}
    for ids, recipe in candidates:
        share = explained_share(recipe_runner, judged_calls, recipe, at_least=MIN_EXPLAINED_SHARE)
        if share >= MIN_EXPLAINED_SHARE and (ids not in best or share > best[ids].share):
            best[ids] = MistakeMatch(ids, share)
    found = sorted(best.values(), key=lambda match: -match.share)
    return [match for match in found if match.share >= found[0].share - EQUAL_SHARE_TOLERANCE]


def explained_share(
    recipe_runner: RecipeRunner, judged_calls: Sequence[JudgedCall], recipe: AttackRecipe, *, at_least: float = 0.0
) -> float:
    """Share of the wrong pixels of all calls that a recipe explains; 0 as soon as one call shows less than `at_least`."""
    explained = wrong = 0
    for trial in judged_calls:
        if not trial.is_possible(recipe):
            return 0.0
        same, of = trial.count_explained(recipe_runner.cached(trial.attack_call, recipe))
        if same < at_least * of - MAX_ROUNDING_PIXELS:
            return 0.0
        explained, wrong = explained + same, wrong + of
    return explained / wrong if wrong else 0.0


def _mistake_pairs(num_classes: int, *, quick: bool) -> Iterator[tuple[tuple[str, ...], AttackRecipe]]:
    """Two mistakes at different stages, in each of their variants."""
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
    """Whether a mistake needs gradients that the right method does not take."""
    recipe = replace(CORRECT_RECIPE, **changes)
    return recipe.gradient_key != CORRECT_RECIPE.gradient_key or parse_steps(recipe.steps)[0] > 1


def matches_to_findings(matches: Sequence[MistakeMatch]) -> list[Finding]:
    """What is said of the matches: a finding for each mistake of the best one, and beside it those that look the same."""
    if not matches:
        return []
    first, *others = matches
    if len(first.mistake_ids) == 1:
        also = tuple(match.mistake_ids[0] for match in others)
        beside = f"; {', '.join(also)} would give the same on these cases" if also else ""
        return [
            _mistake_finding(
                MISTAKE_BY_ID[first.mistake_ids[0]], f"the reference with this mistake gives {_share_text(first)}{beside}", also
            )
        ]
    beside = "".join(f"; so would {' with '.join(match.mistake_ids)}" for match in others[:MAX_SHOWN])
    evidence = "the reference with both {} gives {}{}"
    return [
        _mistake_finding(MISTAKE_BY_ID[name], evidence.format(" and ".join(first.mistake_ids), _share_text(first), beside))
        for name in first.mistake_ids
    ]


def _share_text(match: MistakeMatch) -> str:
    return f"{100 * match.share:.1f} % of the wrong pixels"


def _mistake_finding(mistake: Mistake, evidence: str, also: tuple[str, ...] = ()) -> Finding:
    return Finding(mistake.id, f"{mistake.summary}: {evidence}", mistake.remedy, also)


def unknown_mistake_finding(recipe_runner: RecipeRunner, judged_calls: Sequence[JudgedCall]) -> Finding:
    """A disagreement that no known mistake explains, with the pixels that show it and the mistake that comes nearest."""
    trial = max(judged_calls, key=lambda trial: float(trial.judgement.wrong.float().mean()))
    gradient, wrong = recipe_runner.cached_gradient(trial.attack_call, CORRECT_RECIPE), trial.judgement.wrong
    places = wrong.nonzero().tolist()
    shown = (
        f"image {place[0]} pixel {place[1:]}: clean {_pixel_text(trial.attack_call.x, place)}, expected "
        f"{_pixel_text(trial.judgement.expected, place)}, got {_pixel_text(trial.images, place)}, "
        f"gradient {_pixel_text(gradient, place)}"
        for place in places[:MAX_SHOWN]
    )
    near = max(
        (explained_share(recipe_runner, [trial], recipe), mistake.id)
        for mistake in MISTAKES
        for recipe in mistake_recipes(mistake, _num_classes(trial))
    )
    evidence = (
        f"{len(places):,} of {wrong.numel():,} pixels of one call are wrong and no known mistake explains them "
        f"(nearest: {near[1]}, {100 * near[0]:.0f} %); {'; '.join(shown)}"
    )
    return Finding("unknown", evidence, "compare gradient and step at these pixels with those of a library")


def _pixel_text(images: Tensor, position: list[int]) -> str:
    return f"{float(images[tuple(position)]):.6g}"
