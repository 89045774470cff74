"""Compare our FGSM with other implementations on one classifier and one data set."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from robustbench_fgsm.attack.outputs import read_for_loss
from robustbench_fgsm.comparison.opponent import AttackedPiece, Opponent, OpponentRun
from robustbench_fgsm.comparison.result import Comparison, Seconds, TimedTally
from robustbench_fgsm.data.dataset import BadSample, Dataset, describe_data, readable_batches
from robustbench_fgsm.data.match_model import as_classifier_and_data, match_to_classifier
from robustbench_fgsm.engine.attack_batch import attack_batch, empty_tally, predict_classes, synchronise
from robustbench_fgsm.engine.choose_plan import choose_plan
from robustbench_fgsm.engine.environment import describe_environment
from robustbench_fgsm.engine.plan import Plan, PlannedClassifier, apply_plan, check_optimize_level
from robustbench_fgsm.engine.preflight import check_images, check_single_epsilon, preflight
from robustbench_fgsm.engine.progress_bar import ProgressSetting, as_function, with_progress_bar
from robustbench_fgsm.engine.run_pieces import keep_hashes
from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.evaluation.evaluate import Progress
from robustbench_fgsm.feature_values import FeatureArray
from robustbench_fgsm.global_settings import float32_precision, neutral_settings
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.options import AttackOptions, RunOptions, VerifyOptions
from robustbench_fgsm.references.candidate import Candidate, to_candidate
from robustbench_fgsm.references.candidate_reference import SavedImagesReference, make_candidate_reference
from robustbench_fgsm.references.registry import check_opponents, check_references, load_reference
from robustbench_fgsm.references.saved_images import SavedImages, image_shape, is_saved_images, load_saved_images, match_to_data
from robustbench_fgsm.spec import DEFAULT_EPSILON_TEXT, UNTARGETED, AttackSpec, is_multi_label, norm_name
from robustbench_fgsm.stats.repeated_images import LabelsAndHashes, RepeatedImages
from robustbench_fgsm.stats.tally import Tally
from robustbench_fgsm.variants.catalogue import Finding
from robustbench_fgsm.verification.own_network import diagnose_candidate

PIECE_SIZE = 1024
"""Images that an opponent attacks at a time, so that memory does not grow with the data set."""


@with_progress_bar
@neutral_settings(generators=True)
def compare(
    classifier: Classifier | nn.Module,
    data: Dataset | Any,
    epsilon: float | str = DEFAULT_EPSILON_TEXT,
    *,
    norm: str | float = AttackOptions.norm,
    epsilon_scale: str | FeatureArray | None = AttackOptions.epsilon_scale,
    targeted: str = UNTARGETED,
    loss: str = AttackOptions.loss,
    seed: int = AttackOptions.seed,
    references: Sequence[str] = ("art",),
    candidate: Candidate | Callable[..., object] | str | Path | None = None,
    ignore: Collection[str] = (),
    style: str = VerifyOptions.style,
    batch_size: int | str = RunOptions.batch_size,
    optimize: str = "none",
    max_bad: int = RunOptions.max_bad,
    strict: bool = RunOptions.strict,
    progress: ProgressSetting = None,
) -> Comparison:
    """Compare our FGSM with other libraries image by image, and count the success of each class by class.

    Args:
        classifier: the model to attack.
        data: the images and their labels: a data set, or anything that `load_data` takes, such as a DataLoader or (x, y).
        epsilon: budget in pixel space, as a number or as text such as `8/255`.
        norm: order of the norm: `inf`, or any real p >= 1.
        epsilon_scale: what epsilon is multiplied by in each feature, as in `fgsm`; only under norm `inf`.
        targeted: class at which the attack aims: `none`, `next` (label + 1), `shift:2`, `random`, `least-likely` or `class:NAME`.
        loss: loss that the attack increases: `ce`, `log-probabilities`, `probabilities`, `bce`, `bce-with-logits` or `margin`, as
            in `fgsm`; `logits` is `ce`, and the outputs are logits whatever they look like. Other libraries than ART take only
            cross-entropy.
        seed: seed of random targets, an integer >= 0.
        references: other libraries, by their names in `rfgsm list references`.
        candidate: your own attack: a callable, `pkg.mod:fn`, `file.py:fn`, or a file of saved adversarial images.
        ignore: differences to accept: `floor`, steps of another library that are too short where the norm of the gradient is below
            its floor or underflows.
        style: how the candidate is called, if it is not a `Candidate` yet; see `verify`.
        batch_size: images in a batch on all sides, or `auto`.
        optimize: how our side runs: `none`, `safe` or `max`.
        max_bad: number of unreadable images above which the result is invalid.
        strict: raise an error if a preflight check warns.
        progress: called with images done and images in all; by default a bar in notebooks and terminals; False for none.

    Returns:
        The comparison, with its verdict. A candidate that raises an exception is not an error: it disagrees.

    Raises:
        SettingError, ModelError, DataError: if settings, model and data do not fit each other; before the first attack.
    """
    classifier, data = as_classifier_and_data(classifier, data)
    attack = AttackOptions(epsilon, norm, epsilon_scale, targeted, loss, seed=seed)
    return compare_spec(
        classifier,
        data,
        attack.to_spec(classifier.bounds),
        Opponents(references, load_candidate_or_images(candidate, style, data, classifier), tuple(ignore)),
        RunOptions(batch_size, optimize, max_bad, strict),
        progress=as_function(progress),
    )


def load_candidate_or_images(
    candidate: Candidate | Callable[..., object] | str | Path | None, style: str, data: Dataset, classifier: Classifier
) -> Candidate | SavedImages | None:
    """Return the candidate, or saved images for a file of images; raise as `to_candidate` and `load_saved_images` do."""
    if isinstance(candidate, str | Path) and is_saved_images(candidate):
        return load_saved_images(Path(candidate), image_shape(match_to_classifier(data, classifier)), classifier.bounds)
    return None if candidate is None else to_candidate(candidate, style)


@dataclass(frozen=True)
class Opponents:
    """Attacks beside our own: names of other libraries, a candidate or saved images, and differences that are accepted."""

    references: Sequence[str] = ("art",)
    candidate: Candidate | SavedImages | None = None
    ignore: tuple[str, ...] = ()


def compare_spec(
    classifier: Classifier,
    data: Dataset,
    spec: AttackSpec,
    opponents: Opponents,
    run_options: RunOptions,
    *,
    plan: Plan | None = None,
    warnings: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare with parsed settings and loaded candidates; see `compare`.

    A plan of None is chosen for `optimize`. Preflight warnings of None run the preflight.
    """
    began, classifier = time.perf_counter(), read_for_loss(classifier, spec.loss)
    check_single_epsilon(spec)
    if spec.epsilon_scale is not None and spec.norm != math.inf:
        raise SettingError(
            f"compare takes an epsilon scale under norm inf alone, got norm {norm_name(spec.norm)}, which no other library scales: "
            "use evaluate, or leave the scale out"
        )
    check_optimize_level(run_options.optimize)
    candidate = opponents.candidate
    check_opponents(opponents.references, candidate, opponents.ignore)
    data = match_to_classifier(data, classifier)
    covered: list[str] = []
    if isinstance(candidate, SavedImages):
        everything = data
        candidate, data, covered = match_to_data(candidate, data)
        warnings = warnings if data is everything else None
    if warnings is None:
        warnings = preflight(classifier, data, spec, strict=run_options.strict)
    warnings = [*warnings, *covered]
    plan = plan or choose_plan(classifier, data, [spec], run_options, audited=False)
    execution, size = apply_plan(classifier, plan), plan.batch_size
    opposing: list[Opponent] = [load_reference(name, classifier, spec, size) for name in check_references(opponents.references)]
    if isinstance(candidate, SavedImages):
        opposing.append(SavedImagesReference(candidate, classifier))
    elif candidate is not None:
        opposing.append(make_candidate_reference(candidate, classifier, spec, size))
    runs = [OpponentRun.start(opponent, classifier, spec, different_plan=not plan.is_plain) for opponent in opposing]
    ours = TimedTally(empty_tally(classifier, spec))
    bad: tuple[BadSample, ...] = ()
    images: list[LabelsAndHashes] = []
    with float32_precision(classifier.device):  # also for references and candidates
        for start in range(0, len(data), PIECE_SIZE):
            stop = min(start + PIECE_SIZE, len(data))
            piece = attack_piece(execution, data, spec, range(start, stop), images)
            ours, bad = ours + piece.timed_tally, bad + piece.bad
            runs = [run.with_piece(piece) for run in runs]
            if progress is not None:
                progress(stop, len(data))
    results, candidate_result = [run.result(opponents.ignore) for run in runs], None
    diagnosis: Sequence[Finding] = ()
    if candidate is not None:
        candidate_result = results.pop()
        if candidate_result.reasons and candidate_result.agreement.pixels and not is_multi_label(classifier):
            diagnosis = diagnose_candidate(classifier, data, spec, candidate)
    return Comparison(
        model=classifier.info,
        data=describe_data(data),
        attack=spec,
        ours=ours,
        references=tuple(results),
        candidate=candidate_result,
        diagnosis=tuple(diagnosis),
        preflight_warnings=(*warnings, *RepeatedImages.of(images).warnings),
        environment=describe_environment(classifier.device),
        seconds=time.perf_counter() - began,
        bad=bad,
        max_bad=run_options.max_bad,
        plan=plan,
        ignored=opponents.ignore,
    )


