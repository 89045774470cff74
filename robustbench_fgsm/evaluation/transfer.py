"""Measure how often images crafted on one model fool other models."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from robustbench_fgsm.attack.outputs import read_for_loss
from robustbench_fgsm.data.dataset import Batch, Dataset, describe_data
from robustbench_fgsm.data.load import as_dataset
from robustbench_fgsm.data.match_model import as_classifier, match_to_classifier
from robustbench_fgsm.engine.batch_size import choose_common_batch_size
from robustbench_fgsm.engine.dataset_pieces import Pieces, piece_size
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.plan import Plan
from robustbench_fgsm.engine.preflight import preflight
from robustbench_fgsm.engine.progress import ProgressReporter
from robustbench_fgsm.engine.progress_bar import ProgressSetting, as_function, with_progress_bar
from robustbench_fgsm.engine.run_pieces import PieceJob, PieceOutcomes, RunContext, run_pieces
from robustbench_fgsm.errors import ModelError, SettingError
from robustbench_fgsm.evaluation.document import (
    WARNING_SHARE,
    bad_sample_reasons,
    bad_sample_warnings,
    bad_samples_to_dict,
    complete_document,
    nonfinite_output_reasons,
)
from robustbench_fgsm.evaluation.evaluate import check_distinct_epsilons
from robustbench_fgsm.evaluation.result_protocol import Measurement, ReportedResult
from robustbench_fgsm.evaluation.transfer_counts import TransferCounts, TransferModels, attack_transfer_piece
from robustbench_fgsm.feature_values import FeatureArray
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.options import AttackOptions, RunOptions, TransferOptions
from robustbench_fgsm.spec import DEFAULT_EPSILON_TEXT, UNTARGETED, AttackSpec
from robustbench_fgsm.stats.rate import Rate


@dataclass(frozen=True, repr=False)
class Transfer(ReportedResult, Measurement):
    """Result of a transfer: settings, and counts for every source and target.

    Attributes:
        common: the document has rates over the images that all models have right.
        per_class: the document has rates by class.
    """

    transfer_models: TransferModels
    attack: AttackSpec
    counts: TransferCounts
    preflight_warnings: tuple[str, ...]
    common: bool = False
    per_class: bool = False
    batch_size: int = 128

    @property
    def n(self) -> int:
        """Number of images that are counted."""
        return int(self.counts.images.sum())

    def clean_accuracy(self, model: int) -> Rate:
        """Return the share of all images that are right before the attack; model: index among the models."""
        return Rate(int(self.counts.clean_correct[model].sum()), self.n)

    def robust_accuracy(self, source: int, target: int, budget: int = 0) -> Rate:
        """Return the share of all images that the target has right after the attack; indices of source, target and budget."""
        return Rate(int(self.counts.robust_correct[source, target, budget].sum()), self.n)

    def attack_success_rate(self, source: int, target: int, budget: int = 0) -> Rate:
        """Return the share that fools the target, of the images right (targeted: off target) before at source and target."""
        counts = self.counts
        return Rate(int(counts.fooled[source, target, budget].sum()), int(counts.attacked[source, target].sum()))

    def common_success_rate(self, source: int, target: int, budget: int = 0) -> Rate:
        """Return the share that fools the target, of the images right (targeted: off target) before at all models."""
        counts = self.counts
        return Rate(int(counts.common_fooled[source, target, budget].sum()), int(counts.common_attacked[source].sum()))

    @property
    def invalid_reasons(self) -> list[str]:
        """Reasons why the rates must not be used."""
        found = bad_sample_reasons(self.bad, self.max_bad)
        for source, images in zip(self.transfer_models.sources, self.counts.nonfinite_gradient, strict=True):
            if images:
                found.append(
                    f"{int(images):,} of {self.n:,} images have a gradient at {self._model_name(source)} that is not finite: "
                    "they were left unmoved, and the rates are not robustness"
                )
        after = dict(zip(self.transfer_models.targets, self.counts.nonfinite_after.max((0, 2)), strict=True))
        for model, before in enumerate(self.counts.nonfinite_before):
            found += nonfinite_output_reasons(int(before), int(after.get(model, 0)), self.n, f" at {self._model_name(model)}")
        return found

    @property
    def warnings(self) -> list[str]:
        """Warnings that belong beside the rates."""
        found = [*self.preflight_warnings, *bad_sample_warnings(self.bad, self.max_bad)]
        for source, images in zip(self.transfer_models.sources, self.counts.zero_gradient, strict=True):
            share = Rate(int(images), self.n)
            if (share.value or 0) > WARNING_SHARE:
                found.append(
                    f"gradient masking: at {self._model_name(source)} {share} of {share.n:,} images have a gradient of exactly "
                    "zero, so FGSM cannot move them, and nothing transfers"
                )
        return list(dict.fromkeys(found))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document `rfgsm.transfer/1`."""
        models = self.transfer_models
        own = {
            "models": [
                model.info.to_dict() | {"clean_accuracy": self.clean_accuracy(index).to_dict()}
                for index, model in enumerate(models.models)
            ],
            "sources": list(models.sources),
            "targets": list(models.targets),
            "data": self.data,
            "attack": self.attack.to_dict() | {"epsilons": list(self.attack.epsilons)},
            "n": self.n,
            "batch_size": self.batch_size,
            "cells": [
                {"source": source, "target": target, "epsilons": self._rates_by_budget(at, to)}
                for at, source in enumerate(models.sources)
                for to, target in enumerate(models.targets)
            ],
            "bad": bad_samples_to_dict(self.bad, self.max_bad),
        }
        reasons, warnings = self.invalid_reasons, self.warnings
        return complete_document("rfgsm.transfer/1", own, self.environment, self.seconds, self.exit_code, reasons, warnings)

    def _model_name(self, model: int) -> str:
        info = self.transfer_models.models[model].info
        return f"{info.spec} ({info.weights})"

    def _rates_by_budget(self, source: int, target: int) -> list[dict[str, Any]]:
        return [
            {
                "epsilon": epsilon,
                "robust_accuracy": self.robust_accuracy(source, target, budget).to_dict(),
                "attack_success_rate": self.attack_success_rate(source, target, budget).to_dict(),
                "nonfinite_outputs": int(self.counts.nonfinite_after[source, target, budget]),
                "common_success_rate": (self.common_success_rate(source, target, budget).to_dict() if self.common else None),
                "per_class": self._rates_by_class(source, target, budget) if self.per_class else None,
            }
            for budget, epsilon in enumerate(self.attack.epsilons)
        ]

    def _rates_by_class(self, source: int, target: int, budget: int) -> list[dict[str, Any]]:
        counts = self.counts
        robust, fooled, both = counts.robust_correct[source, target, budget], counts.fooled[source, target, budget], counts.attacked
        return [
            {
                "label": label,
                "name": name,
                "n": int(counts.images[label]),
                "robust_accuracy": Rate(int(robust[label]), int(counts.images[label])).to_dict(),
                "attack_success_rate": Rate(int(fooled[label]), int(both[source, target, label])).to_dict(),
            }
            for label, name in enumerate(self.data["classes"])
        ]


