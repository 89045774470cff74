"""Attack a sample of images by several attacks: FGSM, stronger attacks, and noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.attack.random_start import random_start
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, readable_batches
from robustbench_fgsm.engine.attack_batch import attack_batch, craft_and_predict, predict_classes
from robustbench_fgsm.engine.gradient_classifier import choose_gradient_classifier
from robustbench_fgsm.engine.out_of_memory import BatchSplitter
from robustbench_fgsm.engine.progress import CheckProgress
from robustbench_fgsm.errors import InvalidRunError
from robustbench_fgsm.evaluation.stronger_attacks import ProjectedGradientDescent, square_attack, supports_square_attack
from robustbench_fgsm.feature_values import iter_values, map_values, values_shape
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import BatchOutcomes, BoolArray

PGD_RESTARTS = 3
"""Further starts of PGD on the images that its first start does not fool."""

SQUARE_STEPS = 100
PGD_AT_HALF_RANGE = "pgd at half"
"""PGD at a budget whose ball around any image holds the grey image halfway between the bounds."""


@dataclass(frozen=True)
class SampleOutcomes:
    """Outcomes of several attacks on the same N images.

    outcomes: with one column of `after` for each attack. budgets: of each attack, by name, in the order of the columns.
    alignment: (N,) cosine of the loss gradients at the image and at a random point of its ball, NaN if a gradient is zero; empty
    if it was not computed.
    """

    outcomes: BatchOutcomes
    budgets: Mapping[str, float]
    alignment: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.outcomes)

    def fooled(self, attack: str) -> BoolArray:
        """Return the images (N,) that the attack leaves misclassified; targeted: predicted as their target."""
        budget = list(self.budgets).index(attack)
        return self.outcomes.misses(budget) if self.outcomes.targets is None else self.outcomes.hits(budget)

    @property
    def nonfinite_outputs(self) -> int:
        """Images whose outputs are not finite before or after an attack."""
        return int(((self.outcomes.before < 0) | (self.outcomes.after < 0).any(1)).sum())

    @property
    def clean_correct(self) -> BoolArray:
        """Images (N,) that are right before any attack."""
        return np.equal(self.outcomes.before, self.outcomes.labels)

    @property
    def off_target(self) -> BoolArray:
        """Images (N,) whose label and prediction before are not the target; all images if the attack is untargeted."""
        return np.ones(len(self), np.bool_) if self.outcomes.targets is None else self.outcomes.attacked


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
    """Attack all of the data by FGSM and by PGD; for a masking check, also by all attacks that its tests need.

    spec: attack with one budget. check_progress: called before each attack. Raises InvalidRunError if no image can be read.
    """
    bad: list[BadSample] = []
    parts: list[SampleOutcomes] = []
    splitter = BatchSplitter()
    gradients: tuple[Classifier, int | None] | None = None

    def report(attack: str) -> None:
        if check_progress is not None:
            check_progress(attack, sum(map(len, parts)), len(data))

    def run_attacks(batch: Batch, pgd: ProjectedGradientDescent, rows: slice) -> SampleOutcomes:
        return _run_all_attacks(classifier, batch.at(rows), spec, data.classes, pgd=pgd, check_masking=check_masking, report=report)

    for batch in readable_batches(data, 0, len(data), batch_size, bad):
        gradients = gradients or choose_gradient_classifier(classifier, batch, len(data), spec, data.classes)
        pgd = ProjectedGradientDescent(*gradients, spec, pgd_steps)
        parts += splitter.map_parts(len(batch), partial(run_attacks, batch, pgd))
    if not parts:
        raise InvalidRunError(f"a check by PGD needs an image, but none of the {len(data):,} drawn could be read")
    return SampleOutcomes(
        BatchOutcomes.concatenate([part.outcomes for part in parts]),
        parts[0].budgets,
        np.concatenate([part.alignment for part in parts]),
    )


def half_range_epsilon(spec: AttackSpec, num_values: int) -> float:
    """Return the smallest budget whose ball around any image holds the grey image; infinite without bounds."""
    bounds = spec.bounds
    if bounds.is_uniform and spec.epsilon_scale is None:
        return bounds.width / 2 * (1.0 if spec.norm == math.inf else num_values ** (1 / spec.norm))
    shape = values_shape(spec.epsilon_scale or 1.0) or values_shape(bounds.lower)
    repeats = num_values / math.prod(shape)  # one number may stand for several pixels
    scaled = map_values(
        lambda width, scale: width / 2 / scale if scale else math.inf if width else 0.0, bounds.widths, spec.epsilon_scale or 1.0
    )
    largest = max(iter_values(scaled))
    if spec.norm == math.inf or not 0 < largest < math.inf:
        return largest
    length: float = repeats * sum((one / largest) ** spec.norm for one in iter_values(scaled))
    return largest * math.pow(length, 1 / spec.norm)


def _run_all_attacks(
    classifier: Classifier,
    batch: Batch,
    spec: AttackSpec,
    classes: tuple[str, ...],
    *,
    pgd: ProjectedGradientDescent,
    check_masking: bool,
    report: Callable[[str], None],
) -> SampleOutcomes:
    report("FGSM")
    attacked = attack_batch(classifier, batch, spec, classes)
    (epsilon,) = spec.epsilons
    x, y, ids, pgd_name = batch.images.to(classifier.device), attacked.labels_or_targets, batch.ids, f"PGD-{pgd.steps}"

    def run_pgd(name: str, budget: float) -> Tensor:
        report(name)
        return predict_classes(classifier, pgd.perturb(x, y, ids, budget))

    after = {"fgsm": craft_and_predict(classifier, attacked, spec, epsilon)[1], "pgd": run_pgd(pgd_name, epsilon)}
    budgets = dict.fromkeys(after, epsilon)
    alignment = torch.empty(0)
    if check_masking:
        report(f"{pgd_name} with restarts")
        after["pgd with restarts"] = _pgd_with_restarts(classifier, pgd, x, y, ids, epsilon, after["pgd"])
        after["noise"] = predict_classes(classifier, add_random_sign_noise(x, ids, spec))
        budgets |= {"pgd with restarts": epsilon, "noise": epsilon, "pgd at less": epsilon / 2}
        after["pgd at less"] = run_pgd(f"{pgd_name} at half of epsilon", epsilon / 2)
        if spec.epsilon_scale is None and supports_square_attack(classifier, x, spec.norm):
            report("Square")
            seed = spec.seed + int(ids[0])
            crafted = square_attack(classifier, x, y, epsilon, norm=spec.norm, steps=SQUARE_STEPS, seed=seed)
            after["square"], budgets["square"] = predict_classes(classifier, crafted), epsilon
        half_range = half_range_epsilon(spec, x[0].numel())
        if math.isfinite(half_range):
            after[PGD_AT_HALF_RANGE] = run_pgd(f"{pgd_name} at {half_range:.3g}", half_range)
            budgets[PGD_AT_HALF_RANGE] = half_range
        report("alignment of gradients")
        alignment = gradient_alignment(classifier, x, y, ids, spec)
    outcomes = attacked.outcomes(torch.stack([after[name] for name in budgets], 1))
    return SampleOutcomes(outcomes, budgets, alignment.double().cpu().numpy())


def _pgd_with_restarts(
    classifier: Classifier, pgd: ProjectedGradientDescent, x: Tensor, y: Tensor, ids: Tensor, epsilon: float, first: Tensor
) -> Tensor:
    """Return the classes after PGD from several starts, of which `first` (N,) is one; each start attacks what is not fooled yet."""
    found = first
    for restart in range(2, PGD_RESTARTS + 2):
        left = (found == y).nonzero().squeeze(1)
        if len(left):
            crafted = pgd.perturb(x[left], y[left], ids[left.cpu()], epsilon, restart)
            found = found.index_copy(0, left, predict_classes(classifier, crafted))
    return found


def add_random_sign_noise(x: Tensor, ids: Tensor, spec: AttackSpec) -> Tensor:
    """Return images moved by random signs to the full budget; the signs depend only on seed and id."""
    return random_start(
        x,
        ids,
        spec.epsilons[0],
        norm=spec.norm,
        epsilon_scale=spec.epsilon_scale,
        bounds=spec.bounds,
        seed=spec.seed,
        restart=0,
        distribution="sign",
    )


def gradient_alignment(classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, spec: AttackSpec) -> Tensor:
    """Return the cosine (N,) of the gradients at x and at a uniform point of the ball; NaN if one is zero or not finite.

    Andriushchenko and Flammarion 2020, arXiv:2007.02617, equation 6.
    """
    nearby = random_start(
        x, ids, spec.epsilons[0], norm=spec.norm, epsilon_scale=spec.epsilon_scale, bounds=spec.bounds, seed=spec.seed
    )
    first, second = (_unit_vectors(classifier.loss_gradient(point, y, cross_entropy)[0]) for point in (x, nearby))
    return (first * second).sum(1)


def _unit_vectors(gradient: Tensor) -> Tensor:
    flat = gradient.flatten(1).double()
    length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return flat / length
