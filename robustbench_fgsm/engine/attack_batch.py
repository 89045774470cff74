"""Attack one batch: the step between the mathematics and the counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.clip import feature_tensor
from robustbench_fgsm.attack.fgsm import GradientStep, StepSettings, compute_gradient_step
from robustbench_fgsm.attack.restarts import best_of_restarts
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.targets import targets_for
from robustbench_fgsm.models.classifier import Classifier, decide, move_to_classifier
from robustbench_fgsm.spec import AttackSpec, is_multi_label
from robustbench_fgsm.stats.tally import BatchOutcomes, Tally

SATURATION_THRESHOLD = 1e-6
"""Below this 1 - p_y, float32 cancellation gives part of a cross-entropy gradient a wrong sign."""


@dataclass(frozen=True)
class AttackedBatch:
    """A batch, its gradient step, the predictions before, and the labels or targets that the attack got: each (N,).

    Of a multi-label classifier, predictions and labels are multi-hot (N, K).
    """

    batch: Batch
    gradient_step: GradientStep
    before: Tensor
    labels_or_targets: Tensor
    targeted: bool
    saturated: Tensor

    def outcomes(self, after: Tensor, before: Tensor | None = None) -> BatchOutcomes:
        """Return the outcomes of the batch, of our predictions or another library's.

        Args:
            after: predictions after the attack in the shape of the labels, or (N, E, ...) of several budgets.
            before: (N,) predicted classes before the attack; by default those of the gradient's forward pass.
        """
        before = self.before if before is None else before
        return BatchOutcomes(
            ids=self.batch.ids.numpy(),
            labels=self.batch.labels.numpy(),
            before=before.cpu().numpy(),
            after=(after if after.ndim > self.batch.labels.ndim else after.unsqueeze(1)).cpu().numpy(),
            targets=self.labels_or_targets.cpu().numpy() if self.targeted else None,
            zero_gradient=self.gradient_step.zero_gradient.cpu().numpy(),
            nonfinite_gradient=self.gradient_step.nonfinite_gradient.cpu().numpy(),
            saturated=self.saturated.cpu().numpy(),
        )


def empty_tally(classifier: Classifier, spec: AttackSpec) -> Tally:
    """Return the counts of an attack on the classifier before the first image."""
    return Tally.empty(classifier.num_classes, targeted=spec.target.targeted, multi_label=is_multi_label(classifier))


def attack_batch(classifier: Classifier, batch: Batch, spec: AttackSpec, classes: tuple[str, ...]) -> AttackedBatch:
    """Compute one forward and one backward pass over the batch, which serve every budget."""
    y = targets_for(batch, spec.target, classes, spec.seed)
    y = y if callable(y) else y.to(classifier.device)
    x = move_to_classifier(batch.images, classifier)
    scale = None if spec.epsilon_scale is None else feature_tensor(spec.epsilon_scale, x, "epsilon scale")
    settings = StepSettings(spec.norm, spec.target.targeted, spec.bounds, loss=spec.loss, stable=spec.stable, epsilon_scale=scale)
    step = compute_gradient_step(classifier, x, y, settings)
    labels_or_targets = y(step.outputs) if callable(y) else y
    if is_multi_label(classifier):  # softmax has no meaning there
        saturated = torch.zeros_like(step.zero_gradient)
    else:
        saturated = is_saturated(step.outputs, labels_or_targets)
    before = decide(classifier, step.outputs)
    return AttackedBatch(batch, step, before, labels_or_targets, spec.target.targeted, saturated)


def craft_and_predict(classifier: Classifier, attacked: AttackedBatch, spec: AttackSpec, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return adversarial images (N, C, H, W) at one budget, the best of all starts, and their predicted classes (N,)."""
    x_adv, outputs = craft_and_run(classifier, attacked, spec, epsilon)
    return x_adv, decide(classifier, outputs)


def craft_and_run(classifier: Classifier, attacked: AttackedBatch, spec: AttackSpec, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return adversarial images (N, C, H, W) at one budget, the best of all starts, and their outputs (N, K)."""
    if not spec.restarts:
        x_adv = attacked.gradient_step.perturb(epsilon)
        return x_adv, classifier.predict(x_adv)
    best = best_of_restarts(
        classifier,
        attacked.gradient_step,
        attacked.labels_or_targets,
        attacked.batch.ids,
        epsilon,
        restarts=spec.restarts,
        seed=spec.seed,
    )
    return best.x_adv, best.outputs


def predict_classes(classifier: Classifier, x: Tensor) -> Tensor:
    """Return the predicted classes (N,), or multi-hot labels (N, K)."""
    return decide(classifier, classifier.predict(x))


def is_saturated(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the images (N,) bool with 1 - p_y below 1e-6, from logits (N, K) in double precision."""
    return wrong_class_probability(outputs, labels) < SATURATION_THRESHOLD


def wrong_class_probability(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return 1 - p_y (N,), summed over the other classes in double precision, so that nothing cancels."""
    return outputs.double().softmax(1).scatter(1, labels.unsqueeze(1), 0.0).sum(1)


def synchronise(device: torch.device) -> None:
    """Wait for the device, so that the clock then includes all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
