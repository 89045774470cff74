"""Find which definitions, units, labels and known mistakes give reported numbers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, describe_data, first_readable_batch, readable_batches
from robustbench_fgsm.data.match_model import as_classifier_and_data, match_to_classifier
from robustbench_fgsm.engine.attack_batch import attack_batch, predict_classes
from robustbench_fgsm.engine.batch_size import choose_batch_size
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.preflight import PREFLIGHT_IMAGES, check_batch_size, check_images, preflight, require_multi_class
from robustbench_fgsm.engine.progress_bar import ProgressSetting, as_function, with_progress_bar
from robustbench_fgsm.engine.run_pieces import keep_hashes
from robustbench_fgsm.errors import ModelError
from robustbench_fgsm.evaluation.evaluate import Progress
from robustbench_fgsm.explanation.claim import Claim, check_explain_spec, parse_claims
from robustbench_fgsm.explanation.hypotheses import attack_variants
from robustbench_fgsm.explanation.result import Explanation
from robustbench_fgsm.global_settings import float32_precision, neutral_settings
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier
from robustbench_fgsm.options import AttackOptions, RunOptions
from robustbench_fgsm.spec import DEFAULT_EPSILON_TEXT, UNTARGETED, AttackSpec
from robustbench_fgsm.stats.repeated_images import LabelsAndHashes, RepeatedImages
from robustbench_fgsm.stats.tally import Tally
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.run_variants import VariantRunner
from robustbench_fgsm.variants.variant import RIGHT_VARIANT, Variant


@with_progress_bar
@neutral_settings(generators=True)
def explain(
    classifier: Classifier | nn.Module,
    data: Dataset | Any,
    value: str | float | Iterable[str | float],
    epsilon: float | str | Iterable[float] = DEFAULT_EPSILON_TEXT,
    *,
    norm: str | float = AttackOptions.norm,
    targeted: str = UNTARGETED,
    seed: int = AttackOptions.seed,
    n: int | None = None,
    batch_size: int | str = RunOptions.batch_size,
    max_bad: int = RunOptions.max_bad,
    strict: bool = RunOptions.strict,
    progress: ProgressSetting = None,
) -> Explanation:
    """Find the definitions, units, labels and known mistakes that give a reported number, exact matches first.

    Several numbers leave the attacks that give all of them. At one epsilon each number may have a definition of its own, such as
    clean accuracy and robust accuracy. At several epsilons, one for each number in order, all numbers have one definition.

    Args:
        classifier: the model to attack: a classifier, a bare `nn.Module`, or an ART estimator.
        data: the images and their labels: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        value: reported share or percentage, with its digits: `0.37` or `37%`; a list of several numbers of one attack.
        epsilon: reported budget in pixel space, as a number or as text such as `8/255`; one budget, or one for each number.
        norm: order of the norm; only `inf` is allowed.
        targeted: class at which the attack aims: `none`, `next` (label + 1), `shift:2`, `random`, `least-likely` or `class:NAME`.
        seed: seed of random targets, random starts and dropout, an integer >= 0.
        n: number of images behind the reported number; by default the number of images in the data.
        batch_size: images in a batch, or `auto`; gradients in train mode depend on it.
        max_bad: number of unreadable images above which the result is invalid.
        strict: raise an error if a preflight check warns.
        progress: called with images done and images in all; by default a bar in notebooks and terminals; False for none.

    Returns:
        The explanation: the exact and the other hypotheses, each with the numbers that it fits within their sampling error.

    Raises:
        SettingError, ModelError, DataError: if settings, model and data do not fit each other; before the first attack.
    """
    classifier, data = as_classifier_and_data(classifier, data)
    spec = AttackOptions(epsilon, norm, targeted=targeted, seed=seed).to_spec(classifier.bounds)
    run_options = RunOptions(batch_size, max_bad=max_bad, strict=strict)
    return explain_spec(classifier, data, parse_claims(value, n), spec, run_options, progress=as_function(progress))


def explain_spec(
    classifier: Classifier,
    data: Dataset,
    claims: Sequence[Claim],
    spec: AttackSpec,
    run_options: RunOptions,
    *,
    warnings: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain parsed claims with parsed settings; see `explain`. Warnings of None run the preflight."""
    began = time.perf_counter()
    check_batch_size(run_options.batch_size)
    data = match_to_classifier(data, classifier)
    check_explain_spec(spec, claims)
    require_multi_class(classifier, "explain")
    if warnings is None:
        warnings = preflight(classifier, data, spec, strict=run_options.strict)
    network = check_explain_classifier(classifier, data)
    size = choose_batch_size(run_options.batch_size, classifier, data)
    variants = attack_variants(network, spec.epsilons, targeted=spec.target.targeted)
    empty = Tally.empty(classifier.num_classes, targeted=spec.target.targeted)
    totals = dict.fromkeys(variants, (empty,) * len(spec.epsilons))
    done = 0
    bad: list[BadSample] = []
    images: list[LabelsAndHashes] = []
    for batch in keep_hashes(readable_batches(data, 0, len(data), size, bad), images):
        check_images(batch, classifier)
        for variant, tallies in _tally_variants(network, batch, spec, data.classes, variants):
            totals[variant] = tuple(total + tally for total, tally in zip(totals[variant], tallies, strict=True))
        done += len(batch)
        if progress is not None:
            progress(done + len(bad), len(data))
    return Explanation(
        tuple(claims),
        classifier.info,
        spec,
        totals,
        (*warnings, *RepeatedImages.of(images).warnings),
        data=describe_data(data),
        environment=describe_environment(classifier.device),
        seconds=time.perf_counter() - began,
        bad=tuple(bad),
        max_bad=run_options.max_bad,
    )


def check_explain_classifier(classifier: Classifier, data: Dataset) -> TorchClassifier:
    """Return the classifier; raise ModelError if it is not a PyTorch classifier with one output for each class."""
    if not isinstance(classifier, TorchClassifier):
        raise ModelError(
            f"classifier must be a PyTorch one, whose loss and mode can be changed, got {type(classifier).__name__}: "
            "use rf.wrap on its module"
        )
    images = first_readable_batch(data, PREFLIGHT_IMAGES).images.to(classifier.device)
    with torch.no_grad():
        outputs = classifier(images)
    if outputs.shape[1:] != (classifier.num_classes,):
        raise ModelError(
            f"model must return one logit for each of {classifier.num_classes} classes, got {tuple(outputs.shape)} "
            f"for {len(images)} images: return two logits, (0, z) for z"
        )
    return classifier


def _tally_variants(
    classifier: TorchClassifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...], variants: Sequence[Variant]
) -> Iterator[tuple[Variant, list[Tally]]]:
    """Yield the counts of each variant on one batch, one for each budget; the right attack is our own."""
    attacked = attack_batch(classifier, batch, spec, classes)
    step = attacked.gradient_step
    call = AttackCall(classifier.network, step.x, attacked.labels_or_targets, 0.0, attacked.targeted, spec.bounds, spec.seed)
    before = predicted_classes(step.outputs)
    runner = VariantRunner(call, batch.ids, lambda x: predict_classes(classifier, x), before, variants)
    for epsilon in spec.epsilons:
        runner.set_predictions(RIGHT_VARIANT, epsilon, predict_classes(classifier, step.perturb(epsilon)))
    with float32_precision(classifier.device, tf32=classifier.tf32):
        for variant in variants:
            after = torch.stack([runner.predictions(variant, epsilon) for epsilon in spec.epsilons], 1)
            outcomes = attacked.outcomes(after)
            yield variant, [Tally.of(outcomes, classifier.num_classes, budget) for budget in range(len(spec.epsilons))]
