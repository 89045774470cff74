"""Attack a classifier over a data set, at one budget or many, and count."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from robustbench_fgsm.data.dataset import Dataset, describe_data
from robustbench_fgsm.data.match_model import match_to_classifier
from robustbench_fgsm.engine.distributed import SINGLE_PROCESS, World
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.pieces import NullStore, PieceStore
from robustbench_fgsm.engine.plan import Plan, PlannedClassifier, apply_plan, check_optimize_level, choose_plan
from robustbench_fgsm.engine.preflight import check_batch_size, check_single_epsilon, preflight_all
from robustbench_fgsm.engine.progress import CheckProgress, FooledProgress, ProgressReporter
from robustbench_fgsm.engine.progress import Progress as Progress
from robustbench_fgsm.engine.run_pieces import attack_by_pieces, attack_dataset
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.checks import NO_CHECKS, run_checks, validate_checks
from robustbench_fgsm.evaluation.result import Evaluation
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import DEFAULT_EPSILON, AttackSpec, CheckOptions, TargetRule, parse_epsilon, parse_norm

DEFAULT_EPSILONS = (1 / 255, 2 / 255, 4 / 255, 8 / 255, 16 / 255)


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
    pgd_check: int = 0,
    check_masking: bool = False,
    batch_size: int | str = "auto",
    optimize: str = "safe",
    seed: int = 0,
    max_bad: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """How FGSM fares at one budget: confusion before and after, and success class by class.

    epsilon: one budget in pixel space, as a number or `8/255`. norm: `inf`, or any real p >= 1. targeted: `none`, `next`,
    `shift:2`, `random`, `least-likely` or `class:NAME`. loss: `ce`, `log-probabilities`, `probabilities` or `margin`.
    stable: exact cross-entropy gradients for all images. restarts: random starts beside the clean one, the best for each
    image. pgd_check: images, drawn by the seed with each class's share, on which ART's PGD-20 is tried beside it.
    check_masking: look for signs that the gradient is masked, on these images or 200. batch_size: images at a time, or
    `auto`. optimize: `none`, `safe`, which leaves the counts as they are, or `max`. seed: of random targets and starts.
    max_bad: images that may be unreadable before the run counts as invalid. strict: take what is suspicious before the
    attack for an error. progress: called with images done and images in all.

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
    check_single_epsilon(spec)
    (evaluation,) = run_attacks(
        classifier,
        data,
        [spec],
        batch_size=batch_size,
        optimize=optimize,
        checks=CheckOptions(pgd_check, check_masking),
        max_bad=max_bad,
        strict=strict,
        progress=progress,
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
    pgd_check: int = 0,
    check_masking: bool = False,
    batch_size: int | str = "auto",
    optimize: str = "safe",
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
    specs = [AttackSpec(budgets, order, rule, loss, classifier.bounds, seed, restarts, stable) for rule in dict.fromkeys(rules)]
    return run_attacks(
        classifier,
        data,
        specs,
        batch_size=batch_size,
        optimize=optimize,
        checks=CheckOptions(pgd_check, check_masking),
        max_bad=max_bad,
        strict=strict,
        progress=progress,
    )


def run_attacks(
    classifier: Classifier,
    data: Dataset,
    specs: Sequence[AttackSpec],
    *,
    batch_size: int | str = "auto",
    optimize: str = "none",
    plan: Plan | PlannedClassifier | None = None,
    checks: CheckOptions = NO_CHECKS,
    max_bad: int = 0,
    strict: bool = False,
    warnings: Sequence[str] | None = None,
    progress: Progress | None = None,
    fooled_progress: FooledProgress | None = None,
    check_progress: CheckProgress | None = None,
    store: PieceStore | None = None,
    world: World = SINGLE_PROCESS,
) -> list[Evaluation]:
    """One evaluation for each attack, from a single pass over the data, for settings that are parsed already.

    plan: how to run, in place of one made now for `optimize` and the batch size; or that with its classifier. warnings: of
    `preflight_all`, where that was called already. watch: called with images fooled so far, at the last budget of the first
    attack, and images that could be. checks: made at the end, by rank 0; checking: called meanwhile. store: keeps finished
    pieces, and those that it has are not attacked again. world: the processes that share the pieces; all of them get the
    evaluations.
    """
    began = time.perf_counter()
    for spec in specs:
        check_distinct_epsilons(spec)
    validate_checks(checks, specs, classifier)
    check_optimize_level(optimize)
    check_batch_size(batch_size)
    data = match_to_classifier(data, classifier)
    if warnings is None:
        warnings = preflight_all(classifier, data, specs, strict=strict)
    if isinstance(plan, PlannedClassifier):
        execution = plan
    else:
        plan = plan or choose_plan(classifier, data, specs, optimize, batch_size)
        execution = apply_plan(classifier, world.broadcast(plan))
    say = ProgressReporter(len(data), world, progress, fooled_progress)
    if store is None and world.size == 1:
        counted = attack_dataset(execution, data, specs, say)
    else:
        counted = attack_by_pieces(execution, data, specs, store or NullStore(), world, say)
    size = execution.plan.batch_size
    made = [run_checks(classifier, data, spec, checks, size, check_progress) for spec in specs if world.is_main]
    beside = world.broadcast(made)
    environment, spent = describe_environment(classifier.device), time.perf_counter() - began
    described = describe_data(data)
    return [
        Evaluation(
            classifier.info,
            described,
            spec,
            total.tallies,
            total.stable,
            tuple(total.first_fooled.tolist()),
            (*warnings, *counted.warnings),
            environment,
            spent + counted.resumed_seconds,
            tuple(counted.bad),
            max_bad,
            execution.plan,
            total.decided_again,
            *found,
        )
        for spec, total, found in zip(specs, counted.totals, beside, strict=True)
        if total.tallies[0].n
    ]


def check_distinct_epsilons(spec: AttackSpec) -> None:
    """Raise SettingError for no budget, or the same one twice."""
    if not spec.epsilons or len(set(spec.epsilons)) != len(spec.epsilons):
        raise SettingError(f"epsilons must be at least one and all different, got {list(spec.epsilons)}")
