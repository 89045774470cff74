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

from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.attack.random_start import random_start
from robustbench_fgsm.attack.step import clip
from robustbench_fgsm.data.dataset import BadSample, Batch, Dataset, readable
from robustbench_fgsm.engine.attack_batch import attack_batch, craft, predict_classes
from robustbench_fgsm.engine.out_of_memory import Portions
from robustbench_fgsm.engine.progress import Checking
from robustbench_fgsm.errors import InvalidRunError
from robustbench_fgsm.evaluation.stronger_attacks import pgd, square, takes_square
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec, Bounds
from robustbench_fgsm.stats.tally import Counts, Flags

RESTARTS = 3
"""Further starts of PGD on the images that the first leaves."""

SQUARE_STEPS = 100
HALF = "pgd at half"
"""PGD at a budget whose ball holds the grey image halfway between the bounds, whatever the image."""


@dataclass(frozen=True)
class Fates:
    """Of N images: labels, targets (None untargeted) and classes before, all (N,); by attack, classes after (N,).

    budgets: of each attack. alignment: (N,) cosine of the loss gradients at the image and at a point drawn from its ball,
    NaN where one is zero; empty where it was not taken.
    """

    labels: Counts
    before: Counts
    targets: Counts | None
    after: Mapping[str, Counts]
    budgets: Mapping[str, float]
    alignment: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    def fooled(self, name: str) -> Flags:
        """Whether that attack leaves the image with another class than its label; targeted: with the target."""
        after = self.after[name]
        return np.not_equal(after, self.labels) if self.targets is None else np.equal(after, self.targets)

    @property
    def right(self) -> Flags:
        """Right before any attack."""
        return np.equal(self.before, self.labels)

    @property
    def off_target(self) -> Flags:
        """Neither of the target's class nor taken for it before; all of them untargeted."""
        if self.targets is None:
            return np.ones(len(self), np.bool_)
        return np.not_equal(self.targets, self.labels) & np.not_equal(self.targets, self.before)


def attacked_sample(
    classifier: Classifier,
    data: Dataset,
    spec: AttackSpec,
    batch_size: int,
    *,
    steps: int,
    masking: bool,
    checking: Checking | None = None,
) -> Fates:
    """All of the data attacked by FGSM as spec has it, and by ART's PGD; masking: by all that this needs besides.

    spec has one budget. checking: called before each attack. Raises InvalidRunError where no image can be read.
    """
    bad: list[BadSample] = []
    parts: list[Fates] = []
    portions = Portions()

    def say(attack: str) -> None:
        if checking is not None:
            checking(attack, sum(map(len, parts)), len(data))

    def look(batch: Batch, rows: slice) -> Fates:
        some = batch.at(rows)
        return _attacked(classifier, some, spec=spec, classes=data.classes, steps=steps, masking=masking, say=say)

    for batch in readable(data, 0, len(data), batch_size, bad):
        parts += portions.each(len(batch), partial(look, batch))
    if not parts:
        raise InvalidRunError(f"a check by PGD needs an image, but none of the {len(data):,} drawn could be read")
    return _joined(parts)


def half(spec: AttackSpec, bounds: Bounds, size: int) -> float:
    """The smallest budget whose ball around any image of that size holds the grey one; infinite without bounds."""
    low, high = bounds
    return (high - low) / 2 * (1.0 if spec.norm == math.inf else size ** (1 / spec.norm))


