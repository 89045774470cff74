"""Run our FGSM and others over one classifier and one data set, and compare."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.compare.agreement import Agreement, compare_batch
from robustbench_fgsm.compare.comparison import Comparison, ReferenceResult, Seconds, Side
from robustbench_fgsm.compare.explanation import Explanation
from robustbench_fgsm.data.dataset import BadSample, Dataset, describe, readable
from robustbench_fgsm.data.fit import fit_to
from robustbench_fgsm.measure.attacks import AttackedBatch, attack_batch, predict_classes, synchronise
from robustbench_fgsm.measure.environment import describe_environment
from robustbench_fgsm.measure.preflight import check_batch_size, check_images, check_single, preflight
from robustbench_fgsm.measure.sweep import Progress
from robustbench_fgsm.measure.tally import Tally
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.reference import Reference, check_references, load_reference
from robustbench_fgsm.spec import DEFAULT_EPSILON, AttackSpec, TargetRule, parse_epsilon, parse_norm

PIECE = 1024
"""Images that a reference is given at a time, so that memory does not grow with the data set."""


def compare(
    classifier: Classifier,
    data: Dataset,
    epsilon: float | str = DEFAULT_EPSILON,
    *,
    norm: str | float = "inf",
    targeted: str = "none",
    references: Sequence[str] = ("art",),
    batch_size: int | str = "auto",
    seed: int = 0,
    max_bad: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """Agreement of our FGSM with other libraries', image by image, and how each fares class by class.

    epsilon: one budget in pixel space, as a number or `8/255`. norm: `inf`, or any real p >= 1. targeted: `none`, `next`,
    `shift:2`, `random`, `least-likely` or `class:NAME`. references: names of `rfgsm list references`. batch_size: the same
    on both sides. seed: of random targets. max_bad: images that may be unreadable before the run counts as invalid.
    strict: take what is suspicious before the attack for an error. progress: called with images done and images in all.

    Raises SettingError, ModelError or DataError where these do not make sense together.
    """
    order = parse_norm(norm)
    epsilons = parse_epsilon(epsilon, order, classifier.bounds)
    spec = AttackSpec(epsilons, order, TargetRule.parse(targeted), bounds=classifier.bounds, seed=seed)
    return compare_spec(
        classifier,
        data,
        spec,
        references=references,
        batch_size=batch_size,
        max_bad=max_bad,
        strict=strict,
        progress=progress,
    )


def compare_spec(
    classifier: Classifier,
    data: Dataset,
    spec: AttackSpec,
    *,
    references: Sequence[str] = ("art",),
    batch_size: int | str = "auto",
    max_bad: int = 0,
    strict: bool = False,
    progress: Progress | None = None,
) -> Comparison:
    """The same for settings that are parsed already."""
    began = time.perf_counter()
    check_single(spec)
    size, data = check_batch_size(batch_size), fit_to(data, classifier)
    warnings = preflight(classifier, data, spec, strict=strict)
    rivals = [load_reference(name, classifier, spec, size) for name in check_references(references)]
    explanations = [
        Explanation(classifier, spec, different_execution=rival.different_execution, norm_floor=rival.norm_floor)
        for rival in rivals
    ]
    nothing = Side(Tally.empty(classifier.num_classes, targeted=spec.target.targeted), Seconds())
    ours, theirs = nothing, [(nothing, Agreement()) for _ in rivals]
    bad: tuple[BadSample, ...] = ()
    for start in range(0, len(data), PIECE):
        stop = min(start + PIECE, len(data))
        piece = attack_piece(classifier, data, spec, start, stop, size)
        ours, bad = ours + piece.side, bad + piece.bad
        for index, (rival, explanation) in enumerate(zip(rivals, explanations, strict=True)):
            if not piece.batches:
                break
            side, agreement = oppose(rival, explanation, piece)
            theirs[index] = (theirs[index][0] + side, theirs[index][1] + agreement)
        if progress is not None:
            progress(stop, len(data))
    return Comparison(
        model=classifier.info,
        data=describe(data),
        attack=spec,
        ours=ours,
        references=tuple(
            ReferenceResult(rival.name, rival.version, side, agreement, tuple(agreement.disagreements(spec.norm)))
            for rival, (side, agreement) in zip(rivals, theirs, strict=True)
        ),
        preflight_warnings=tuple(warnings),
        environment=describe_environment(classifier.device),
        seconds=time.perf_counter() - began,
        bad=bad,
        max_bad=max_bad,
    )


@dataclass(frozen=True)
class Piece:
    """A block of the data under our attack: batches, adversarial images (N, C, H, W) and the classes predicted for them (N,).

    bad: samples of the block that could not be had; where all are such, there are no batches.
    """

    batches: list[AttackedBatch]
    adversarial: Tensor
    after: Tensor
    side: Side
    bad: tuple[BadSample, ...] = ()


def attack_piece(
    classifier: Classifier, data: Dataset, spec: AttackSpec, start: int, stop: int, batch_size: int
) -> Piece:
    """Our whole job on images start to stop, timed without the loading of the data."""
    batches, adversarial, after = [], [], []
    bad: list[BadSample] = []
    side = Side(Tally.empty(classifier.num_classes, targeted=spec.target.targeted), Seconds())
    for batch in readable(data, start, stop, batch_size, bad):
        check_images(batch, classifier)
        began = _now(classifier)
        attacked = attack_batch(classifier, batch, spec, data.classes)
        x_adv = attacked.ascent.at(spec.epsilons[0])
        crafted = _now(classifier)
        classes = predict_classes(classifier, x_adv).cpu()
        seconds = Seconds(crafted - began, _now(classifier) - began)
        outcomes = attacked.outcomes(predicted(attacked.ascent.outputs), classes)
        side += Side(Tally.of(outcomes, classifier.num_classes), seconds)
        batches.append(attacked)
        adversarial.append(x_adv.cpu())
        after.append(classes)
    nothing = [torch.empty(0)]
    return Piece(batches, torch.cat(adversarial or nothing), torch.cat(after or nothing), side, tuple(bad))


def oppose(rival: Reference, explanation: Explanation, piece: Piece) -> tuple[Side, Agreement]:
    """The rival's whole job on the same images (predict, attack, predict), and how it agrees with ours."""
    x = torch.cat([attacked.batch.images for attacked in piece.batches])
    aim = torch.cat([attacked.aim.cpu() for attacked in piece.batches])
    began = time.perf_counter()
    before = predicted(rival.predict(x))
    ready = time.perf_counter()
    adversarial = rival.fgsm(x, aim, explanation.epsilon).cpu()
    crafted = time.perf_counter()
    after = predicted(rival.predict(adversarial)).cpu()
    seconds = Seconds(crafted - ready, time.perf_counter() - began)
    num_classes = len(piece.side.tally.clean)
    tally, agreement, start = Tally.empty(num_classes, targeted=piece.side.tally.targeted), Agreement(), 0
    for attacked in piece.batches:
        rows = slice(start, start + len(attacked.batch))
        start = rows.stop
        tally += Tally.of(attacked.outcomes(before[rows], after[rows]), num_classes)
        agreement += compare_batch(
            explanation, attacked, piece.adversarial[rows], adversarial[rows], piece.after[rows], after[rows]
        )
    return Side(tally, seconds), agreement


def _now(classifier: Classifier) -> float:
    synchronise(classifier.device)
    return time.perf_counter()
