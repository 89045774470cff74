"""One batch attacked and observed: the step between the mathematics and the counts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_fgsm.attack.fgsm import Ascent, ascend
from robustbench_fgsm.attack.gradient import predicted
from robustbench_fgsm.attack.restarts import best_of_restarts
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.measure.tally import Outcomes
from robustbench_fgsm.measure.targets import targets_for
from robustbench_fgsm.models.classifier import Classifier
from robustbench_fgsm.spec import AttackSpec

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


def attack_batch(classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...]) -> AttackedBatch:
    """One forward and one backward pass over the batch, which serve every budget."""
    y = targets_for(batch, spec.target, classes, spec.seed)
    x = batch.images.to(classifier.device)
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


def observe(
    classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...]
) -> tuple[list[Outcomes], list[Outcomes]]:
    """Outcomes of one batch at each budget; and the same with `stable` gradients on the images that are saturated.

    The second list is the first one where no image is saturated, or the loss is not cross-entropy, and it is empty where
    the classifier brings its own loss, so that there are no stable gradients.
    """
    attacked = attack_batch(classifier, batch, spec, classes)
    before = predicted(attacked.ascent.outputs)
    after = [craft(classifier, attacked, spec, epsilon)[1] for epsilon in spec.epsilons]
    ordinary = [attacked.outcomes(before, predictions) for predictions in after]
    if not classifier.any_loss:
        return ordinary, []
    if spec.loss != "ce" or spec.stable or not bool(attacked.saturated.any()):
        return ordinary, ordinary
    exact = replace(spec, stable=True)
    some = attack_batch(classifier, batch.at(attacked.saturated.cpu()), exact, classes)
    mended = []
    for epsilon, predictions in zip(spec.epsilons, after, strict=True):
        changed = predictions.clone()
        changed[attacked.saturated] = craft(classifier, some, exact, epsilon)[1]
        mended.append(attacked.outcomes(before, changed))
    return ordinary, mended


def predict_classes(classifier: Classifier, x: Tensor) -> Tensor:
    """Predicted classes (N,)."""
    return predicted(classifier.predict(x))


def saturated(outputs: Tensor, labels: Tensor) -> Tensor:
    """Images (N,) bool with 1 - p_y below 1e-6, from logits (N, K) in double precision."""
    wrong = outputs.double().softmax(1).scatter(1, labels.unsqueeze(1), 0.0)
    return wrong.sum(1) < SATURATED


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that a clock read next has measured all of its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
