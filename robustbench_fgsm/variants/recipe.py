"""The fast gradient sign method stage by stage, so that any one of its known mistakes can be made on purpose."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.losses import cross_entropy
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
    Loss,
)

GRADIENT_STAGES = frozenset(
    {
        "weights",
        "mode",
        "input_layout",
        "labels",
        "loss",
        "reduction",
        "backward",
        "stale_gradient",
        "coupling",
        "gradient_layout",
        "step_sign",
        "kept_images",
    }
)
"""Stages that leave the step as large as it is."""


@dataclass(frozen=True)
class AttackRecipe:
    """What is done at each stage, by name. The defaults are right; a mistake changes one of them, a pair of mistakes two."""

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
        """What the raw gradient depends on."""
        return (self.weights, self.mode, self.start, self.input_layout, self.labels, self.loss, self.reduction, self.backward)

    @property
    def changes(self) -> dict[str, str]:
        """Stages that are not as they should be."""
        return {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) != field.default}


class RecipeRunner:
    """Crafts scenes by recipes; remembers gradients, which most recipes share, and images where it is asked to."""

    def __init__(self) -> None:
        self._gradients: dict[tuple[AttackCall, tuple[str, ...]], Tensor] = {}
        self._images: dict[tuple[AttackCall, AttackRecipe], Tensor] = {}
        self._models: dict[tuple[nn.Module, str, str], nn.Module] = {}
        self._float64_gradients: dict[tuple[AttackCall, Loss], Tensor] = {}

    def cached(self, attack_call: AttackCall, recipe: AttackRecipe) -> Tensor:
        """The same as `craft`, remembered unless the recipe has two changes: a diagnosis asks for one again and again."""
        if len(recipe.changes) > 1:  # pairs are too many to keep
            return self.run(attack_call, recipe)
        if (attack_call, recipe) not in self._images:
            self._images[attack_call, recipe] = self.run(attack_call, recipe)
        return self._images[attack_call, recipe]

    def run(self, attack_call: AttackCall, recipe: AttackRecipe) -> Tensor:
        """Adversarial images in the shape of scene.x."""
        moved = (
            self._run_chained_calls(attack_call, recipe)
            if recipe.steps.startswith("chained")
            else self._run_steps(attack_call, recipe)
        )
        moved = self._restore_clean(attack_call, recipe, moved)
        return IMAGE_ORDERS[recipe.image_order](PIXEL_LAYOUTS[recipe.output_layout](OUTPUT_FORMATS[recipe.output_format](moved)))

    def _run_steps(self, attack_call: AttackCall, recipe: AttackRecipe) -> Tensor:
        count, size = parse_steps(recipe.steps)
        epsilon, start = STEP_EPSILONS[recipe.epsilon](attack_call), starting_point(attack_call, recipe.start)
        moved = start
        for index in range(count):
            gradient = (
                self.gradient_with_stale(attack_call, recipe) if index == 0 else self.compute_gradient(attack_call, recipe, moved)
            )
            moved = CLIPS[recipe.clip](moved + size * epsilon * self._step_direction(attack_call, recipe, gradient), attack_call)
            if count > 1 or recipe.start.startswith("a random"):
                reach = torch.as_tensor(epsilon, dtype=moved.dtype)
                moved = CLIPS[recipe.clip](attack_call.x + (moved - attack_call.x).clamp(-reach, reach), attack_call)
        return moved

    def _run_chained_calls(self, attack_call: AttackCall, recipe: AttackRecipe) -> Tensor:
        """A sweep that adds up: each call starts from the images of the one before."""
        calls = (*attack_call.earlier_calls_same_shape, attack_call)
        moved = calls[0].x
        for call in calls:
            gradient = (
                self.compute_gradient(call, recipe, moved) if recipe.steps == "chained" else self.gradient_with_stale(call, recipe)
            )
            epsilon = STEP_EPSILONS[recipe.epsilon](call)
            moved = CLIPS[recipe.clip](moved + epsilon * self._step_direction(call, recipe, gradient), call)
        return moved

    def _step_direction(self, attack_call: AttackCall, recipe: AttackRecipe, gradient: Tensor) -> Tensor:
        down = (
            attack_call.targeted
            if recipe.step_sign == "right"
            else recipe.step_sign == "down" or (recipe.step_sign == "opposite" and not attack_call.targeted)
        )
        climbed = COUPLINGS[recipe.coupling](PIXEL_LAYOUTS[recipe.gradient_layout](-gradient if down else gradient))
        return DIRECTIONS[recipe.direction](climbed)

    def gradient_with_stale(self, attack_call: AttackCall, recipe: AttackRecipe) -> Tensor:
        """The gradient at the scene's own images, with what is left of earlier calls where the recipe leaves something."""
        calls = (*attack_call.earlier_calls_same_shape, attack_call)
        match recipe.stale_gradient:
            case "sum":
                return torch.stack([self.cached_gradient(call, recipe) for call in calls]).sum(0)
            case "first":
                return self.cached_gradient(calls[0], recipe)
            case "previous":
                return self.cached_gradient(calls[-2:][0], recipe)
        return self.cached_gradient(attack_call, recipe)

    def cached_gradient(self, attack_call: AttackCall, recipe: AttackRecipe) -> Tensor:
        """The gradient at the scene's own images, of the recipe's loss."""
        key = (attack_call, recipe.gradient_key)
        if key not in self._gradients:
            self._gradients[key] = self.compute_gradient(attack_call, recipe, starting_point(attack_call, recipe.start))
        return self._gradients[key]

    def compute_gradient(self, attack_call: AttackCall, recipe: AttackRecipe, x: Tensor) -> Tensor:
        """The gradient of the recipe's loss at x."""
        model = self._altered_model(attack_call, recipe)
        with seeded_cpu_generator(attack_call.seed), torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            with _autocast(recipe.mode):
                outputs = model(PIXEL_LAYOUTS[recipe.input_layout](leaf))
                labels = loss_labels(attack_call, recipe.labels, outputs.detach())
                loss = LOSS_VARIANTS[recipe.loss](outputs, labels)
            total = loss.mean() if recipe.reduction == "mean" else loss.sum()
            (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True, materialize_grads=True)
        return gradient

    def float64_gradient(self, attack_call: AttackCall, loss: Loss = cross_entropy) -> Tensor:
        """The gradient at the scene's own images in float64, which decides whether float32 can tell its sign."""
        if (attack_call, loss) not in self._float64_gradients:
            leaf = attack_call.x.double().requires_grad_()
            with torch.enable_grad():
                total = loss(copy.deepcopy(attack_call.model).double()(leaf), attack_call.y).sum()
            (self._float64_gradients[attack_call, loss],) = torch.autograd.grad(total, leaf)
        return self._float64_gradients[attack_call, loss]

    def _altered_model(self, attack_call: AttackCall, recipe: AttackRecipe) -> nn.Module:
        """The network that the gradient is taken of; copies that no call changes are remembered."""
        model = (
            attack_call.earlier_calls_same_shape[0].model
            if recipe.weights == "first call's" and attack_call.earlier_calls_same_shape
            else attack_call.model
        )
        if recipe.mode.startswith("statistics drift"):
            return model_with_drifted_statistics(model, attack_call, recipe.mode, recipe.backward)
        key = (model, recipe.mode, recipe.backward)
        if key not in self._models:
            self._models[key] = altered_model(model, recipe.mode, recipe.backward)
        return self._models[key]

    def _restore_clean(self, attack_call: AttackCall, recipe: AttackRecipe, moved: Tensor) -> Tensor:
        """The adversarial images, with some of them clean where the recipe says so."""
        if recipe.kept_images == "all":
            return moved
        with torch.no_grad():
            wrong_before = attack_call.model(attack_call.x).argmax(1) != attack_call.y
            wrong_after = attack_call.model(moved).argmax(1) != attack_call.y
        clean = {
            "clean where wrong before": ~wrong_before if attack_call.targeted else wrong_before,
            "clean where it fails": wrong_after if attack_call.targeted else ~wrong_after,
            "clean where it succeeds": ~wrong_after if attack_call.targeted else wrong_after,
        }[recipe.kept_images]
        return torch.where(clean.view(-1, 1, 1, 1), attack_call.x, moved)