@with_progress_bar
@neutral_settings(generators=True)
def transfer(
    sources: Sequence[Classifier | nn.Module],
    targets: Sequence[Classifier | nn.Module],
    data: Dataset | Any,
    epsilons: Iterable[float] | float | str = DEFAULT_EPSILON_TEXT,
    *,
    norm: str | float = AttackOptions.norm,
    epsilon_scale: str | FeatureArray | None = AttackOptions.epsilon_scale,
    targeted: str = UNTARGETED,
    loss: str = AttackOptions.loss,
    stable: bool = AttackOptions.stable,
    restarts: int = AttackOptions.restarts,
    seed: int = AttackOptions.seed,
    common: bool = TransferOptions.common,
    per_class: bool = TransferOptions.per_class,
    batch_size: int | str = RunOptions.batch_size,
    max_bad: int = RunOptions.max_bad,
    strict: bool = RunOptions.strict,
    progress: ProgressSetting = None,
) -> Transfer:
    """Show the images that FGSM crafts on each source to each target; a source that is its own target gives `evaluate`.

    Args:
        sources: models on which images are crafted.
        targets: models that are tested on these images. All models have the same input bounds and classes.
        data: the images and their labels: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        epsilons: one budget in pixel space or several, as numbers or as text such as `1,2,4/255`.
        norm: order of the norm: `inf`, or any real p >= 1.
        epsilon_scale: what epsilon is multiplied by in each feature: `range` for low to high, or numbers, as in `fgsm`.
        targeted: class at which the attack aims: `none`, `next` (label + 1), `shift:2`, `random`, `least-likely` or `class:NAME`.
        loss: loss that the attack increases: `ce`, `log-probabilities`, `probabilities`, `bce`, `bce-with-logits` or `margin`, as
            in `fgsm`; `logits` is `ce`, and the outputs are logits whatever they look like.
        stable: use exact cross-entropy gradients for all images, also if float32 saturates.
        restarts: number of random starts beside the clean one; the best start of each image counts.
        seed: seed of random targets and random starts, an integer >= 0.
        common: also give rates over the images that all models classify correctly before the attack.
        per_class: also give the rates of each class.
        batch_size: images in a batch, or `auto`.
        max_bad: number of unreadable images above which the result is invalid.
        strict: raise an error if a preflight check warns.
        progress: called with images done and images in all; by default a bar in notebooks and terminals; False for none.

    Returns:
        The rates of every source at every target.

    Raises:
        SettingError, ModelError, DataError: if settings, model and data do not fit each other; before the first attack.
    """
    data = as_dataset(data)
    models = {id(model): as_classifier(model, data) for model in (*sources, *targets)}
    transfer_models = make_transfer_models([models[id(model)] for model in sources], [models[id(model)] for model in targets])
    attack = AttackOptions(epsilons, norm, epsilon_scale, targeted, loss, stable, restarts, seed)
    return run_transfer(
        transfer_models,
        data,
        attack.to_spec(transfer_models.models[0].bounds),
        TransferOptions(common, per_class),
        RunOptions(batch_size, max_bad=max_bad, strict=strict),
        context=RunContext(progress=as_function(progress)),
    )


