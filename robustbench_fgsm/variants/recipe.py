"""The fast gradient sign method stage by stage, so that any one of its known mistakes can be made on purpose."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.losses import cross_entropy
from robustbench_fgsm.variants.altered_models import HALF, altered, drifted, seeded
from robustbench_fgsm.variants.attack_call import Scene
from robustbench_fgsm.variants.stages import (
    CLIPS,
    COUPLINGS,
    DIRECTIONS,
    EPSILONS,
    LAYOUTS,
    LOSSES,
    ORDERS,
    STORES,
    Loss,
)

OF_THE_GRADIENT = frozenset(
    {
        "weights",
        "mode",
        "seen",
        "labels",
        "loss",
        "reduction",
        "backward",
        "memory",
        "coupling",
        "layout",
        "sense",
        "kept",
    }
)
"""Stages that leave the step as large as it is."""


@dataclass(frozen=True)
class Recipe:
    """What is done at each stage, by name. The defaults are right; a mistake changes one of them, a pair of mistakes two."""

    weights: str = "given"
    mode: str = "eval"
    at: str = "the image"
    seen: str = "own"
    labels: str = "given"
    loss: str = "ce"
    reduction: str = "sum"
    backward: str = "true"
    memory: str = "none"
    coupling: str = "own"
    layout: str = "own"
    direction: str = "sign"
    sense: str = "right"
    epsilon: str = "given"
    steps: str = "one"
    clip: str = "bounds"
    kept: str = "all"
    store: str = "float32"
    returned: str = "own"
    order: str = "own"

    @property
    def gradient(self) -> tuple[str, ...]:
        """What the raw gradient depends on."""
        return (self.weights, self.mode, self.at, self.seen, self.labels, self.loss, self.reduction, self.backward)

    @property
    def changes(self) -> dict[str, str]:
        """Stages that are not as they should be."""
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }


class Kitchen:
    """Crafts scenes by recipes; remembers gradients, which most recipes share, and images where it is asked to."""

    def __init__(self) -> None:
        self._gradients: dict[tuple[Scene, tuple[str, ...]], Tensor] = {}
        self._images: dict[tuple[Scene, Recipe], Tensor] = {}
        self._models: dict[tuple[nn.Module, str, str], nn.Module] = {}
        self._exact: dict[tuple[Scene, Loss], Tensor] = {}

    def recall(self, scene: Scene, recipe: Recipe) -> Tensor:
        """The same as `craft`, remembered unless the recipe has two changes: a diagnosis asks for one again and again."""
        if len(recipe.changes) > 1:  # pairs are too many to keep
            return self.craft(scene, recipe)
        if (scene, recipe) not in self._images:
            self._images[scene, recipe] = self.craft(scene, recipe)
        return self._images[scene, recipe]

    def craft(self, scene: Scene, recipe: Recipe) -> Tensor:
        """Adversarial images in the shape of scene.x."""
        moved = self._chained(scene, recipe) if recipe.steps.startswith("chained") else self._stepped(scene, recipe)
        moved = self._kept(scene, recipe, moved)
        return ORDERS[recipe.order](LAYOUTS[recipe.returned](STORES[recipe.store](moved)))

    def _stepped(self, scene: Scene, recipe: Recipe) -> Tensor:
        count, size = step_sizes(recipe.steps)
        epsilon, start = EPSILONS[recipe.epsilon](scene), starting_point(scene, recipe.at)
        moved = start
        for index in range(count):
            gradient = self.remembered(scene, recipe) if index == 0 else self.taken(scene, recipe, moved)
            moved = CLIPS[recipe.clip](moved + size * epsilon * self._direction(scene, recipe, gradient), scene)
            if count > 1 or recipe.at.startswith("a random"):
                reach = torch.as_tensor(epsilon, dtype=moved.dtype)
                moved = CLIPS[recipe.clip](scene.x + (moved - scene.x).clamp(-reach, reach), scene)
        return moved

    def _chained(self, scene: Scene, recipe: Recipe) -> Tensor:
        """A sweep that adds up: each call starts from the images of the one before."""
        calls = (*scene.same_images, scene)
        moved = calls[0].x
        for call in calls:
            gradient = self.taken(call, recipe, moved) if recipe.steps == "chained" else self.remembered(call, recipe)
            epsilon = EPSILONS[recipe.epsilon](call)
            moved = CLIPS[recipe.clip](moved + epsilon * self._direction(call, recipe, gradient), call)
        return moved

    def _direction(self, scene: Scene, recipe: Recipe, gradient: Tensor) -> Tensor:
        down = (
            scene.targeted
            if recipe.sense == "right"
            else recipe.sense == "down" or (recipe.sense == "opposite" and not scene.targeted)
        )
        climbed = COUPLINGS[recipe.coupling](LAYOUTS[recipe.layout](-gradient if down else gradient))
        return DIRECTIONS[recipe.direction](climbed)

    def remembered(self, scene: Scene, recipe: Recipe) -> Tensor:
        """The gradient at the scene's own images, with what is left of earlier calls where the recipe leaves something."""
        calls = (*scene.same_images, scene)
        match recipe.memory:
            case "sum":
                return torch.stack([self.gradient(call, recipe) for call in calls]).sum(0)
            case "first":
                return self.gradient(calls[0], recipe)
            case "previous":
                return self.gradient(calls[-2:][0], recipe)
        return self.gradient(scene, recipe)

    def gradient(self, scene: Scene, recipe: Recipe) -> Tensor:
        """The gradient at the scene's own images, of the recipe's loss."""
        key = (scene, recipe.gradient)
        if key not in self._gradients:
            self._gradients[key] = self.taken(scene, recipe, starting_point(scene, recipe.at))
        return self._gradients[key]

    def taken(self, scene: Scene, recipe: Recipe, x: Tensor) -> Tensor:
        """The gradient of the recipe's loss at x."""
        model = self._model(scene, recipe)
        with seeded(scene.seed), torch.enable_grad():
            leaf = x.detach().clone().requires_grad_()
            with _precision(recipe.mode):
                outputs = model(LAYOUTS[recipe.seen](leaf))
                labels = labels_of(scene, recipe.labels, outputs.detach())
                loss = LOSSES[recipe.loss](outputs, labels)
            total = loss.mean() if recipe.reduction == "mean" else loss.sum()
            (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True, materialize_grads=True)
        return gradient

    def exact_gradient(self, scene: Scene, loss: Loss = cross_entropy) -> Tensor:
        """The gradient at the scene's own images in float64, which decides whether float32 can tell its sign."""
        if (scene, loss) not in self._exact:
            leaf = scene.x.double().requires_grad_()
            with torch.enable_grad():
                total = loss(copy.deepcopy(scene.model).double()(leaf), scene.y).sum()
            (self._exact[scene, loss],) = torch.autograd.grad(total, leaf)
        return self._exact[scene, loss]

    def _model(self, scene: Scene, recipe: Recipe) -> nn.Module:
        """The network that the gradient is taken of; copies that no call changes are remembered."""
        model = scene.same_images[0].model if recipe.weights == "first call's" and scene.same_images else scene.model
        if recipe.mode.startswith("statistics drift"):
            return drifted(model, scene, recipe.mode, recipe.backward)
        key = (model, recipe.mode, recipe.backward)
        if key not in self._models:
            self._models[key] = altered(model, recipe.mode, recipe.backward)
        return self._models[key]

    def _kept(self, scene: Scene, recipe: Recipe, moved: Tensor) -> Tensor:
        """The adversarial images, with some of them clean where the recipe says so."""
        if recipe.kept == "all":
            return moved
        with torch.no_grad():
            wrong_before = scene.model(scene.x).argmax(1) != scene.y
            wrong_after = scene.model(moved).argmax(1) != scene.y
        clean = {
            "clean where wrong before": ~wrong_before if scene.targeted else wrong_before,
            "clean where it fails": wrong_after if scene.targeted else ~wrong_after,
            "clean where it succeeds": ~wrong_after if scene.targeted else wrong_after,
        }[recipe.kept]
        return torch.where(clean.view(-1, 1, 1, 1), scene.x, moved)


