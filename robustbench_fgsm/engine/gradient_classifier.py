"""Choose the network that computes the gradients of an attack of many steps."""

from __future__ import annotations

from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.plan import Plan, apply_plan
from robustbench_fgsm.engine.plan_trial import TrialFailure, try_plan
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, has_convolutions
from robustbench_fgsm.spec import AttackSpec

GRADIENT_PLAN = Plan("max", memory_format="channels_last", fold_batch_norm=True, batch_size=32)
"""Plan of gradients on a CPU. The activations of so few images stay in the processor's cache."""


def choose_gradient_classifier(
    classifier: Classifier, batch: Batch, num_images: int, spec: AttackSpec, classes: tuple[str, ...]
) -> tuple[Classifier, int | None]:
    """Return the classifier for the gradients of many steps, and its images at a time; None for whole batches.

    On a CPU, a network with convolutions gets `GRADIENT_PLAN`, if its outputs and gradients on the first images of the batch are
    those of the plain network within the tolerance of the trial. Otherwise it is the plain classifier. The plan only proposes
    images: the plain network decides whether they fool it. Rounding may lead to other images, as it does between two machines.

    Args:
        classifier: the plain classifier, which is under attack.
        batch: images of the run, for the trial.
        num_images: images of the run.
        spec: the attack.
        classes: names of the classes.
    """
    if not isinstance(classifier, TorchClassifier) or not classifier.has_variants or classifier.device.type != "cpu":
        return classifier, None
    if batch.images.ndim != 4 or not has_convolutions(classifier.network):
        return classifier, None
    try:
        plan = try_plan(classifier, GRADIENT_PLAN, batch.at(slice(GRADIENT_PLAN.batch_size)), num_images, spec, classes)
    except TrialFailure:
        return classifier, None
    return apply_plan(classifier, plan).classifier, plan.batch_size
