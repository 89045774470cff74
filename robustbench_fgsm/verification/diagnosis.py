"""What is wrong with images that are not right: the known mistake, or the pair of them, that gives the same ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from robustbench_fgsm.spec import TOLERANCE
from robustbench_fgsm.variants.attack_call import Scene
from robustbench_fgsm.variants.catalogue import BY_ID, MISTAKES, Changes, Finding, Mistake, recipes
from robustbench_fgsm.variants.recipe import OF_THE_GRADIENT, Kitchen, Recipe, step_sizes
from robustbench_fgsm.variants.stages import IN_8_BITS, SIGNS
from robustbench_fgsm.verification.judge import RIGHT, Judgement

LEAST = 0.98
"""Share of the wrong pixels that a mistake must explain to be named."""

FEW = 2
"""Pixels of one call that rounding may decide."""

EQUAL = 1e-3
"""Mistakes whose shares are this close together are not told apart."""

MOST_STEPS = 10
"""Steps that are tried on a network of unknown size."""

SHOWN = 3
"""Pixels of an unknown disagreement that are printed."""


@dataclass(frozen=True)
class Trial:
    """One call, what came back (N, C, H, W), what was right, and the number of forward passes; 0 where that is not known."""

    scene: Scene
    images: Tensor
    judgement: Judgement
    passes: int = 0

    @cached_property
    def in_8_bits(self) -> bool:
        """Whether every pixel is a whole number of 255ths."""
        levels = self.images * 255
        return bool((levels - levels.round()).abs().le(255 * TOLERANCE).all())

    @cached_property
    def in_full_steps(self) -> bool:
        """Whether pixels moved by epsilon, or to a bound, or not at all."""
        moved, (low, high) = (self.images - self.scene.x).abs(), self.scene.bounds
        full = ((moved - self.scene.epsilon).abs() <= TOLERANCE) | (moved <= TOLERANCE)
        full |= (self.images - low).abs().minimum((self.images - high).abs()) <= TOLERANCE
        decided = self.judgement.decided
        return int((full & decided).sum()) >= LEAST * int(decided.sum()) - FEW

    @cached_property
    def moves(self) -> bool:
        """Whether any pixel does."""
        return bool(((self.images - self.scene.x).abs() > TOLERANCE)[self.judgement.decided].any())

    def possible(self, recipe: Recipe) -> bool:
        """Whether it can be so at all, which spares most recipes.

        Not with more steps than forward passes, nor off the grid when stored in 8 bits, nor in other steps than full ones
        when only the gradient is another. Pairs are many, so that in these a pass or two may be predictions, and no more.
        """
        if self.in_full_steps and self.moves and (recipe.direction not in SIGNS or recipe.store.startswith("resized")):
            return False
        if not self.in_full_steps and recipe.changes.keys() <= OF_THE_GRADIENT:
            return False
        steps = step_sizes(recipe.steps)[0]
        if self.passes and (steps > self.passes or (1 < steps < self.passes - 2 and len(recipe.changes) > 1)):
            return False
        return self.in_8_bits or not recipe.store.startswith(IN_8_BITS)

    @property
    def largest_error(self) -> float:
        """How far a wrong pixel is from where it should be, at most."""
        return float((self.images - self.judgement.expected)[self.judgement.wrong].abs().max())

    def explained(self, crafted: Tensor) -> tuple[int, int]:
        """Pixels that the crafted images have in common with those that came back, of all that are wrong in either."""
        expected, decided = self.judgement.expected, self.judgement.decided
        wrong = decided & (_apart(self.images, expected) | _apart(crafted, expected))
        return int((wrong & ~_apart(self.images, crafted)).sum()), int(wrong.sum())


def _apart(one: Tensor, other: Tensor) -> Tensor:
    return ~((one - other).abs() <= TOLERANCE * (1 + other.abs()))


@dataclass(frozen=True)
class Match:
    """Mistakes that together give the images, and the share of the wrong pixels that they explain."""

    ids: tuple[str, ...]
    share: float


def single_matches(kitchen: Kitchen, trials: Sequence[Trial], *, quick: bool = False) -> list[Match]:
    """Single mistakes that explain every call, the best first; none where nothing does.

    Of each mistake only its best variant is given, and all that are as good as the best one. quick: without many steps,
    which on a large network take minutes.
    """
    num_classes = _num_classes(trials[0])
    singles = (
        ((mistake.id,), recipe)
        for mistake in MISTAKES
        for recipe in recipes(mistake, num_classes)
        if not (quick and step_sizes(recipe.steps)[0] > MOST_STEPS)
    )
    return _explaining(kitchen, _telling_first(trials), singles)


def pair_matches(kitchen: Kitchen, trials: Sequence[Trial], *, quick: bool = False) -> list[Match]:
    """Pairs of mistakes that together do so. quick: only those in which one of the two changes the gradient."""
    return _explaining(kitchen, _telling_first(trials), _pairs(_num_classes(trials[0]), quick=quick))


def _telling_first(trials: Sequence[Trial]) -> list[Trial]:
    """Calls with many wrong pixels first, of these the early ones: of them the fewest recipes are right, and soonest made."""
    wrong = {id(trial): int(trial.judgement.wrong.sum()) for trial in trials}
    most = max(wrong.values())
    return sorted(trials, key=lambda trial: (2 * wrong[id(trial)] < most, len(trial.scene.before)))


def _num_classes(trial: Trial) -> int:
    with torch.no_grad():
        return int(trial.scene.model(trial.scene.x[:1]).shape[1])


def _explaining(
    kitchen: Kitchen, trials: Sequence[Trial], candidates: Iterable[tuple[tuple[str, ...], Recipe]]
) -> list[Match]:
    best: dict[tuple[str, ...], Match] = {}
    for ids, recipe in candidates:
        share = explained_share(kitchen, trials, recipe, at_least=LEAST)
        if share >= LEAST and (ids not in best or share > best[ids].share):
            best[ids] = Match(ids, share)
    found = sorted(best.values(), key=lambda match: -match.share)
    return [match for match in found if match.share >= found[0].share - EQUAL]


def explained_share(kitchen: Kitchen, trials: Sequence[Trial], recipe: Recipe, *, at_least: float = 0.0) -> float:
    """Share of the wrong pixels of all calls that a recipe explains; 0 as soon as one call shows less than `at_least`."""
    explained = wrong = 0
    for trial in trials:
        if not trial.possible(recipe):
            return 0.0
        same, of = trial.explained(kitchen.recall(trial.scene, recipe))
        if same < at_least * of - FEW:
            return 0.0
        explained, wrong = explained + same, wrong + of
    return explained / wrong if wrong else 0.0


def _pairs(num_classes: int, *, quick: bool) -> Iterator[tuple[tuple[str, ...], Recipe]]:
    """Two mistakes at different stages, in each of their variants."""
    known = [
        (mistake.id, recipe.changes)
        for mistake in MISTAKES
        for recipe in recipes(mistake, num_classes, most_orders=0)
        if mistake.id != "no-op"
    ]
    for index, (one, changes) in enumerate(known):
        for other, more in known[index + 1 :]:
            if one == other or changes.keys() & more.keys():
                continue
            if not (quick and _own_gradient(changes) and _own_gradient(more)):
                yield (one, other), replace(RIGHT, **changes, **more)


def _own_gradient(changes: Changes) -> bool:
    """Whether a mistake needs gradients that the right method does not take."""
    recipe = replace(RIGHT, **changes)
    return recipe.gradient != RIGHT.gradient or step_sizes(recipe.steps)[0] > 1


def named(found: Sequence[Match]) -> list[Finding]:
    """What is said of the matches: a finding for each mistake of the best one, and beside it those that look the same."""
    if not found:
        return []
    first, *others = found
    if len(first.ids) == 1:
        also = tuple(match.ids[0] for match in others)
        beside = f"; {', '.join(also)} would give the same on these cases" if also else ""
        return [_finding(BY_ID[first.ids[0]], f"the reference with this mistake gives {_percent(first)}{beside}", also)]
    beside = "".join(f"; so would {' with '.join(match.ids)}" for match in others[:SHOWN])
    evidence = "the reference with both {} gives {}{}"
    return [
        _finding(BY_ID[name], evidence.format(" and ".join(first.ids), _percent(first), beside)) for name in first.ids
    ]


def _percent(match: Match) -> str:
    return f"{100 * match.share:.1f} % of the wrong pixels"


def _finding(mistake: Mistake, evidence: str, also: tuple[str, ...] = ()) -> Finding:
    return Finding(mistake.id, f"{mistake.summary}: {evidence}", mistake.remedy, also)


def unknown(kitchen: Kitchen, trials: Sequence[Trial]) -> Finding:
    """A disagreement that no known mistake explains, with the pixels that show it and the mistake that comes nearest."""
    trial = max(trials, key=lambda trial: float(trial.judgement.wrong.float().mean()))
    gradient, wrong = kitchen.gradient(trial.scene, RIGHT), trial.judgement.wrong
    places = wrong.nonzero().tolist()
    shown = (
        f"image {place[0]} pixel {place[1:]}: clean {_at(trial.scene.x, place)}, expected "
        f"{_at(trial.judgement.expected, place)}, got {_at(trial.images, place)}, gradient {_at(gradient, place)}"
        for place in places[:SHOWN]
    )
    near = max(
        (explained_share(kitchen, [trial], recipe), mistake.id)
        for mistake in MISTAKES
        for recipe in recipes(mistake, _num_classes(trial))
    )
    evidence = (
        f"{len(places):,} of {wrong.numel():,} pixels of one call are wrong and no known mistake explains them "
        f"(nearest: {near[1]}, {100 * near[0]:.0f} %); {'; '.join(shown)}"
    )
    return Finding("unknown", evidence, "compare gradient and step at these pixels with those of a library")


def _at(images: Tensor, place: list[int]) -> str:
    return f"{float(images[tuple(place)]):.6g}"
