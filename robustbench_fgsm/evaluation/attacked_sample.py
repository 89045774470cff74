"""What became of a sample of images under one attack after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_fgsm.attack.gradient import predicted_classes
from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.attack.random_start import random_start
from robustbench_fgsm.attack.step import clip
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, readable_batches
from robustbench_fgsm.engine.attack_batch import attack_batch, craft_and_predict, predict_classes
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.progress import CheckProgress
from robustbench_fgsm.errors import InvalidRunError
from robustbench_fgsm.evaluation.stronger_attacks import pgd, square_attack, supports_square_attack
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec, Bounds
from robustbench_fgsm.stats.tally import BoolArray, Int64Array

PGD_RESTARTS = 3
"""Further starts of PGD on the images that the first leaves."""

SQUARE_STEPS = 100
PGD_AT_HALF_RANGE = "pgd at half"
"""PGD at a budget whose ball holds the grey image halfway between the bounds, whatever the image."""


@dataclass(frozen=True)
class SampleOutcomes:
    """Of N images: labels, targets (None untargeted) and classes before, all (N,); by attack, classes after (N,).

    budgets: of each attack. alignment: (N,) cosine of the loss gradients at the image and at a point drawn from its ball,
    NaN where one is zero; empty where it was not taken.
    """

    labels: Int64Array
    before: Int64Array
    targets: Int64Array | None
    after: Mapping[str, Int64Array]
    budgets: Mapping[str, float]
    alignment: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    def fooled(self, attack: str) -> BoolArray:
        """Whether that attack leaves the image with another class than its label; targeted: with the target."""
        after = self.after[attack]
        return np.not_equal(after, self.labels) if self.targets is None else np.equal(after, self.targets)

    @property
    def clean_correct(self) -> BoolArray:
        """Right before any attack."""
        return np.equal(self.before, self.labels)

    @property
    def off_target(self) -> BoolArray:
        """Neither of the target's class nor taken for it before; all of them untargeted."""
        if self.targets is None:
            return np.ones(len(self), np.bool_)
        return np.not_equal(self.targets, self.labels) & np.not_equal(self.targets, self.before)


def attack_sample(
    classifier: Classifier,
    data: Dataset,
    spec: AttackSpec,
    batch_size: int,
    *,
    pgd_steps: int,
    check_masking: bool,
    check_progress: CheckProgress | None = None,
) -> SampleOutcomes:
    """All of the data attacked by FGSM as spec has it, and by ART's PGD; masking: by all that this needs besides.

    spec has one budget. checking: called before each attack. Raises InvalidRunError where no image can be read.
    """
    bad: list[BadSample] = []
    parts: list[SampleOutcomes] = []
    portions = BatchSplitter()

    def say(attack: str) -> None:
        if check_progress is not None:
            check_progress(attack, sum(map(len, parts)), len(data))

    def look(batch: Batch, rows: slice) -> SampleOutcomes:
        some = batch.at(rows)
        return _run_all_attacks(
            classifier, some, spec=spec, classes=data.classes, pgd_steps=pgd_steps, check_masking=check_masking, on_attack=say
        )

    for batch in readable_batches(data, 0, len(data), batch_size, bad):
        parts += portions.map_parts(len(batch), partial(look, batch))
    if not parts:
        raise InvalidRunError(f"a check by PGD needs an image, but none of the {len(data):,} drawn could be read")
    return _concatenate_samples(parts)


def half_range_epsilon(spec: AttackSpec, bounds: Bounds, num_values: int) -> float:
    """The smallest budget whose ball around any image of that size holds the grey one; infinite without bounds."""
    low, high = bounds
    return (high - low) / 2 * (1.0 if spec.norm == math.inf else num_values ** (1 / spec.norm))


