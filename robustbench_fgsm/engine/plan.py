"""Choose, record and apply the execution plan of a run: memory layout, folding, lower precision, compilation, batch size."""

from __future__ import annotations

import gc
import importlib.util
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, get_args

import torch
from torch import nn

from robustbench_fgsm.data.dataset import Batch, Dataset, first_readable_batch
from robustbench_fgsm.engine import rounding_guard
from robustbench_fgsm.engine.attack_batch import (
    attack_batch,
    craft_and_predict,
    predict_classes,
    synchronise,
    wrong_class_probability,
)
from robustbench_fgsm.engine.batch_size import choose_batch_size
from robustbench_fgsm.engine.out_of_memory import run_on_fitting_prefix
from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.models.batch_norm_folding import fold_batch_norm
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, has_convolutions
from robustbench_fgsm.options import RunOptions
from robustbench_fgsm.spec import AttackSpec

OptimizeLevel = Literal["none", "safe", "max", "bf16"]
INEXACT_LEVELS = ("max", "bf16")
"""Levels that may change a few predictions; the plan records how many."""

MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}

TRIAL_IMAGES = 32
"""Images that a plan is compared on, and the fewest that a layout is timed on."""

IMAGES_PER_TRIAL_IMAGE = 100
"""A layout is timed on one image in so many, up to a batch: which layout is faster depends on the batch size."""

PIXEL_TOLERANCE = 1e-6
"""Pixels farther apart than this count as changed."""

TIMING_ROUNDS = 2
MAX_TIME_RATIO = {"safe": 0.95, "max": 1.0, "bf16": 1.0}
"""A layout is changed only if it takes less than this share of the time; a guard computes uncertain images again."""

COMPILE_SECONDS = {"cpu": 60.0, "cuda": 90.0}
"""Seconds, estimated high, to compile the forward and the backward pass of a large network."""

COMPILE_SAVED_SHARE = {"cpu": 0.05, "cuda": 0.2}
"""Share of the time, estimated low, that compilation saves: little on a CPU."""

Timer = Callable[[Classifier, Batch, AttackSpec, tuple[str, ...]], float]
"""Returns the seconds of the whole job (gradient, and predictions at every budget) on one batch."""


@dataclass(frozen=True)
class PlanChanges:
    """Changes of a plan against level none, on a few images: adversarial predictions, and adversarial pixels, that differ."""

    images: int
    predictions_changed: int
    pixels: int
    pixels_changed: int


@dataclass(frozen=True)
class Plan:
    """Execution plan of a classifier.

    level: the requested level; reason: why the plan does not use all that the level allows. tf32, bf16: on a GPU, whether
    factors are rounded to 10 bits, and adversarial images predicted in bfloat16. changed: changes against level none on the
    first images, before any guard; None if they were not measured.
    """

    level: OptimizeLevel = "none"
    memory_format: str = "contiguous"
    fold_batch_norm: bool = False
    compile: bool = False
    tf32: bool = False
    batch_size: int = 128
    threads: int = 1
    reason: str = ""
    changed: PlanChanges | None = None
    bf16: bool = False

    @property
    def guarded(self) -> bool:
        """Return whether images at risk of rounding are decided again in the plain layout."""
        return self.level == "safe" and self.memory_format != "contiguous"

    @property
    def is_plain(self) -> bool:
        """Return whether the classifier runs unchanged."""
        return not (self.fold_batch_norm or self.compile or self.tf32 or self.bf16) and self.memory_format == "contiguous"

    @property
    def warnings(self) -> list[str]:
        """Return the warnings about systematic effects on the rates."""
        if not self.bf16:
            return []
        return [
            "adversarial images were predicted in bfloat16, which rounds off part of a small perturbation: robust accuracy is "
            "overstated by up to a point or so, so use another level for numbers to publish"
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        return {
            "level": self.level,
            "memory_format": self.memory_format,
            "fold_batch_norm": self.fold_batch_norm,
            "compile": self.compile,
            "tf32": self.tf32,
            "bf16": self.bf16,
            "batch_size": self.batch_size,
            "threads": self.threads,
            "reason": self.reason or None,
            "changed": None if self.changed is None else asdict(self.changed),
        }

    def settings(self) -> dict[str, Any]:
        """Return the entries that must be equal to continue a run."""
        names = ("level", "memory_format", "fold_batch_norm", "compile", "tf32", "bf16", "batch_size")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any] | None, batch_size: int = 128) -> Plan:
        """Return the plan that `to_dict` wrote, with the current number of threads; level none if an old run recorded no plan.

        Raises KeyError, TypeError or ValueError for any other object.
        """
        here = cls(batch_size=batch_size, threads=torch.get_num_threads())
        if found is None:
            return here
        changed = found.get("changed")
        flags = {name: found[name] for name in ("fold_batch_norm", "compile")}
        flags |= {name: found.get(name, False) for name in ("tf32", "bf16")}  # not there in older runs
        if not all(isinstance(flag, bool) for flag in flags.values()) or int(found["batch_size"]) < 1:
            raise TypeError(f"plan {flags}, batch size {found['batch_size']!r}")
        return replace(
            here,
            level=check_optimize_level(str(found["level"])),
            memory_format=check_memory_format(str(found["memory_format"])),
            **flags,
            batch_size=int(found["batch_size"]),
            reason=str(found.get("reason") or ""),
            changed=PlanChanges(**changed) if changed else None,
        )


