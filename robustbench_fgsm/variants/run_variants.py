"""Run variants of FGSM on a batch; variants share forward passes, gradients and predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.gradient import NO_CLASS
from robustbench_fgsm.attack.iterated import Momentum
from robustbench_fgsm.attack.random_start import random_start
from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.losses import LOSSES
from robustbench_fgsm.variants.stages import CLIPS, DIRECTIONS, KEPT, LABELS, MODES, OUTPUTS, SIZES, STARTS, STEPS, StepRule
from robustbench_fgsm.variants.variant import RIGHT_VARIANT, Variant

GradientKey = tuple[str, str]


class VariantRunner:
    """Runs variants on one batch.

    Args:
        call: the batch; its budget is not used.
        ids: (N,) ids of the images, which determine random starts.
        predict: function from images (N, C, H, W) to predicted classes (N,).
        before: (N,) predicted classes before the attack.
        variants: the variants that will be run.
    """

    def __init__(
        self, call: AttackCall, ids: Tensor, predict: Callable[[Tensor], Tensor], before: Tensor, variants: Iterable[Variant]
    ) -> None:
        self.call, self.ids, self.predict, self.before = call, ids, predict, before
        self._variants = tuple(variants)
        self._clean_gradients: dict[str, dict[GradientKey, Tensor]] = {}
        self._predictions: dict[tuple[Variant, float], Tensor] = {}
        self._unfinished: dict[tuple[StepRule, Variant, float], tuple[int, Tensor]] = {}
        self._models: dict[str, nn.Module] = {"eval": call.model}

    def predictions(self, variant: Variant, epsilon: float) -> Tensor:
        """Return the predicted classes (N,) after this variant at a budget."""
        key = replace(variant, kept="all"), epsilon
        if key not in self._predictions:
            self._predictions[key] = self.predict(self.images(key[0], epsilon))
        after = self._predictions[key]
        clean = KEPT[variant.kept].value(self._succeeds(self.before), self._succeeds(after))
        return torch.where(clean, self.before, after)

    def set_predictions(self, variant: Variant, epsilon: float, after: Tensor) -> None:
        """Use these predicted classes (N,) after a variant at a budget."""
        self._predictions[variant, epsilon] = after

    def images(self, variant: Variant, epsilon: float) -> Tensor:
        """Return the adversarial images (N, C, H, W) of this variant at a budget, before images are kept or left clean."""
        call = replace(self.call, epsilon=epsilon)
        size, rule = SIZES[variant.size].value(call), STEPS[variant.steps].value
        start, clip, share = STARTS[variant.start].value, CLIPS[variant.clip].value, rule.share
        start = STARTS["a random point"].value if rule.random_start else start
        if variant.start == "a random half step":
            share = 0.5  # R+FGSM (Tramer et al. 2018, arXiv:1705.07204): the other half follows the gradient
        step_size = share * size if rule.pixels is None else rule.pixels
        accumulate = None if rule.decay is None else Momentum(rule.decay)
        key = replace(rule, count=0), replace(variant, steps=RIGHT_VARIANT.steps), epsilon
        done, moved = self._unfinished.get(key, (0, call.x))
        if done > rule.count or accumulate is not None:
            done, moved = 0, call.x
        if not done and start is not None:
            moved = clip(call.x + size * start(self._uniform_draws()), call)
        for index in range(done, rule.count):
            at_image = start is None and index == 0
            gradient = (
                self._clean_gradient(variant) if at_image else self._gradients(moved, variant.mode, [variant.gradient_key])[0]
            )
            ascent = -gradient if call.targeted or variant.labels == "least likely" else gradient
            ascent = ascent if accumulate is None else accumulate(ascent).to(ascent.dtype)
            moved = clip(moved + step_size * DIRECTIONS[variant.direction].value(ascent), call)
            if not at_image or rule.pixels is not None:
                reach = torch.as_tensor(size, dtype=moved.dtype, device=moved.device)
                moved = clip(call.x + (moved - call.x).clamp(-reach, reach), call)
        if rule.count > 1:
            self._unfinished[key] = rule.count, moved
        return OUTPUTS[variant.output].value(moved)

    def _succeeds(self, predicted: Tensor) -> Tensor:
        """Return where (N,) a prediction is a success of the attack: the target, or not the label."""
        return (predicted != NO_CLASS) & ((predicted == self.call.y) == self.call.targeted)

    def _uniform_draws(self) -> Tensor:
        """Return draws in [-1, 1] (N, C, H, W) that do not depend on the batch."""
        return random_start(torch.zeros_like(self.call.x), self.ids, 1.0, bounds=None, seed=self.call.seed)

    def _clean_gradient(self, variant: Variant) -> Tensor:
        """Return the gradient at the clean images; one forward pass serves all losses in one mode."""
        if variant.mode not in self._clean_gradients:
            keys = list(dict.fromkeys(one.gradient_key for one in self._variants if one.mode == variant.mode))
            found = self._gradients(self.call.x, variant.mode, keys)
            self._clean_gradients[variant.mode] = dict(zip(keys, found, strict=True))
        return self._clean_gradients[variant.mode][variant.gradient_key]

    def _gradients(self, x: Tensor, mode: str, keys: Iterable[GradientKey]) -> list[Tensor]:
        """Return the gradients at x of losses with labels, from one forward pass."""
        if mode not in self._models:
            self._models[mode] = copy_module(self.call.model).train(MODES[mode].value)
        with torch.random.fork_rng([x.device] if x.is_cuda else []), torch.inference_mode(False), torch.enable_grad():
            torch.manual_seed(self.call.seed)
            leaf = x.detach().clone().requires_grad_()
            outputs = self._models[mode](leaf.clone())
            totals = [
                LOSSES[loss].function(outputs, LABELS[rule].value(outputs.detach(), self.call.y)).sum() for loss, rule in keys
            ]
            return [
                torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
                for total in totals
            ]