def _autocast(mode: str) -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if mode == "autocast to bfloat16" else nullcontext()


def parse_steps(steps: str) -> tuple[int, float]:
    """Number of steps, and the size of each as a share of epsilon."""
    if " of " not in steps:
        return 1, 1.0
    count, _, size = steps.partition(" of ")
    return int(count), {"a share": 1 / int(count), "2.5 shares": 2.5 / int(count), "epsilon": 1.0}[size]


def starting_point(attack_call: AttackCall, start: str) -> Tensor:
    """Where the gradient is taken and the step begins."""
    if start == "the image":
        return attack_call.x
    if start.startswith("the image in"):
        return attack_call.x.to(HALF_DTYPE_BY_NAME[start.removeprefix("the image in ")]).float()
    size = attack_call.epsilon / 2 if start == "a random half step" else attack_call.epsilon
    with seeded_cpu_generator(attack_call.seed):
        drawn = torch.randn_like(attack_call.x).sign() if start == "a random half step" else torch.rand_like(attack_call.x) * 2 - 1
    return (attack_call.x + size * drawn).clamp(*attack_call.bounds)


def loss_labels(attack_call: AttackCall, rule: str, outputs: Tensor) -> Tensor:
    """The labels (N,) that the loss is given."""
    count = outputs.shape[1]
    earlier = attack_call.earlier_calls_same_shape
    if rule == "predicted":
        return outputs.argmax(1)
    if rule == "least likely":
        return outputs.argmin(1)
    if rule.startswith("shifted"):
        return (attack_call.y + int(rule.removeprefix("shifted by "))) % count
    if rule.startswith("in order"):
        return torch.tensor([int(place) for place in rule.removeprefix("in order ").split()])[attack_call.y]
    if rule == "first call's" and earlier:
        return earlier[0].y
    return attack_call.y