def make_transfer_models(sources: Sequence[Classifier], targets: Sequence[Classifier]) -> TransferModels:
    """Return the models, each once; raise SettingError or ModelError if they do not fit each other."""
    if not (sources and targets):
        raise SettingError("transfer needs a source and a target at least, got none of one of them: name some")
    models = tuple({id(model): model for model in (*sources, *targets)}.values())
    first = models[0]
    for model in models:
        names = ("bounds", first.bounds, model.bounds), ("number of classes", first.num_classes, model.num_classes)
        steps = first.info.preprocessing, model.info.preprocessing
        for what, expected, got in (*names, ("preprocessing", *steps) if None not in steps else names[0]):
            if expected != got:
                raise ModelError(
                    f"transfer needs models of the same {what}, got {expected} of {first.info.spec} and {got} of "
                    f"{model.info.spec}: leave one out"
                )
    indices = {id(model): index for index, model in enumerate(models)}
    roles = (tuple(dict.fromkeys(indices[id(model)] for model in role)) for role in (sources, targets))
    return TransferModels(models, *roles)


def read_models_for_loss(transfer_models: TransferModels, loss: str) -> TransferModels:
    """Return the models, each of which reads the one output of a binary network as the loss does."""
    return replace(transfer_models, models=tuple(read_for_loss(model, loss) for model in transfer_models.models))


def check_transfer(transfer_models: TransferModels, data: Dataset, spec: AttackSpec, *, strict: bool) -> list[str]:
    """Return the warnings of `preflight` about each model; it may raise an error."""
    check_distinct_epsilons(spec)
    found = []
    for index, model in enumerate(transfer_models.models):
        warnings = preflight(model, data, spec, strict=strict, is_attacked=index in transfer_models.sources)
        found += [f"{model.info.spec} ({model.info.weights}): {warning}" for warning in warnings]
    return found


def split_transfer_into_pieces(transfer_models: TransferModels, data: Dataset, batch_size: int) -> Pieces:
    """Return the division of the data into pieces."""
    return Pieces(len(data), piece_size(Plan(batch_size=batch_size), transfer_models.models[0].device))


def run_transfer(
    transfer_models: TransferModels,
    data: Dataset,
    spec: AttackSpec,
    transfer_options: TransferOptions,
    run_options: RunOptions,
    *,
    warnings: Sequence[str] | None = None,
    context: RunContext,
) -> Transfer:
    """Return the transfer with parsed settings; warnings are those of `check_transfer`, and None runs it now."""
    started, transfer_models = time.perf_counter(), read_models_for_loss(transfer_models, spec.loss)
    data = match_to_classifier(data, transfer_models.models[0])
    if warnings is None:
        warnings = check_transfer(transfer_models, data, spec, strict=run_options.strict)
    size, device = choose_common_batch_size(run_options.batch_size, transfer_models.models, data), transfer_models.models[0].device
    splitter, counts = BatchSplitter(), TransferCounts.empty(transfer_models, len(spec.epsilons))

    def attack_piece(batches: Iterator[Batch]) -> PieceOutcomes:
        outcomes = attack_transfer_piece(transfer_models, data.classes, spec, batches, splitter)
        return outcomes, (0,) * len(outcomes), ()

    pieces = split_transfer_into_pieces(transfer_models, data, size)
    job = PieceJob(
        data, pieces, size, device, splitter, attack_piece, count_record=lambda record: counts.add(record, transfer_models)
    )
    report_progress = ProgressReporter(len(data), context.world, context.progress)
    bad, resumed_seconds, memory_warnings, repeated = run_pieces(job, context.store, context.world, report_progress)
    return Transfer(
        transfer_models,
        spec,
        counts.sum_over_processes(context.world),
        tuple(dict.fromkeys([*warnings, *memory_warnings, *repeated.warnings])),
        transfer_options.common,
        transfer_options.per_class,
        size,
        data=describe_data(data),
        environment=describe_environment(device),
        seconds=time.perf_counter() - started + resumed_seconds,
        bad=tuple(bad),
        max_bad=run_options.max_bad,
    )