PLAIN_PLAN = Plan()


@dataclass(frozen=True)
class PlannedClassifier:
    """A plan, the classifier that follows it, and the plain classifier, which decides uncertain images again."""

    plan: Plan
    classifier: Classifier
    plain_classifier: Classifier


def check_optimize_level(optimize: str) -> OptimizeLevel:
    """Return the level, or raise SettingError if there is no such level."""
    if optimize not in get_args(OptimizeLevel):
        known = ", ".join(get_args(OptimizeLevel))
        raise SettingError(f"optimize must be one of {known}, got {optimize!r}: {did_you_mean(optimize, get_args(OptimizeLevel))}")
    return cast("OptimizeLevel", optimize)


def check_memory_format(name: str) -> str:
    """Return the memory format, or raise SettingError if there is no such format."""
    if name not in MEMORY_FORMATS:
        raise SettingError(f"plan must have memory format {' or '.join(MEMORY_FORMATS)}, got {name!r}: choose another directory")
    return name


def apply_plan(classifier: Classifier, plan: Plan) -> PlannedClassifier:
    """Return the plan with its classifiers; raise SettingError if the classifier cannot follow the plan."""
    if plan.is_plain:
        return PlannedClassifier(plan, classifier, classifier)
    if not isinstance(classifier, TorchClassifier) or not classifier.has_variants:
        raise SettingError(f"plan needs a PyTorch network, got {type(classifier).__name__}: use optimize none")
    folded = fold_batch_norm(classifier.network) if plan.fold_batch_norm else None
    made = classifier if folded is None else classifier.with_network(folded, torch.contiguous_format)
    layout = MEMORY_FORMATS[plan.memory_format]
    if plan.compile:  # the compiler packs the weights itself
        network = made.copy_network(memory_format=layout)
        made = made.with_network(compile_network(network), layout)
    elif layout == torch.channels_last:
        made = made.channels_last(plan.batch_size)
    if plan.tf32 or plan.bf16:
        made = made.with_network(made.network, layout, tf32=plan.tf32, bf16=plan.bf16)
    return PlannedClassifier(plan, made, classifier)


