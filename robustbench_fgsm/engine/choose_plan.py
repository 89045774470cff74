"""Choose the execution plan of a run: what is faster on its first images, and gives the plain network's numbers on them."""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from robustbench_fgsm.data.dataset import Batch, Dataset
from robustbench_fgsm.engine.attack_batch import attack_batch, craft_and_predict, synchronise
from robustbench_fgsm.engine.batch_size import choose_batch_size
from robustbench_fgsm.engine.out_of_memory import run_on_fitting_prefix
from robustbench_fgsm.engine.plan import Plan, PlanChanges, PlannedClassifier, apply_plan, check_optimize_level
from robustbench_fgsm.engine.plan_trial import TrialFailure, copied_classifier, try_plan
from robustbench_fgsm.engine.preflight import evenly_spaced_batch
from robustbench_fgsm.engine.rounding_guard import AUDIT_IMAGES
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.models.batch_norm_folding import fold_batch_norm
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, has_convolutions, move_to_classifier
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.spec import AttackSpec, is_multi_label

MIN_AUDITED_IMAGES = 2000
"""In a smaller run the audit of a guarded plan is the whole run, and the plan cannot save time."""

TRIAL_PASSES = 12
"""Forward passes of a batch, approximately, that trying and timing a plan costs."""

GRADIENT_PASSES = 3
"""Forward passes that take as long as one gradient, approximately."""

MAX_TRIAL_SHARE = 0.1
"""A plan is tried only if the trial costs less than this share of the passes that the plan can speed up."""

MIN_TRIAL_IMAGES = CHANGED_IMAGES = 32
"""Fewest images of the trial of an inexact plan, and images on which its changes are counted."""

REDUCED_PRECISIONS: dict[str, tuple[str, ...]] = {"cuda": ("tf32", "bf16")}
"""Precisions in which level safe may predict, by the kind of device; the guard decides images at risk in float32."""

PIXEL_TOLERANCE = 1e-6
"""Pixels farther apart than this count as changed."""

TIMING_ROUNDS = 2
MAX_TIME_RATIO = 0.95
"""A guarded plan must take less than this share of the plain time, including its audit."""

COMPILE_SECONDS = {"cpu": 60.0, "cuda": 90.0}
"""Seconds, estimated high, to compile the forward and the backward pass of a large network."""

COMPILE_SAVED_SHARE = {"cpu": 0.05, "cuda": 0.2}
"""Share of the time, estimated low, that compilation saves: little on a CPU."""

Timer = Callable[[PlannedClassifier, Batch, AttackSpec, tuple[str, ...]], float]
"""Returns the seconds that the planned part of an attack takes on one batch."""


def choose_plan(
    classifier: Classifier,
    data: Dataset,
    specs: Sequence[AttackSpec],
    options: RunOptions,
    recorded: Plan | None = None,
    timer: Timer | None = None,
    *,
    audited: bool = True,
) -> Plan:
    """Choose the plan for these attacks on these data by trying and timing it on a few images.

    Args:
        classifier: the classifier under attack.
        data: the attacked images.
        specs: the attacks that run in one pass.
        options: the level, and images at a time, or `auto`.
        recorded: plan of the same run, which is kept if level and batch size agree.
        timer: function that replaces the clock.
        audited: whether the command audits its predictions, which a guarded plan needs.

    Raises:
        SettingError: if there is no such level, or the batch size is invalid.
    """
    level = check_optimize_level(options.optimize)
    if recorded is not None and recorded.level == level and options.batch_size in ("auto", recorded.batch_size):
        return recorded
    size = choose_batch_size(options.batch_size, classifier, data)
    plan = Plan(level, batch_size=size, threads=torch.get_num_threads())
    if level == "none":
        return plan
    if not isinstance(classifier, TorchClassifier) or not classifier.has_variants:
        return replace(plan, reason="the classifier runs in one way only")
    if reason := _reason_for_plain_plan(data, specs, plan, audited=audited):
        return replace(plan, reason=reason)
    images = evenly_spaced_batch(data, _trial_size(data, specs, plan))
    return run_on_fitting_prefix(images, lambda batch: TrialRunner(classifier, data, specs, batch, timer).choose(plan))