def _run_all_attacks(
    classifier: Classifier,
    batch: Batch,
    *,
    spec: AttackSpec,
    classes: tuple[str, ...],
    pgd_steps: int,
    check_masking: bool,
    on_attack: Callable[[str], None],
) -> SampleOutcomes:
    on_attack("FGSM")
    attacked = attack_batch(classifier, batch, spec, classes)
    (epsilon,) = spec.epsilons
    x, aim, seed = batch.images.to(classifier.device), attacked.labels_or_targets, spec.seed + int(batch.ids[0])
    targeted = spec.target.targeted

    def by_pgd(name: str, budget: float) -> Tensor:
        on_attack(name)
        found = pgd(classifier, x, aim, budget, norm=spec.norm, targeted=targeted, steps=pgd_steps, seed=seed)
        return predict_classes(classifier, found)

    before = predicted_classes(attacked.gradient_step.outputs)
    after = {"fgsm": craft_and_predict(classifier, attacked, spec, epsilon)[1], "pgd": by_pgd(f"PGD-{pgd_steps}", epsilon)}
    budgets = dict.fromkeys(after, epsilon)
    alignment = torch.empty(0)
    if check_masking:
        on_attack(f"PGD-{pgd_steps} with restarts")
        after["pgd with restarts"] = _pgd_with_restarts(classifier, x, aim, after["pgd"], spec, pgd_steps, seed)
        after["noise"] = predict_classes(classifier, add_random_sign_noise(x, batch.ids, spec))
        budgets |= {"pgd with restarts": epsilon, "noise": epsilon, "pgd at less": epsilon / 2}
        after["pgd at less"] = by_pgd(f"PGD-{pgd_steps} at half of epsilon", epsilon / 2)
        if supports_square_attack(classifier, x, spec.norm):
            on_attack("Square")
            found = square_attack(classifier, x, aim, epsilon, norm=spec.norm, steps=SQUARE_STEPS, seed=seed)
            after["square"], budgets["square"] = predict_classes(classifier, found), epsilon
        most = half_range_epsilon(spec, classifier.bounds, x[0].numel())
        if math.isfinite(most):
            after[PGD_AT_HALF_RANGE], budgets[PGD_AT_HALF_RANGE] = by_pgd(f"PGD-{pgd_steps} at {most:.3g}", most), most
        on_attack("alignment of gradients")
        alignment = gradient_alignment(classifier, x, aim, batch.ids, spec)
    return SampleOutcomes(
        batch.labels.numpy(),
        before.cpu().numpy(),
        aim.cpu().numpy() if targeted else None,
        {name: found.cpu().numpy() for name, found in after.items()},
        budgets,
        alignment.double().cpu().numpy(),
    )


def _pgd_with_restarts(
    classifier: Classifier, x: Tensor, y: Tensor, after_first_start: Tensor, spec: AttackSpec, steps: int, seed: int
) -> Tensor:
    """Classes after PGD from several starts: each gets what those before left unfooled."""
    found = after_first_start
    for restart in range(1, PGD_RESTARTS + 1):
        left = (found == y).nonzero().squeeze(1)
        if len(left):
            crafted = pgd(classifier, x[left], y[left], spec.epsilons[0], norm=spec.norm, steps=steps, seed=seed + restart)
            found = found.index_copy(0, left, predict_classes(classifier, crafted))
    return found


def add_random_sign_noise(x: Tensor, ids: Tensor, spec: AttackSpec) -> Tensor:
    """Images moved by random signs, as far as the budget goes; the signs depend on seed and id alone."""
    drawn = [np.random.default_rng([spec.seed, int(id_), 0]).integers(0, 2, x[0].numel()) for id_ in ids]
    signs = torch.from_numpy(np.stack(drawn) * 2 - 1).to(x).view_as(x)
    length = 1.0 if spec.norm == math.inf else x[0].numel() ** (1 / spec.norm)
    return clip(x + spec.epsilons[0] / length * signs, spec.bounds)


def gradient_alignment(classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, spec: AttackSpec) -> Tensor:
    """Cosine (N,) of the gradients at x and at a point drawn evenly from the ball (Andriushchenko and Flammarion 2020).

    arXiv:2007.02617, equation 6. NaN where a gradient is zero or not finite.
    """
    near = random_start(x, ids, spec.epsilons[0], norm=spec.norm, bounds=spec.bounds, seed=spec.seed)
    here, there = (_unit_vectors(classifier.loss_gradient(point, y, cross_entropy)[0]) for point in (x, near))
    return (here * there).sum(1)


def _unit_vectors(gradient: Tensor) -> Tensor:
    flat = gradient.flatten(1).double()
    length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return flat / length


def _concatenate_samples(parts: list[SampleOutcomes]) -> SampleOutcomes:
    first = parts[0]
    names = [name for name in first.after if all(name in part.after for part in parts)]
    return SampleOutcomes(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.before for part in parts]),
        None if first.targets is None else np.concatenate([part.targets for part in parts if part.targets is not None]),
        {name: np.concatenate([part.after[name] for part in parts]) for name in names},
        first.budgets,
        np.concatenate([part.alignment for part in parts]),
    )
