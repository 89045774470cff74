"""Attack a classifier over a data set, at one budget or many, and count."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from robustbench_fgsm.data.dataset import BadSample, Dataset, describe, readable
from robustbench_fgsm.data.fit import fit_to
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.measure.attacks import observe
from robustbench_fgsm.measure.environment import describe_environment
from robustbench_fgsm.measure.evaluation import Evaluation
from robustbench_fgsm.measure.preflight import check_batch_size, check_images, check_single, preflight
from robustbench_fgsm.measure.tally import Counts, Outcomes, Tally
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import DEFAULT_EPSILON, AttackSpec, TargetRule, parse_epsilon, parse_norm

DEFAULT_EPSILONS = (1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255)

Progress = Callable[[int, int], None]
"""Called with images done and images in all."""


def evaluate(
    classifier: Classifier,
    data: Dataset,
    epsilon: float | str = DEFAULT_EPSILON,
    *,
    norm: str | float = "inf",
    targeted: str = "none",
    loss: str = "ce",
    stable: bool = False,
    restarts: int = 0,
    batch_size: int | str = "auto",
    seed: int = 0,
    max_bad: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """How FGSM fares at one budget: confusion before and after, and success class by class.

    epsilon: one budget in pixel space, as a number or `8/255`. norm: `inf`, or any real p >= 1. targeted: `none`, `next`,
    `shift:2`, `random`, `least-likely` or `class:NAME`. loss: `ce`, `log-probabilities`, `probabilities` or `margin`.
    stable: exact cross-entropy gradients for all images. restarts: random starts beside the clean one, the best for each
    image. batch_size: images at a time, or `auto`. seed: of random targets and starts. max_bad: images that may be
    unreadable before the run counts as invalid. strict: take what is suspicious before the attack for an error. progress:
    called with images done and images in all.

    Raises SettingError, ModelError or DataError where these do not make sense together, before the first attack.
    """
    order = parse_norm(norm)
    spec = AttackSpec(
        parse_epsilon(epsilon, order, classifier.bounds),
        order,
        TargetRule.parse(targeted),
        loss,
        classifier.bounds,
        seed,
        restarts,
        stable,
    )
    check_single(spec)
    (evaluation,) = run_attacks(
        classifier, data, [spec], batch_size=batch_size, max_bad=max_bad, strict=strict, progress=progress
    )
    return evaluation


def sweep(
    classifier: Classifier,
    data: Dataset,
    epsilons: Iterable[float] | str = DEFAULT_EPSILONS,
    *,
    norm: str | float = "inf",
    targeted: str | Sequence[str] = "none",
    loss: str = "ce",
    stable: bool = False,
    restarts: int = 0,
    batch_size: int | str = "auto",
    seed: int = 0,
    max_bad: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """How FGSM fares at several budgets, one evaluation for each targeting rule; arguments otherwise as for `evaluate`.

    epsilons: budgets, or a list such as `1,2,4/255`. targeted: one rule or several. Without restarts one gradient a batch
    and rule serves all budgets.
    """
    order = parse_norm(norm)
    if isinstance(epsilons, str):
        budgets = parse_epsilon(epsilons, order, classifier.bounds)
    else:
        budgets = tuple(value for epsilon in epsilons for value in parse_epsilon(epsilon, order, classifier.bounds))
    rules = [TargetRule.parse(rule) for rule in ([targeted] if isinstance(targeted, str) else targeted)]
    specs = [
        AttackSpec(budgets, order, rule, loss, classifier.bounds, seed, restarts, stable)
        for rule in dict.fromkeys(rules)
    ]
    return run_attacks(
        classifier, data, specs, batch_size=batch_size, max_bad=max_bad, strict=strict, progress=progress
    )


def run_attacks(
    classifier: Classifier,
    data: Dataset,
    specs: Sequence[AttackSpec],
    *,
    batch_size: int | str = "auto",
    max_bad: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """One evaluation for each attack, from a single pass over the data, for settings that are parsed already."""
    began = time.perf_counter()
    for spec in specs:
        check_budgets(spec)
    size, data = check_batch_size(batch_size), fit_to(data, classifier)
    found = (warning for spec in specs for warning in preflight(classifier, data, spec, strict=strict))
    warnings = list(dict.fromkeys(found))
    totals: list[_Totals | None] = [None] * len(specs)
    done = 0
    bad: list[BadSample] = []
    for batch in readable(data, 0, len(data), size, bad):
        check_images(batch, classifier)
        for index, spec in enumerate(specs):
            counted = _Totals.of(*observe(classifier, batch, spec, data.classes), spec, classifier.num_classes)
            before = totals[index]
            totals[index] = counted if before is None else before + counted
        done += len(batch)
        if progress is not None:
            progress(done + len(bad), len(data))
    environment, seconds = describe_environment(classifier.device), time.perf_counter() - began
    described = describe(data)
    return [
        Evaluation(
            classifier.info,
            described,
            spec,
            total.ordinary,
            total.stable,
            tuple(total.first_fooled.tolist()),
            tuple(warnings),
            environment,
            seconds,
            tuple(bad),
            max_bad,
        )
        for spec, total in zip(specs, totals, strict=True)
        if total is not None
    ]


def check_budgets(spec: AttackSpec) -> None:
    """Raise SettingError for no budget, or the same one twice."""
    if not spec.epsilons or len(set(spec.epsilons)) != len(spec.epsilons):
        raise SettingError(f"epsilons must be at least one and all different, got {list(spec.epsilons)}")


@dataclass(frozen=True)
class _Totals:
    """Counts of one attack that add: a tally for each budget, twice, and where in the grid images are fooled first."""

    ordinary: tuple[Tally, ...]
    stable: tuple[Tally, ...]
    first_fooled: Counts

    @classmethod
    def of(cls, ordinary: list[Outcomes], stable: list[Outcomes], spec: AttackSpec, num_classes: int) -> _Totals:
        tallies = tuple(Tally.of(outcomes, num_classes) for outcomes in ordinary)
        again = tallies if stable is ordinary else tuple(Tally.of(outcomes, num_classes) for outcomes in stable)
        return cls(tallies, again, count_first_fooled(ordinary, spec.epsilons))

    def __add__(self, other: _Totals) -> _Totals:
        return _Totals(
            tuple(mine + theirs for mine, theirs in zip(self.ordinary, other.ordinary, strict=True)),
            tuple(mine + theirs for mine, theirs in zip(self.stable, other.stable, strict=True)),
            self.first_fooled + other.first_fooled,
        )


def count_first_fooled(outcomes: Sequence[Outcomes], epsilons: Sequence[float]) -> Counts:
    """Attacked images by the place in the ascending grid at which they are first fooled; last, those that never are."""
    ascending = [outcomes[index] for index in np.argsort(epsilons, kind="stable")]
    attacked = ascending[0].attacked
    hits = np.stack([found.fooled for found in ascending] + [attacked])  # the last row catches all that are left
    return np.bincount(hits[:, attacked].argmax(0), minlength=len(hits))
