"""Evaluate a classifier under FGSM on a data set, at one budget or several."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from robustbench_fgsm.attack.outputs import read_for_loss
from robustbench_fgsm.data.dataset import Dataset, describe_data, first_readable_batch
from robustbench_fgsm.data.match_model import as_classifier_and_data, match_to_classifier
from robustbench_fgsm.engine.choose_plan import choose_plan
from robustbench_fgsm.engine.close_predictions import TRIAL_IMAGES, RecordList, measure_rounding
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.outputs_on_noise import outputs_on_noise
from robustbench_fgsm.engine.plan import Plan, PlannedClassifier, apply_plan, check_optimize_level
from robustbench_fgsm.engine.preflight import check_single_epsilon, preflight_all
from robustbench_fgsm.engine.progress import Progress as Progress
from robustbench_fgsm.engine.progress import ProgressReporter
from robustbench_fgsm.engine.progress_bar import ProgressSetting, as_function, with_progress_bar
from robustbench_fgsm.engine.run_pieces import EngineResult, RunContext, attack_by_pieces, attack_dataset
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.checks import NO_CHECKS, run_checks, validate_checks
from robustbench_fgsm.evaluation.result import Evaluation, Sweep
from robustbench_fgsm.feature_values import FeatureArray
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.options import SWEEP_EPSILONS, AttackOptions, CheckOptions, DistanceOptions, RunOptions
from robustbench_fgsm.spec import DEFAULT_EPSILON_TEXT, UNTARGETED, AttackSpec
from robustbench_fgsm.stats.audit import AuditCounts

NO_OPTIMIZATION = RunOptions(optimize="none")
SINGLE_CALL = RunContext()
"""One process, without a store and without progress."""

MAX_KEPT_OUTCOMES = 2_000_000
"""Most predictions, before and after each attack, that an evaluation keeps in memory, in about 100 MB."""


@with_progress_bar
@neutral_settings(generators=True)
def evaluate(
    classifier: Classifier | nn.Module,
    data: Dataset | Any,
    epsilon: float | str = DEFAULT_EPSILON_TEXT,
    *,
    norm: str | float = AttackOptions.norm,
    epsilon_scale: str | FeatureArray | None = AttackOptions.epsilon_scale,
    targeted: str = UNTARGETED,
    loss: str = AttackOptions.loss,
    stable: bool = AttackOptions.stable,
    restarts: int = AttackOptions.restarts,
    seed: int = AttackOptions.seed,
    distance: bool = DistanceOptions.distance,
    max_epsilon: float | str = DistanceOptions.max_epsilon,
    pgd_check: int = CheckOptions.pgd,
    check_masking: bool = CheckOptions.masking,
    batch_size: int | str = RunOptions.batch_size,
    optimize: str = RunOptions.optimize,
    max_bad: int = RunOptions.max_bad,
    strict: bool = RunOptions.strict,
    progress: ProgressSetting = None,
) -> Evaluation:
    """Attack a classifier by FGSM at one budget: count predictions before and after, and success class by class.

    Args:
        classifier: the model to attack: a classifier, a bare `nn.Module`, or an ART estimator.
        data: the images and their labels: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        epsilon: budget in pixel space, as a number or as text such as `8/255`.
        norm: order of the norm: `inf`, or any real p >= 1.
        epsilon_scale: what epsilon is multiplied by in each feature: `range` for low to high, or numbers, as in `fgsm`.
        targeted: class at which the attack aims: `none`, `next` (label + 1), `shift:2`, `random`, `least-likely` or `class:NAME`.
        loss: loss that the attack increases: `ce`, `log-probabilities`, `probabilities`, `bce`, `bce-with-logits` or `margin`, as
            in `fgsm`; `logits` is `ce`, and the outputs are logits whatever they look like.
        stable: use exact cross-entropy gradients for all images, also if float32 saturates.
        restarts: number of random starts beside the clean one; the best start of each image counts.
        seed: seed of random targets and random starts, an integer >= 0.
        distance: also measure each image's distance, the smallest budget along its one direction that fools it.
        max_epsilon: largest budget tried for a distance, in the units of the images.
        pgd_check: number of images on which PGD-20 runs too, at the largest budget; 0 for no check.
            The seed draws the images, each class in proportion to its share.
        check_masking: also look for signs of gradient masking, on `pgd_check` images, or on 200 if that is 0.
        batch_size: images in a batch, or `auto`.
        optimize: `none`, `safe` (faster, same counts) or `max` (may change a few counts).
        max_bad: number of unreadable images above which the result is invalid.
        strict: raise an error if a preflight check warns.
        progress: called with images done and images in all; by default a bar in notebooks and terminals; False for none.

    Returns:
        The evaluation, with counts, rates and their intervals.

    Raises:
        SettingError, ModelError, DataError: if settings, model and data do not fit each other; before the first attack.
    """
    classifier, data = as_classifier_and_data(classifier, data)
    attack = AttackOptions(epsilon, norm, epsilon_scale, targeted, loss, stable, restarts, seed)
    (spec,) = DistanceOptions(distance, max_epsilon).apply([attack.to_spec(classifier.bounds)])
    check_single_epsilon(spec)
    run_options, checks = RunOptions(batch_size, optimize, max_bad, strict), CheckOptions(pgd_check, check_masking)
    (evaluation,) = _run_and_keep_records(classifier, data, [spec], run_options, checks, as_function(progress))
    return evaluation


@with_progress_bar
@neutral_settings(generators=True)
def sweep(
    classifier: Classifier | nn.Module,
    data: Dataset | Any,
    epsilons: Iterable[float] | str = SWEEP_EPSILONS,
    *,
    norm: str | float = AttackOptions.norm,
    epsilon_scale: str | FeatureArray | None = AttackOptions.epsilon_scale,
    targeted: str | Sequence[str] = UNTARGETED,
    loss: str = AttackOptions.loss,
    stable: bool = AttackOptions.stable,
    restarts: int = AttackOptions.restarts,
    seed: int = AttackOptions.seed,
    distance: bool = DistanceOptions.distance,
    max_epsilon: float | str = DistanceOptions.max_epsilon,
    pgd_check: int = CheckOptions.pgd,
    check_masking: bool = CheckOptions.masking,
    batch_size: int | str = RunOptions.batch_size,
    optimize: str = RunOptions.optimize,
    max_bad: int = RunOptions.max_bad,
    strict: bool = RunOptions.strict,
    progress: ProgressSetting = None,
) -> Sweep:
    """Attack a classifier by FGSM at several budgets, with one evaluation for each targeting rule.

    Without restarts, one gradient for each batch and rule serves all budgets.

    Args:
        classifier: the model to attack: a classifier, a bare `nn.Module`, or an ART estimator.
        data: the images and their labels: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        epsilons: budgets in pixel space, all different, as numbers or as text such as `1,2,4/255`.
        norm: order of the norm: `inf`, or any real p >= 1.
        epsilon_scale: what epsilon is multiplied by in each feature: `range` for low to high, or numbers, as in `fgsm`.
        targeted: one targeting rule or several, of `none`, `next` (label + 1), `shift:2`, `random`, `least-likely` or `class:NAME`.
        loss: loss that the attack increases: `ce`, `log-probabilities`, `probabilities`, `bce`, `bce-with-logits` or `margin`, as
            in `fgsm`; `logits` is `ce`, and the outputs are logits whatever they look like.
        stable: use exact cross-entropy gradients for all images, also if float32 saturates.
        restarts: number of random starts beside the clean one; the best start of each image counts.
        seed: seed of random targets and random starts, an integer >= 0.
        distance: also measure each image's distance, the smallest budget along its one direction that fools it.
        max_epsilon: largest budget tried for a distance, in the units of the images.
        pgd_check: number of images on which PGD-20 runs too, at the largest budget; 0 for no check.
            The seed draws the images, each class in proportion to its share.
        check_masking: also look for signs of gradient masking, on `pgd_check` images, or on 200 if that is 0.
        batch_size: images in a batch, or `auto`.
        optimize: `none`, `safe` (faster, same counts) or `max` (may change a few counts).
        max_bad: number of unreadable images above which the result is invalid.
        strict: raise an error if a preflight check warns.
        progress: called with images done and images in all; by default a bar in notebooks and terminals; False for none.

    Returns:
        A list with one evaluation for each different rule, in the order of the rules.

    Raises:
        SettingError, ModelError, DataError: if settings, model and data do not fit each other; before the first attack.
    """
    classifier, data = as_classifier_and_data(classifier, data)
    attack = AttackOptions(epsilons, norm, epsilon_scale, targeted, loss, stable, restarts, seed)
    specs = DistanceOptions(distance, max_epsilon).apply(attack.to_specs(classifier.bounds))
    run_options, checks = RunOptions(batch_size, optimize, max_bad, strict), CheckOptions(pgd_check, check_masking)
    return Sweep(_run_and_keep_records(classifier, data, specs, run_options, checks, as_function(progress)))


def _run_and_keep_records(
    classifier: Classifier,
    data: Dataset,
    specs: Sequence[AttackSpec],
    run_options: RunOptions,
    checks: CheckOptions,
    progress: Progress | None,
) -> list[Evaluation]:
    """Run the attacks, and keep the outcomes of each image for `Evaluation.save`, unless there are too many images."""
    outcomes = len(data) * sum(len(spec.epsilons) + 1 for spec in specs)
    if outcomes > MAX_KEPT_OUTCOMES:
        return run_attacks(classifier, data, specs, run_options, checks, context=RunContext(progress=progress))
    store = RecordList()
    context = RunContext(store=store, progress=progress, restart=store.restart)
    found = run_attacks(classifier, data, specs, run_options, checks, context=context)
    return [replace(evaluation, records=store, attack_index=index) for index, evaluation in enumerate(found)]


def run_attacks(
    classifier: Classifier,
    data: Dataset,
    specs: Sequence[AttackSpec],
    run_options: RunOptions = NO_OPTIMIZATION,
    checks: CheckOptions = NO_CHECKS,
    *,
    plan: Plan | PlannedClassifier | None = None,
    warnings: Sequence[str] | None = None,
    context: RunContext = SINGLE_CALL,
) -> list[Evaluation]:
    """Run parsed attacks in a single pass over the data, and return one evaluation for each; see `evaluate` for the settings.

    Args:
        classifier: the model to attack.
        data: the images and their labels.
        specs: the attacks.
        run_options: batch size, level, and limits.
        checks: checks that the main process runs at the end.
        plan: execution plan, alone or with its classifiers; by default a plan is chosen now.
        warnings: result of `preflight_all`; by default it runs now.
        context: processes that share the pieces, each of which returns the evaluations; the store, whose pieces are not attacked
            again; and progress functions.
    """
    started = time.perf_counter()
    classifier = read_for_loss(classifier, specs[0].loss)
    for spec in specs:
        check_distinct_epsilons(spec)
        if spec.max_epsilon is not None and getattr(classifier, "uses_batch_statistics", False):
            raise SettingError(
                "distances need outputs that do not depend on the batch, got a network with batch statistics: leave distance out"
            )
    validate_checks(checks, specs, classifier)
    check_optimize_level(run_options.optimize)
    data = match_to_classifier(data, classifier)
    if warnings is None:
        warnings = preflight_all(classifier, data, specs, strict=run_options.strict)
    if not isinstance(plan, PlannedClassifier):
        plan = plan or choose_plan(classifier, data, specs, run_options)
        plan = apply_plan(classifier, context.world.broadcast(plan))
    world = context.world
    result = _attack_all(plan, data, specs, context)
    if (refuted := plan_after_audit(plan.plan, result)) is not None:
        store = None if context.restart is None else context.restart(refuted)
        plan = apply_plan(classifier, refuted)
        result = _attack_all(plan, data, specs, replace(context, store=store))
    size = plan.plan.batch_size
    own_checks = [run_checks(classifier, data, spec, checks, size, context.check_progress) for spec in specs if world.is_main]
    all_checks = world.broadcast(own_checks)
    environment, seconds = describe_environment(classifier.device), time.perf_counter() - started
    data_entry = describe_data(data)
    return [
        Evaluation(
            classifier.info,
            spec,
            total.tallies,
            total.stable,
            tuple(total.first_fooled.tolist()),
            (*warnings, *result.warnings),
            plan.plan,
            total.decided_again,
            total.audit,
            *made_checks,
            total.distances,
            total.distances_stable,
            repeated=result.repeated,
            data=data_entry,
            environment=environment,
            seconds=seconds + result.resumed_seconds,
            bad=tuple(result.bad),
            max_bad=run_options.max_bad,
        )
        for spec, total, made_checks in zip(specs, result.totals, all_checks, strict=True)
        if total.tallies[0].n
    ]


def _attack_all(planned: PlannedClassifier, data: Dataset, specs: Sequence[AttackSpec], context: RunContext) -> EngineResult:
    world, store = context.world, context.store
    report_progress = ProgressReporter(len(data), world, context.progress, context.fooled_progress)
    if store is None and world.size == 1:
        return attack_dataset(planned, data, specs, report_progress)
    if store is not None:  # which keeps what becomes of each image
        batch = first_readable_batch(data, TRIAL_IMAGES)
        measure = partial(measure_rounding, planned.plain_classifier, batch, len(data), specs[0], data.classes)
        if isinstance(store, RecordList):
            network, rounding = planned.plain_classifier, None
            store.measure = lambda: (measure(), outputs_on_noise(network, lambda: batch))
        else:
            rounding = world.broadcast(measure() if world.is_main else None)
        planned = replace(planned, rounding=rounding, keeps_margins=isinstance(store, RecordList) or rounding is not None)
    return attack_by_pieces(planned, data, specs, store, world, report_progress)


def plan_after_audit(plan: Plan, result: EngineResult) -> Plan | None:
    """Return the plain plan, with its reason, if an audited image of any attack differs from the plain network; else None."""
    audit = sum((total.audit for total in result.totals), AuditCounts())
    if not audit.differing:
        return None
    reason = f"audit: {audit.differing:,} of {audit.audited:,} predictions differed from the plain network"
    return Plan(plan.level, batch_size=plan.batch_size, threads=plan.threads, reason=reason)


def check_distinct_epsilons(spec: AttackSpec) -> None:
    """Raise SettingError unless there is a budget and all budgets differ."""
    if not spec.epsilons or len(set(spec.epsilons)) != len(spec.epsilons):
        raise SettingError(f"epsilons must be at least one and all different, got {list(spec.epsilons)}")
