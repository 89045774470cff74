"""The fast gradient sign method as stages, in which any known mistake can be made on purpose."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.losses import Loss, cross_entropy
from robustbench_fgsm.models.copy_module import copy_module
from robustbench_fgsm.variants.altered_models import (
    HALF_DTYPE_BY_NAME,
    altered_model,
    model_with_drifted_statistics,
    seeded_cpu_generator,
)
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.variants.stages import (
    CLIPS,
    COUPLINGS,
    DIRECTIONS,
    IMAGE_ORDERS,
    LOSS_VARIANTS,
    OUTPUT_FORMATS,
    PIXEL_LAYOUTS,
    STEP_EPSILONS,
)

STEP_STAGES = frozenset({"start", "direction", "epsilon", "steps", "clip", "output_format", "output_layout", "image_order"})
"""Stages whose mistakes can change how far pixels move."""


@dataclass(frozen=True)
class AttackRecipe:
    """The variant used at each stage, by name.

    The defaults are the correct attack. A mistake changes one stage or a few, a pair of mistakes more.
    """

    weights: str = "given"
    mode: str = "eval"
    start: str = "the image"
    input_layout: str = "own"
    labels: str = "given"
    loss: str = "ce"
    reduction: str = "sum"
    backward: str = "true"
    stale_gradient: str = "none"
    coupling: str = "own"
    gradient_layout: str = "own"
    direction: str = "sign"
    step_sign: str = "right"
    epsilon: str = "given"
    steps: str = "one"
    clip: str = "bounds"
    kept_images: str = "all"
    output_format: str = "float32"
    output_layout: str = "own"
    image_order: str = "own"

    @property
    def gradient_key(self) -> tuple[str, ...]:
        """Return the stages that the raw gradient depends on."""
        return (self.weights, self.mode, self.start, self.input_layout, self.labels, self.loss, self.reduction, self.backward)

    @property
    def changes(self) -> dict[str, str]:
        """Return the stages that differ from the correct attack."""
        return {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) != field.default}


CORRECT_RECIPE = AttackRecipe()


class RecipeRunner:
    """Runs attack recipes on calls, with a cache of gradients, altered models and images."""

    def __init__(self) -> None:
        self._gradients: dict[tuple[AttackCall, tuple[str, ...]], Tensor] = {}
        self._images: dict[tuple[AttackCall, AttackRecipe], Tensor] = {}
        self._models: dict[tuple[nn.Module, str, str], nn.Module] = {}
        self._float64_gradients: dict[tuple[AttackCall, Loss], Tensor] = {}

    def cached(self, call: AttackCall, recipe: AttackRecipe) -> Tensor:
        """Return the images of `run`, cached if the recipe has at most one change."""
        if len(recipe.changes) > 1:  # there are too many pairs of mistakes to keep their images
            return self.run(call, recipe)
        if (call, recipe) not in self._images:
            self._images[call, recipe] = self.run(call, recipe)
        return self._images[call, recipe]

    def run(self, call: AttackCall, recipe: AttackRecipe) -> Tensor:
        """Return the adversarial images (N, C, H, W) of this recipe."""
        chained = recipe.steps.startswith("chained")
        moved = self._run_chained_calls(call, recipe) if chained else self._run_steps(call, recipe)
        moved = OUTPUT_FORMATS[recipe.output_format](self._restore_clean(call, recipe, moved))
        return IMAGE_ORDERS[recipe.image_order](PIXEL_LAYOUTS[recipe.output_layout](moved))

    def _run_steps(self, call: AttackCall, recipe: AttackRecipe) -> Tensor:
        count, size = parse_steps(recipe.steps)
        epsilon, moved = STEP_EPSILONS[recipe.epsilon](call), starting_point(call, recipe.start)
        for index in range(count):
            gradient = self._compute_gradient(call, recipe, moved) if index else self._gradient_with_stale(call, recipe)
            moved = CLIPS[recipe.clip](moved + size * epsilon * _step_direction(call, recipe, gradient), call)
            if count > 1 or recipe.start.startswith("a random"):
                reach = torch.as_tensor(epsilon, dtype=moved.dtype)
                moved = CLIPS[recipe.clip](call.x + (moved - call.x).clamp(-reach, reach), call)
        return moved

    def _run_chained_calls(self, call: AttackCall, recipe: AttackRecipe) -> Tensor:
        """Start each call from the adversarial images of the call before, so that budgets add up."""
        moved = call.calls_so_far[0].x
        for one in call.calls_so_far:
            at_moved = recipe.steps == "chained"
            gradient = self._compute_gradient(one, recipe, moved) if at_moved else self._gradient_with_stale(one, recipe)
            step = STEP_EPSILONS[recipe.epsilon](one) * _step_direction(one, recipe, gradient)
            moved = CLIPS[recipe.clip](moved + step, one)
        return moved

    def _gradient_with_stale(self, call: AttackCall, recipe: AttackRecipe) -> Tensor:
        """Return the gradient at the clean images, summed with or replaced by gradients of earlier calls if the recipe says so."""
        calls = call.calls_so_far
        match recipe.stale_gradient:
            case "sum":
                return torch.stack([self.cached_gradient(one, recipe) for one in calls]).sum(0)
            case "first":
                return self.cached_gradient(calls[0], recipe)
            case "previous":
                return self.cached_gradient(calls[-2:][0], recipe)
        return self.cached_gradient(call, recipe)

    def cached_gradient(self, call: AttackCall, recipe: AttackRecipe) -> Tensor:
        """Return the gradient of the recipe's loss where the recipe starts."""
        key = (call, recipe.gradient_key)
        if key not in self._gradients:
            self._gradients[key] = self._compute_gradient(call, recipe, starting_point(call, recipe.start))
        return self._gradients[key]

    def _compute_gradient(self, call: AttackCall, recipe: AttackRecipe, x: Tensor) -> Tensor:
        """Return the gradient of the recipe's loss at x."""
        model = self._altered_model(call, recipe)
        with seeded_cpu_generator(call.seed), torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.mode == "autocast to bfloat16"):
                outputs = model(PIXEL_LAYOUTS[recipe.input_layout](leaf))
                labels = loss_labels(call, recipe.labels, outputs.detach())
                loss = LOSS_VARIANTS[recipe.loss](outputs, labels)
            total = loss.mean() if recipe.reduction == "mean" else loss.sum()
            (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True, materialize_grads=True)
        return gradient

    def float64_gradient(self, call: AttackCall, loss: Loss = cross_entropy) -> Tensor:
        """Return the gradient at the clean images in float64, which shows whether float32 can decide its sign."""
        if (call, loss) not in self._float64_gradients:
            leaf = call.x.double().requires_grad_()
            with torch.enable_grad():
                total = loss(copy_module(call.model).double()(leaf), call.y).sum()
            (self._float64_gradients[call, loss],) = torch.autograd.grad(total, leaf)
        return self._float64_gradients[call, loss]

    def _altered_model(self, call: AttackCall, recipe: AttackRecipe) -> nn.Module:
        """Return the network that the gradient is taken of; copies that no call changes are cached."""
        model = call.calls_so_far[0].model if recipe.weights == "first call's" else call.model
        if recipe.mode.startswith("statistics drift"):
            return model_with_drifted_statistics(model, call, recipe.mode, recipe.backward)
        key = (model, recipe.mode, recipe.backward)
        if key not in self._models:
            self._models[key] = altered_model(model, recipe.mode, recipe.backward)
        return self._models[key]

    def _restore_clean(self, call: AttackCall, recipe: AttackRecipe, moved: Tensor) -> Tensor:
        """Return the adversarial images, with the clean image instead if the recipe does not keep the adversarial image."""
        if recipe.kept_images == "all":
            return moved
        with torch.no_grad():
            wrong_before, wrong_after = (call.model(images).argmax(1) != call.y for images in (call.x, moved))
        clean = {
            "clean where wrong before": ~wrong_before if call.targeted else wrong_before,
            "clean where it fails": wrong_after if call.targeted else ~wrong_after,
            "clean where it succeeds": ~wrong_after if call.targeted else wrong_after,
        }[recipe.kept_images]
        return torch.where(clean.view(-1, 1, 1, 1), call.x, moved)


