"""One batch attacked and observed: the step between the mathematics and the counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from robustbench_fgsm.attack.fgsm import Ascent, ascend
from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.attack.restarts import best_of_restarts
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.targets import targets_for
from robustbench_fgsm.models.classifier import Classifier, place_images
from robustbench_fgsm.spec import AttackSpec
from robustbench_fgsm.stats.tally import Outcomes

SATURATED = 1e-6
"""Below this 1 - p_y, float32 cancellation gives part of a cross-entropy gradient a wrong sign."""


@dataclass(frozen=True)
class AttackedBatch:
    """A batch, the way uphill from it, and the classes that the attack was given: labels, or targets (N,)."""

    batch: Batch
    ascent: Ascent
    aim: Tensor
    targeted: bool
    saturated: Tensor

    def outcomes(self, before: Tensor, after: Tensor) -> Outcomes:
        """What became of each image; before, after: predicted classes (N,), ours or another library's."""
        return Outcomes(
            labels=self.batch.labels.numpy(),
            before=before.cpu().numpy(),
            after=after.cpu().numpy(),
            targets=self.aim.cpu().numpy() if self.targeted else None,
            zero_gradient=self.ascent.zero.cpu().numpy(),
            nonfinite_gradient=self.ascent.nonfinite.cpu().numpy(),
            saturated=self.saturated.cpu().numpy(),
        )

    def at(self, rows: Tensor) -> AttackedBatch:
        """Some of the images; rows: (n,) indices."""
        here = rows.to(self.ascent.x.device)
        names = ("x", "outputs", "direction", "zero", "nonfinite")
        some: dict[str, Any] = {name: getattr(self.ascent, name)[here] for name in names}
        ascent, batch = replace(self.ascent, **some), self.batch.at(rows)
        return replace(self, batch=batch, ascent=ascent, aim=self.aim[here], saturated=self.saturated[here])

    def with_rows(self, rows: Tensor, other: AttackedBatch) -> AttackedBatch:
        """The same with those images, (n,) indices, as another attack on them saw them."""

        def put(mine: Tensor, theirs: Tensor) -> Tensor:
            return mine.index_copy(0, rows.to(mine.device), theirs)

        names = ("outputs", "direction", "zero", "nonfinite")
        changed: dict[str, Any] = {name: put(getattr(self.ascent, name), getattr(other.ascent, name)) for name in names}
        return replace(
            self,
            ascent=replace(self.ascent, **changed),
            aim=put(self.aim, other.aim),
            saturated=put(self.saturated, other.saturated),
        )


def attack_batch(classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...]) -> AttackedBatch:
    """One forward and one backward pass over the batch, which serve every budget."""
    y = targets_for(batch, spec.target, classes, spec.seed)
    x = place_images(batch.images, classifier)
    given = y if callable(y) else y.to(classifier.device)
    ascent = ascend(
        classifier,
        x,
        given,
        norm=spec.norm,
        targeted=spec.target.targeted,
        bounds=spec.bounds,
        loss=spec.loss,
        stable=spec.stable,
    )
    aim = given(ascent.outputs) if callable(given) else given
    return AttackedBatch(batch, ascent, aim, spec.target.targeted, saturated(ascent.outputs, aim))


def craft(classifier: Classifier, attacked: AttackedBatch, spec: AttackSpec, epsilon: float) -> tuple[Tensor, Tensor]:
    """Adversarial images (N, C, H, W) at one budget, the best of all starts, and their predicted classes (N,)."""
    if not spec.restarts:
        x_adv = attacked.ascent.at(epsilon)
        return x_adv, predict_classes(classifier, x_adv)
    best = best_of_restarts(
        classifier,
        attacked.ascent,
        attacked.aim,
        attacked.batch.ids,
        epsilon,
        restarts=spec.restarts,
        seed=spec.seed,
        targeted=attacked.targeted,
        loss=spec.loss,
        stable=spec.stable,
    )
    return best.x_adv, predicted(best.outputs)


def predict_classes(classifier: Classifier, x: Tensor) -> Tensor:
    """Predicted classes (N,)."""
    return predicted(classifier.predict(x))


def saturated(outputs: Tensor, labels: Tensor) -> Tensor:
    """Images (N,) bool with 1 - p_y below 1e-6, from logits (N, K) in double precision."""
    return wrong_share(outputs, labels) < SATURATED


def wrong_share(outputs: Tensor, labels: Tensor) -> Tensor:
    """1 - p_y (N,), summed over the other classes in double precision, so that nothing cancels."""
    return outputs.double().softmax(1).scatter(1, labels.unsqueeze(1), 0.0).sum(1)


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that a clock read next has measured all of its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