def choose_plan(
    classifier: Classifier,
    data: Dataset,
    specs: Sequence[AttackSpec],
    options: RunOptions,
    recorded: Plan | None = None,
    timer: Timer | None = None,
    *,
    trial_images: int | None = None,
    record_changes: bool = False,
) -> Plan:
    """Choose the plan for these attacks on these data by timing it on the first images.

    Args:
        classifier: the classifier under attack.
        data: the attacked images.
        specs: the attacks that run in one pass.
        options: the level, and images at a time, or `auto`.
        recorded: plan of the same run, which is kept if level and batch size agree.
        timer: function that replaces the clock.
        trial_images: images that layouts are timed on; by default a share of the data.
        record_changes: record the changes against level none, as inexact levels always do.

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
    share = max(TRIAL_IMAGES, len(data) // IMAGES_PER_TRIAL_IMAGE) if trial_images is None else trial_images
    batch = first_readable_batch(data, min(plan.batch_size, share))
    first, timer = plan, timer or measure_attack_seconds
    plan = run_on_fitting_prefix(
        batch, lambda some: _choose_for_level(classifier, some, specs, first, data.classes, len(data), timer)
    )
    if plan.is_plain or not (record_changes or level in INEXACT_LEVELS):
        return plan
    chosen = plan
    return run_on_fitting_prefix(
        first_readable_batch(data, TRIAL_IMAGES), lambda some: _record_changes(classifier, some, specs[0], chosen, data.classes)
    )


def _choose_for_level(
    classifier: TorchClassifier,
    batch: Batch,
    specs: Sequence[AttackSpec],
    plan: Plan,
    classes: tuple[str, ...],
    images: int,
    timer: Timer,
) -> Plan:
    if plan.level == "safe":
        reason = next(filter(None, map(rounding_guard.guard_unsupported_reason, specs)), "")
        return replace(plan, reason=reason) if reason else _choose_memory_format(classifier, batch, specs[0], plan, classes, timer)
    folded = fold_batch_norm(classifier.network)
    on_gpu = classifier.device.type == "cuda"
    reason = "" if on_gpu or plan.level != "bf16" else "bfloat16 is for GPUs"
    plan = replace(plan, fold_batch_norm=folded is not None, tf32=on_gpu, bf16=on_gpu and plan.level == "bf16", reason=reason)
    classifier = classifier.with_network(folded or classifier.network, torch.contiguous_format, tf32=plan.tf32)
    gc.collect()  # tracing leaves cycles, and with them a copy of the weights
    plan = _choose_memory_format(classifier, batch, specs[0], plan, classes, timer)
    if images > TRIAL_IMAGES and compiler_available(classifier.device):
        spent = timer(classifier, batch, specs[0], classes) / len(batch)
        plan = replace(plan, compile=compile_pays_off(spent * images, classifier.device))
    return plan


MEASURED_FORMATS: dict[tuple[object, ...], str] = {}
"""Layouts by network, images, device, threads, level and number of budgets, so that a process times each case once."""


def _choose_memory_format(
    classifier: TorchClassifier, batch: Batch, spec: AttackSpec, plan: Plan, classes: tuple[str, ...], timer: Timer
) -> Plan:
    """Return the plan in the layout that is faster on the batch, including the images that the guard decides again.

    classifier: with batch norm folded, if the plan folds it.
    """
    if not has_convolutions(classifier.network) or batch.images.ndim != 4:
        return replace(plan, reason=plan.reason or "a network without convolutions has no layout to choose")
    if plan.tf32:  # TF32 kernels need channels last; a trial on few images would time kernel launches
        return replace(plan, memory_format="channels_last")
    case = classifier.info.sha256, batch.images.shape, str(classifier.device), plan.threads, plan.level, len(spec.epsilons)
    if case not in MEASURED_FORMATS:
        variants = [classifier, classifier.channels_last(plan.batch_size)]
        for variant in variants:
            timer(variant, batch, spec, classes)  # not counted: the first run also allocates
        rounds = [[timer(variant, batch, spec, classes) for variant in variants] for _ in range(TIMING_ROUNDS)]
        contiguous, channels_last = map(min, zip(*rounds, strict=True))
        if plan.level == "safe":
            channels_last += contiguous * _near_saturated_share(classifier, batch)
        faster = channels_last < MAX_TIME_RATIO[plan.level] * contiguous
        MEASURED_FORMATS[case] = "channels_last" if faster else "contiguous"
    layout = MEASURED_FORMATS[case]
    reason = "" if layout == "channels_last" else "channels-last was not faster"
    return replace(plan, memory_format=layout, reason=plan.reason or reason)


def _near_saturated_share(classifier: TorchClassifier, batch: Batch) -> float:
    outputs = classifier.predict(batch.images.to(classifier.device))
    share = wrong_class_probability(outputs, outputs.argmax(1))
    return float((share < rounding_guard.NEAR_SATURATION_THRESHOLD).double().mean())


def _record_changes(classifier: TorchClassifier, batch: Batch, spec: AttackSpec, plan: Plan, classes: tuple[str, ...]) -> Plan:
    """Return the plan with its changes on the batch, at the last budget."""
    variants = classifier, apply_plan(classifier, replace(plan, compile=False)).classifier
    plain, planned = (
        craft_and_predict(variant, attack_batch(variant, batch, spec, classes), spec, spec.epsilons[-1]) for variant in variants
    )
    pixels = (plain[0] - planned[0]).abs() > PIXEL_TOLERANCE
    changed = PlanChanges(len(batch), int((plain[1] != planned[1]).sum()), pixels.numel(), int(pixels.sum()))
    return replace(plan, changed=changed)


def measure_attack_seconds(classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...]) -> float:
    """Return the seconds of one gradient and the predictions at every budget, estimated from one budget."""
    synchronise(classifier.device)
    began = time.perf_counter()
    attacked = attack_batch(classifier, batch, spec, classes)
    synchronise(classifier.device)
    crafted = time.perf_counter()
    predict_classes(classifier, attacked.gradient_step.perturb(spec.epsilons[0]))
    synchronise(classifier.device)
    return crafted - began + len(spec.epsilons) * (time.perf_counter() - crafted)


def compiler_available(device: torch.device) -> bool:
    """Return whether the device has its compiler: a C++ compiler, or Triton on a GPU."""
    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return device.type == "cpu" and any(map(shutil.which, ("g++", "clang++", "cl")))


def compile_pays_off(seconds: float, device: torch.device) -> bool:
    """Return whether a run of that many seconds is faster with compilation."""
    return device.type in COMPILE_SECONDS and seconds * COMPILE_SAVED_SHARE[device.type] > COMPILE_SECONDS[device.type]


def compile_network(network: nn.Module) -> nn.Module:
    """Return the network, which is compiled at its first call."""
    return cast("nn.Module", torch.compile(network))