def _step_direction(call: AttackCall, recipe: AttackRecipe, gradient: Tensor) -> Tensor:
    down = {"right": call.targeted, "opposite": not call.targeted, "down": True, "up": False}[recipe.step_sign]
    climbed = COUPLINGS[recipe.coupling](PIXEL_LAYOUTS[recipe.gradient_layout](-gradient if down else gradient))
    return DIRECTIONS[recipe.direction](climbed)


def parse_steps(steps: str) -> tuple[int, float]:
    """Return the number of steps, and the size of each step as a share of epsilon."""
    if " of " not in steps:
        return 1, 1.0
    count, _, size = steps.partition(" of ")
    return int(count), {"a share": 1 / int(count), "2.5 shares": 2.5 / int(count), "epsilon": 1.0}[size]


def starting_point(call: AttackCall, start: str) -> Tensor:
    """Return the images (N, C, H, W) at which the gradient is taken and the step begins."""
    if start == "the image":
        return call.x
    if start.startswith("the image in"):
        return call.x.to(HALF_DTYPE_BY_NAME[start.removeprefix("the image in ")]).float()
    half_step = start == "a random half step"
    with seeded_cpu_generator(call.seed):
        drawn = torch.randn_like(call.x).sign() if half_step else torch.rand_like(call.x) * 2 - 1
    return (call.x + (call.epsilon / 2 if half_step else call.epsilon) * drawn).clamp(*call.bounds)


def loss_labels(call: AttackCall, rule: str, outputs: Tensor) -> Tensor:
    """Return the labels (N,) that the loss receives."""
    if rule == "predicted":
        return outputs.argmax(1)
    if rule.startswith("shifted"):
        return (call.y + int(rule.removeprefix("shifted by "))) % outputs.shape[1]
    if rule.startswith("in order"):
        return torch.tensor([int(place) for place in rule.removeprefix("in order ").split()])[call.y]
    return call.calls_so_far[0].y if rule == "first call's" else call.y
