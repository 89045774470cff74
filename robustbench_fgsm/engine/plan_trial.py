"""Try a plan on a few images of the run before it is used: the planned network must give the plain network's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import own_labels
from robustbench_fgsm.attack.losses import get_loss
from robustbench_fgsm.data.dataset import Batch
from robustbench_fgsm.engine.attack_batch import AttackedBatch, attack_batch
from robustbench_fgsm.engine.plan import Plan, PlanTrial, apply_plan
from robustbench_fgsm.engine.rounding_guard import RoundingGuard
from robustbench_fgsm.errors import describe_error, is_out_of_memory
from robustbench_fgsm.global_settings import preserve_generators
from robustbench_fgsm.models.classifier import Classifier, TorchClassifier, move_to_classifier
from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.models.module_attributes import simple_attributes
from robustbench_fgsm.models.packed_convolution import has_additions
from robustbench_fgsm.spec import AttackSpec

TOLERANCES = {"float32": 512 * 2.0**-24, "tf32": 64 * 2.0**-11, "bf16": 64 * 2.0**-8}
"""Largest difference of outputs, as a share of the largest output: 512 float32 roundings that all add up, or 64 coarser ones."""

GRADIENT_IMAGES = 32
"""Images whose gradients are compared: a gradient takes as long as three predictions."""

GRADIENT_TOLERANCE_FACTOR = 16
"""Gradients may differ by so many times the tolerance of outputs, because the backward pass adds its own rounding errors."""

SINGLE_IMAGES = 8
"""Images that are also predicted one by one, under a plan of lower precision."""

TIED_SHARE = 1 / 16
"""Share of the images whose gradient may differ by more: rounding turns a ReLU on, or picks another of two equal pixels."""


class TrialFailure(Exception):  # noqa: N818  (not an error of a command: the run goes on under a plain plan)
    """Reason why a plan cannot be used."""


def try_plan(
    classifier: TorchClassifier, plan: Plan, batch: Batch, num_images: int, spec: AttackSpec, classes: tuple[str, ...]
) -> Plan:
    """Return the plan with its trial, which runs the plain and the planned network on the same images; a plain plan needs none.

    The trial uses a copy of the network, and restores the random generators: it leaves no trace.

    Args:
        classifier: the plain classifier.
        plan: the plan. A guarded plan only predicts; any other plan also computes gradients.
        batch: trial images, as many as a batch of the run has.
        num_images: images of the run, which fix the size of its last batch.
        spec: the attack, whose largest budget is tried.
        classes: names of the classes.

    Raises:
        TrialFailure: the networks differ by more than rounding, the network changes from call to call, or one of them fails.
    """
    if plan.is_plain:
        return plan
    if any(map(has_additions, classifier.network.modules())):
        raise TrialFailure("a module has a hook or a replaced method, which a copy would share")
    last_size, tolerance = num_images % len(batch) or (len(batch) + 1) // 2, TOLERANCES[plan.precision]
    try:
        with copied_classifier(classifier) as plain:
            planned = apply_plan(plain, plan).classifier
            pairs = _outputs_of_both(plain, planned, attack_batch(plain, batch, spec, classes), last_size, max(spec.epsilons))
            subsets = _outputs_of_subsets(plain, pairs[0][0], batch.images) if plan.guarded and plan.precision != "float32" else []
            gradient = None if plan.guarded else _gradient_difference(plain, planned, batch.images[:GRADIENT_IMAGES])
            if _has_changed(classifier.network, plain.network):
                raise TrialFailure("the network changes its own state when it runs")
        if not _relative_difference(pairs[1][0][:last_size], pairs[2][0]) <= TOLERANCES["float32"]:
            raise TrialFailure("an image's outputs depend on the images beside it")
        difference = max(_relative_difference(*pair) for pair in pairs)
    except TrialFailure:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise TrialFailure(f"the network failed in its trial: {describe_error(error.__cause__ or error)}") from error
    for what, found, limit in (("outputs", difference, 1), ("gradients", gradient or 0.0, GRADIENT_TOLERANCE_FACTOR)):
        if not found <= limit * tolerance:
            raise TrialFailure(f"{what} differ by {found:.2g} of the largest, more than {limit * tolerance:.2g}")
    trial = PlanTrial(len(batch), (len(batch), last_size), tolerance, difference, gradient)
    if plan.guarded:
        subset = RoundingGuard.measure(subsets, num_images) if subsets else None
        trial = replace(trial, guard=RoundingGuard.measure(pairs, num_images), subset_guard=subset)
    return replace(plan, trial=trial)


def _outputs_of_both(
    plain: Classifier, planned: Classifier, attacked: AttackedBatch, last_size: int, epsilon: float
) -> list[tuple[Tensor, Tensor]]:
    """Return outputs of the plain and the planned network for clean and adversarial images, and for the last batch size."""
    x_adv = attacked.gradient_step.perturb(epsilon)
    inputs = [attacked.gradient_step.x, x_adv, x_adv[:last_size], x_adv]  # the last ones again
    ours, theirs = ([one.predict(move_to_classifier(x, one)) for x in inputs] for one in (plain, planned))
    if not torch.equal(ours[1], ours[3]):
        raise TrialFailure("the network answers the same images differently from call to call, or not with finite numbers")
    return list(zip(ours, theirs, strict=True))


def _outputs_of_subsets(plain: Classifier, outputs: Tensor, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return the outputs (N, K) of images, and outputs of some of the images in smaller batches.

    The batches have a half and an eighth of the images, and one image each: a library may multiply a single row by other code.
    """
    parts = [slice(-(-len(images) // share)) for share in (2, 8)]
    parts += [slice(at, at + 1) for at in range(min(SINGLE_IMAGES, len(images)))]
    return [(outputs[part], plain.predict(move_to_classifier(images[part], plain))) for part in parts]


def _gradient_difference(plain: Classifier, planned: Classifier, images: Tensor) -> float:
    """Return the largest difference of the images' gradients, as a share of an image's largest gradient, without ties.

    The cross-entropy of the predicted class has exact gradients also if float32 saturates.
    """
    y = own_labels(plain.predict(move_to_classifier(images, plain)))
    ours, theirs = (
        one.loss_gradient(move_to_classifier(images, one), y, get_loss("ce", stable=True))[0].flatten(1).double()
        for one in (plain, planned)
    )
    scale = ours.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny)
    shares = ((ours - theirs).abs().amax(1) / scale).nan_to_num(torch.inf).sort().values
    return float(shares[-1 - int(TIED_SHARE * len(shares))])


def _relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference of outputs, as a share of the largest output; infinite for other shapes."""
    if ours.shape != theirs.shape:
        return torch.inf
    scale = float(ours.abs().max())
    difference = float((ours.double() - theirs.double()).abs().max())
    return difference / scale if scale else difference


def _has_changed(before: nn.Module, after: nn.Module) -> bool:
    """Return whether a weight, a buffer, or a simple attribute of a module differs."""
    tensors = [[*network.parameters(), *network.buffers()] for network in (before, after)]
    return simple_attributes(before) != simple_attributes(after) or not all(map(torch.equal, *tensors))


@contextmanager
def copied_classifier(classifier: TorchClassifier) -> Iterator[TorchClassifier]:
    """Yield a copy that may run without a trace: the generators of PyTorch, NumPy and Python are restored at the end."""
    with preserve_generators([classifier.device]):
        yield classifier.with_network(copy_module(classifier.network), classifier.memory_format)
