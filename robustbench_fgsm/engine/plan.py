"""The execution plan of a run, recorded and applied: memory layout, folding, lower precision, compilation, batch size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from robustbench_fgsm.engine.rounding_guard import RoundingGuard
from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.models.batch_norm_folding import fold_batch_norm
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, move_to_classifier

OptimizeLevel = Literal["none", "safe", "max"]
MEMORY_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class PlanChanges:
    """Changes of a plan against level none, on a few images: adversarial predictions, and adversarial pixels, that differ."""

    images: int
    predictions_changed: int
    pixels: int
    pixels_changed: int


@dataclass(frozen=True)
class PlanTrial:
    """Differences between the planned and the plain network on trial images.

    images: number of trial images. batch_sizes: sizes of the tried batches. tolerance: largest accepted difference of outputs.
    output_difference: largest difference of outputs, as a share of the largest output. gradient_difference: likewise of input
    gradients, without ties; None if the plan computes no gradients. guard: bounds for a plan that is guarded, else None.
    subset_guard: bounds on how far the plain network's own outputs move if it predicts a part of a batch; None without a guard, and
    in float32, where the plain network predicts whole batches again.
    """

    images: int
    batch_sizes: tuple[int, ...]
    tolerance: float
    output_difference: float
    gradient_difference: float | None = None
    guard: RoundingGuard | None = None
    subset_guard: RoundingGuard | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as a JSON object."""
        guards = {name: guard and guard.to_dict() for name, guard in (("guard", self.guard), ("subset_guard", self.subset_guard))}
        return asdict(self) | {"batch_sizes": list(self.batch_sizes)} | guards

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> PlanTrial:
        """Return the trial that `to_dict` wrote; raise KeyError, TypeError or ValueError for any other object."""
        gradient, guard, subset_guard = found["gradient_difference"], found["guard"], found["subset_guard"]
        return cls(
            int(found["images"]),
            tuple(map(int, found["batch_sizes"])),
            float(found["tolerance"]),
            float(found["output_difference"]),
            None if gradient is None else float(gradient),
            None if guard is None else RoundingGuard.from_dict(guard),
            None if subset_guard is None else RoundingGuard.from_dict(subset_guard),
        )


@dataclass(frozen=True)
class Plan:
    """Execution plan of a classifier.

    level: the requested level; reason: why the plan does not use all that the level allows. tf32, bf16: on a GPU, whether
    factors are rounded to 10 bits, and adversarial images predicted in bfloat16. changed: changes against level none on the
    first images; None if they were not measured. trial: trial of the plan; None for a plain plan.
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
    trial: PlanTrial | None = None

    @property
    def guarded(self) -> bool:
        """Return whether the plan only predicts, and predictions at risk of rounding are those of the plain network."""
        return self.level == "safe" and not self.is_plain

    @property
    def precision(self) -> str:
        """Return the lowest precision of the planned network."""
        return "bf16" if self.bf16 else "tf32" if self.tf32 else "float32"

    @property
    def is_plain(self) -> bool:
        """Return whether the classifier runs unchanged."""
        return not (self.fold_batch_norm or self.compile or self.tf32 or self.bf16) and self.memory_format == "contiguous"

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
            "trial": None if self.trial is None else self.trial.to_dict(),
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
        changed, trial = found.get("changed"), found.get("trial")
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
            trial=PlanTrial.from_dict(trial) if trial else None,
        )


PLAIN_PLAN = Plan()


@dataclass(frozen=True)
class PlannedClassifier:
    """A plan, the classifier that follows it, and the plain classifier, which computes the rest under a guarded plan.

    rounding: bounds by which predictions are marked that another machine could change; None if they are not marked.
    keeps_margins: whether the margins of predictions are kept, from which they can be marked.
    """

    plan: Plan
    classifier: Classifier
    plain_classifier: Classifier
    rounding: RoundingGuard | None = None
    keeps_margins: bool = False

    @property
    def gradient_classifier(self) -> Classifier:
        """Return the classifier that computes gradients: the plain one under a guarded plan."""
        return self.plain_classifier if self.plan.guarded else self.classifier

    @property
    def guard(self) -> RoundingGuard | None:
        """Return the bounds that the trial of a guarded plan measured, or None without a guard."""
        return self.plan.trial.guard if self.plan.trial is not None and self.plan.guarded else None

    def predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs (N, K), and the images (N,) bool at risk of rounding, which are none without a guard.

        The plain network predicts the images at risk. If the size of their batch could change a class, it predicts the whole batch,
        as it would without a plan: to the last bit.
        """
        outputs = self.classifier.predict(move_to_classifier(x, self.classifier))
        at_risk = torch.zeros(len(x), dtype=torch.bool, device=x.device) if self.guard is None else self.guard.at_risk(outputs)
        if not bool(at_risk.any()):
            return outputs, at_risk
        subset_guard = None if bool(at_risk.all()) or self.plan.trial is None else self.plan.trial.subset_guard
        if subset_guard is not None:
            again = self.plain_classifier.predict(x[at_risk])
            if not bool(subset_guard.at_risk(again).any()):
                outputs[at_risk] = again.to(outputs.dtype)
                return outputs, at_risk
        return self.plain_classifier.predict(x), at_risk


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


def compile_network(network: nn.Module) -> nn.Module:
    """Return the network, which is compiled at its first call."""
    return cast("nn.Module", torch.compile(network))