def check_recorded_plan(classifier: Classifier, data: Dataset, specs: Sequence[AttackSpec], plan: Plan) -> None:
    """Raise SettingError unless the recorded plan of a run that is continued passes its trial here and now too."""
    if not plan.is_plain and isinstance(classifier, TorchClassifier):
        images = evenly_spaced_batch(data, plan.batch_size if plan.trial is None else plan.trial.images)
        run_on_fitting_prefix(images, lambda batch: TrialRunner(classifier, data, specs, batch).check(plan))


def _trial_size(data: Dataset, specs: Sequence[AttackSpec], plan: Plan) -> int:
    """Return the number of trial images: a batch, or fewer for an inexact plan in a short run; 0 if these take too long too."""
    n, safe = len(data), plan.level == "safe"
    passes = n * (min(len(spec.epsilons) for spec in specs) + (0 if safe else GRADIENT_PASSES))
    sizes = [plan.batch_size, plan.batch_size if safe else min(plan.batch_size, max(MIN_TRIAL_IMAGES, n // 100))]
    return next((size for size in sizes if TRIAL_PASSES * size <= MAX_TRIAL_SHARE * passes), 0)


def _reason_for_plain_plan(data: Dataset, specs: Sequence[AttackSpec], plan: Plan, *, audited: bool) -> str:
    """Return why no plan is tried, or an empty text: it could not be guarded, or could not save time."""
    if plan.level == "safe":
        if not audited:
            return "level safe is for evaluate and sweep, which audit their predictions"
        if is_multi_label(data):
            return "level safe guards the margin between two classes, which several labels for an image do not have"
        if any(spec.restarts for spec in specs):
            return "the best of several starts may depend on the last bits of each"
        if len(data) < MIN_AUDITED_IMAGES:
            return f"fewer than {MIN_AUDITED_IMAGES:,} images, all of which would be audited"
    return "" if _trial_size(data, specs, plan) else "the run is too short for a trial"


@dataclass(frozen=True)
class TrialRunner:
    """Runner of the trials of plans on one batch of trial images; timer: see `choose_plan`."""

    classifier: TorchClassifier
    data: Dataset
    specs: Sequence[AttackSpec]
    batch: Batch
    timer: Timer | None = None

    def choose(self, plan: Plan) -> Plan:
        """Return the fastest plan of the level that passes its trial."""
        safe, on_gpu, reasons = plan.level == "safe", self.classifier.device.type == "cuda", list[str]()
        if not safe:
            plan = replace(plan, tf32=on_gpu)
        layouts = ["contiguous", "channels_last"]
        if not (has_convolutions(self.classifier.network) and self.batch.images.ndim == 4):
            layouts, reasons = layouts[:1], ["a network without convolutions has no layout to choose"]
        elif plan.tf32:  # TF32 kernels need channels last; a trial on few images would time kernel launches
            layouts = layouts[1:]
        passed: list[Plan] = []
        for fold in [False] if safe or not self._can_fold() else [True, False]:
            tried = [replace(plan, fold_batch_norm=fold, memory_format=layout) for layout in layouts]
            reduced = REDUCED_PRECISIONS.get(self.classifier.device.type, ()) if safe else ()
            tried += [replace(tried[-1], tf32=precision == "tf32", bf16=precision == "bf16") for precision in reduced]
            passed = passed or self._passing(tried, reasons)
        passed = passed or [replace(plan, tf32=False)]
        seconds = [0.0] if safe and len(passed) == 1 else self._time(passed)
        if safe:
            audit_seconds = seconds[0] * AUDIT_IMAGES / len(self.data)
            seconds[1:] = [(planned + audit_seconds) / MAX_TIME_RATIO for planned in seconds[1:]]
        best = passed[seconds.index(min(seconds))]
        if best.memory_format == "contiguous" and any(one.memory_format == "channels_last" for one in passed):
            reasons.append("channels-last was not faster")
        if best.precision == "float32" and any(one.precision != "float32" for one in passed):
            reasons.append("reduced precision was not faster")
        if not safe and self._compilation_pays_off(min(seconds)):
            best = next(iter(self._passing([replace(best, compile=True)], reasons)), best)
        best = replace(best, reason="; ".join(dict.fromkeys(reasons)))
        return best if safe or best.is_plain else replace(best, changed=self._changes(best))

    def check(self, recorded: Plan) -> None:
        """Raise SettingError if a recorded plan fails its trial, or its rounding errors exceed the recorded bounds."""
        try:
            guards = [plan.trial.guard for plan in (recorded, self._try(recorded)) if plan.trial and plan.trial.guard]
            if recorded.guarded and not (len(guards) == 2 and guards[1].largest <= guards[0].relative):
                raise TrialFailure("rounding errors exceed the recorded bounds")
        except TrialFailure as failure:
            raise SettingError(
                f"the recorded plan must give the plain network's numbers, got {failure}: "
                "continue the run where it started, or choose another directory"
            ) from failure

    def _can_fold(self) -> bool:
        with copied_classifier(self.classifier) as copied:
            folds = fold_batch_norm(copied.network) is not None
        gc.collect()  # tracing leaves cycles, and with them a copy of the weights
        return folds

    def _passing(self, plans: Sequence[Plan], reasons: list[str]) -> list[Plan]:
        """Return the plans that pass, with their trials, and add why others fail to the reasons."""
        passed = []
        for plan in plans:
            try:
                passed.append(self._try(plan))
            except TrialFailure as failure:
                reasons.append(str(failure))
        return passed

    def _try(self, plan: Plan) -> Plan:
        spec = max(self.specs, key=lambda spec: max(spec.epsilons))
        return try_plan(self.classifier, plan, self.batch, len(self.data), spec, self.data.classes)

    def _time(self, plans: Sequence[Plan]) -> list[float]:
        """Return the seconds of each plan; the first run of each, which also allocates, does not count."""
        timer, batch = self.timer or measure_attack_seconds, self.batch
        with copied_classifier(self.classifier) as copied:
            if plans[0].level == "safe":  # which predicts adversarial images: more of them are at risk than of clean ones
                step = attack_batch(copied, batch, self.specs[0], self.data.classes).gradient_step
                batch = replace(batch, images=step.perturb(max(self.specs[0].epsilons)).cpu())
            given = batch, self.specs[0], self.data.classes
            planned = [apply_plan(copied, plan) for plan in plans]
            rounds = [[timer(one, *given) for one in planned] for _ in range(TIMING_ROUNDS + 1)]
        return [min(seconds) for seconds in zip(*rounds[1:], strict=True)]

    def _compilation_pays_off(self, seconds: float) -> bool:
        device, whole = self.classifier.device, seconds / len(self.batch) * len(self.data)
        return compiler_available(device) and compile_pays_off(whole, device)

    def _changes(self, plan: Plan) -> PlanChanges:
        """Return the changes by the plan on the first trial images, at the last budget."""
        spec, batch = self.specs[0], self.batch.at(slice(CHANGED_IMAGES))
        plain, planned = (
            craft_and_predict(one, attack_batch(one, batch, spec, self.data.classes), spec, spec.epsilons[-1])
            for one in (self.classifier, apply_plan(self.classifier, replace(plan, compile=False)).classifier)
        )
        pixels = (plain[0] - planned[0]).abs() > PIXEL_TOLERANCE
        predictions = (plain[1] != planned[1]).reshape(len(batch), -1).any(1)
        return PlanChanges(len(batch), int(predictions.sum()), pixels.numel(), int(pixels.sum()))


def measure_attack_seconds(planned: PlannedClassifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...]) -> float:
    """Return the seconds of the predictions at every budget, estimated from one, and of the gradient if the level plans it.

    On a CPU they are processor time over the number of threads, which other programs hardly change.
    """
    device, x = planned.classifier.device, move_to_classifier(batch.images, planned.classifier)
    clock, threads = time.perf_counter, 1
    if device.type == "cpu" and os.name == "posix":  # elsewhere processor time has steps of 16 ms
        clock, threads = time.process_time, torch.get_num_threads()
    synchronise(device)
    began = clock()
    if planned.plan.level != "safe":
        x = attack_batch(planned.classifier, batch, spec, classes).gradient_step.perturb(spec.epsilons[0])
        synchronise(device)
    crafted = clock()
    planned.predict(x)
    synchronise(device)
    return (crafted - began + len(spec.epsilons) * (clock() - crafted)) / threads


def compiler_available(device: torch.device) -> bool:
    """Return whether the device has its compiler: a C++ compiler, or Triton on a GPU."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return device.type == "cpu" and any(map(shutil.which, ("g++", "clang++", "cl")))


def compile_pays_off(seconds: float, device: torch.device) -> bool:
    """Return whether a run of that many seconds is faster with compilation."""
    return device.type in COMPILE_SECONDS and seconds * COMPILE_SAVED_SHARE[device.type] > COMPILE_SECONDS[device.type]