def _precision(mode: str) -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if mode == "autocast to bfloat16" else nullcontext()


def step_sizes(name: str) -> tuple[int, float]:
    """Number of steps, and the size of each as a share of epsilon."""
    if " of " not in name:
        return 1, 1.0
    count, _, size = name.partition(" of ")
    return int(count), {"a share": 1 / int(count), "2.5 shares": 2.5 / int(count), "epsilon": 1.0}[size]


def starting_point(scene: Scene, at: str) -> Tensor:
    """Where the gradient is taken and the step begins."""
    if at == "the image":
        return scene.x
    if at.startswith("the image in"):
        return scene.x.to(HALF[at.removeprefix("the image in ")]).float()
    size = scene.epsilon / 2 if at == "a random half step" else scene.epsilon
    with seeded(scene.seed):
        drawn = torch.randn_like(scene.x).sign() if at == "a random half step" else torch.rand_like(scene.x) * 2 - 1
    return (scene.x + size * drawn).clamp(*scene.bounds)


def labels_of(scene: Scene, rule: str, outputs: Tensor) -> Tensor:
    """The labels (N,) that the loss is given."""
    count = outputs.shape[1]
    earlier = scene.same_images
    if rule == "predicted":
        return outputs.argmax(1)
    if rule == "least likely":
        return outputs.argmin(1)
    if rule.startswith("shifted"):
        return (scene.y + int(rule.removeprefix("shifted by "))) % count
    if rule.startswith("in order"):
        return torch.tensor([int(place) for place in rule.removeprefix("in order ").split()])[scene.y]
    if rule == "first call's" and earlier:
        return earlier[0].y
    return scene.y