def _attacked(
    classifier: Classifier,
    batch: Batch,
    *,
    spec: AttackSpec,
    classes: tuple[str, ...],
    steps: int,
    masking: bool,
    say: Callable[[str], None],
) -> Fates:
    say("FGSM")
    attacked = attack_batch(classifier, batch, spec, classes)
    (epsilon,) = spec.epsilons
    x, aim, seed = batch.images.to(classifier.device), attacked.aim, spec.seed + int(batch.ids[0])
    targeted = spec.target.targeted

    def by_pgd(name: str, budget: float) -> Tensor:
        say(name)
        found = pgd(classifier, x, aim, budget, norm=spec.norm, targeted=targeted, steps=steps, seed=seed)
        return predict_classes(classifier, found)

    before = predicted(attacked.ascent.outputs)
    after = {"fgsm": craft(classifier, attacked, spec, epsilon)[1], "pgd": by_pgd(f"PGD-{steps}", epsilon)}
    budgets = dict.fromkeys(after, epsilon)
    alignment = torch.empty(0)
    if masking:
        say(f"PGD-{steps} with restarts")
        after["pgd with restarts"] = _restarted(classifier, x, aim, after["pgd"], spec, steps, seed)
        after["noise"] = predict_classes(classifier, noisy(x, batch.ids, spec))
        budgets |= {"pgd with restarts": epsilon, "noise": epsilon, "pgd at less": epsilon / 2}
        after["pgd at less"] = by_pgd(f"PGD-{steps} at half of epsilon", epsilon / 2)
        if takes_square(classifier, x, spec.norm):
            say("Square")
            found = square(classifier, x, aim, epsilon, norm=spec.norm, steps=SQUARE_STEPS, seed=seed)
            after["square"], budgets["square"] = predict_classes(classifier, found), epsilon
        most = half(spec, classifier.bounds, x[0].numel())
        if math.isfinite(most):
            after[HALF], budgets[HALF] = by_pgd(f"PGD-{steps} at {most:.3g}", most), most
        say("alignment of gradients")
        alignment = aligned(classifier, x, aim, batch.ids, spec)
    return Fates(
        batch.labels.numpy(),
        before.cpu().numpy(),
        aim.cpu().numpy() if targeted else None,
        {name: found.cpu().numpy() for name, found in after.items()},
        budgets,
        alignment.double().cpu().numpy(),
    )


def _restarted(
    classifier: Classifier, x: Tensor, y: Tensor, once: Tensor, spec: AttackSpec, steps: int, seed: int
) -> Tensor:
    """Classes after PGD from several starts: each gets what those before left unfooled."""
    found = once
    for restart in range(1, RESTARTS + 1):
        left = (found == y).nonzero().squeeze(1)
        if len(left):
            crafted = pgd(
                classifier, x[left], y[left], spec.epsilons[0], norm=spec.norm, steps=steps, seed=seed + restart
            )
            found = found.index_copy(0, left, predict_classes(classifier, crafted))
    return found


def noisy(x: Tensor, ids: Tensor, spec: AttackSpec) -> Tensor:
    """Images moved by random signs, as far as the budget goes; the signs depend on seed and id alone."""
    drawn = [np.random.default_rng([spec.seed, int(id_), 0]).integers(0, 2, x[0].numel()) for id_ in ids]
    signs = torch.from_numpy(np.stack(drawn) * 2 - 1).to(x).view_as(x)
    length = 1.0 if spec.norm == math.inf else x[0].numel() ** (1 / spec.norm)
    return clip(x + spec.epsilons[0] / length * signs, spec.bounds)


def aligned(classifier: Classifier, x: Tensor, y: Tensor, ids: Tensor, spec: AttackSpec) -> Tensor:
    """Cosine (N,) of the gradients at x and at a point drawn evenly from the ball (Andriushchenko and Flammarion 2020).

    arXiv:2007.02617, equation 6. NaN where a gradient is zero or not finite.
    """
    near = random_start(x, ids, spec.epsilons[0], norm=spec.norm, bounds=spec.bounds, seed=spec.seed)
    here, there = (_unit(classifier.loss_gradient(point, y, cross_entropy)[0]) for point in (x, near))
    return (here * there).sum(1)


def _unit(gradient: Tensor) -> Tensor:
    flat = gradient.flatten(1).double()
    length: Tensor = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return flat / length


def _joined(parts: list[Fates]) -> Fates:
    first = parts[0]
    names = [name for name in first.after if all(name in part.after for part in parts)]
    return Fates(
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.before for part in parts]),
        None if first.targets is None else np.concatenate([part.targets for part in parts if part.targets is not None]),
        {name: np.concatenate([part.after[name] for part in parts]) for name in names},
        first.budgets,
        np.concatenate([part.alignment for part in parts]),
    )