def attack_piece(
    execution: PlannedClassifier, data: Dataset, spec: AttackSpec, span: range, images: list[LabelsAndHashes]
) -> AttackedPiece:
    """Predict, attack and predict again on a span of images; the time does not include loading the data.

    The labels and hashes of the images are added to `images`.
    """
    classifier = execution.classifier
    batches, adversarial, after = [], [], []
    bad: list[BadSample] = []
    timed_tally = TimedTally(empty_tally(classifier, spec))
    for batch in keep_hashes(readable_batches(data, span.start, span.stop, execution.plan.batch_size, bad), images):
        check_images(batch, classifier)
        began = _synchronised_time(classifier)
        attacked = attack_batch(classifier, batch, spec, data.classes)
        x_adv = attacked.gradient_step.perturb(spec.epsilons[0])
        crafted = _synchronised_time(classifier)
        classes = predict_classes(classifier, x_adv).cpu()
        seconds = Seconds(crafted - began, _synchronised_time(classifier) - began)
        outcomes = attacked.outcomes(classes)
        timed_tally += TimedTally(Tally.of(outcomes, classifier.num_classes), seconds)
        batches.append(attacked)
        adversarial.append(x_adv.cpu())
        after.append(classes)
    empty = [torch.empty(0)]
    return AttackedPiece(batches, torch.cat(adversarial or empty), torch.cat(after or empty), timed_tally, tuple(bad))


def _synchronised_time(classifier: Classifier) -> float:
    synchronise(classifier.device)
    return time.perf_counter()
