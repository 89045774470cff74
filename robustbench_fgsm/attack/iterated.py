"""Attacks of several steps: BIM, PGD and MI-FGSM are FGSM's stages, repeated.

Each step takes the gradient at the images of the step before. It moves them by `step_size` along the steepest direction, clips them
to the bounds, and projects them into the ball of radius epsilon around the images x, as ART and CleverHans do. The last images are
returned, whether or not they fool the model. With one step, `pgd` and `bim` are two more members of the family:

- FGSM-RS (Wong et al. 2020, arXiv:2001.03994, algorithm 3): `pgd(..., steps=1, step_size=1.25 * epsilon)`.
- R+FGSM (Tramer et al. 2018, arXiv:1705.07204, equation 7): `bim(..., steps=1, step_size=epsilon / 2, start=start)` with
  `start = random_start(x, ids, epsilon / 2, distribution="sign")`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from robustbench_fgsm.attack.arguments import ArrayLike
from robustbench_fgsm.attack.clip import uniform_bounds
from robustbench_fgsm.attack.direction import expand_per_image, largest_magnitude
from robustbench_fgsm.attack.fgsm import (
    GradientStep,
    Model,
    NonfiniteImages,
    PreparedAttack,
    StepSettings,
    check_attacked_outputs,
    compute_gradient_step,
    prepare_attack,
)
from robustbench_fgsm.attack.gradient import own_labels, predict_outputs
from robustbench_fgsm.attack.losses import Loss
from robustbench_fgsm.attack.outputs import read_for_loss
from robustbench_fgsm.attack.step import Epsilon, broadcast_epsilon
from robustbench_fgsm.errors import SettingError, warn_user
from robustbench_fgsm.feature_values import FeatureArray
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.spec import DEFAULT_EPSILON, PIXEL_BOUNDS, Bounds, check_integer, norm_name, parse_epsilon, parse_norm

DEFAULT_STEPS = 10
PGD_STEP_FACTOR = 2.5
"""Step size of PGD in units of epsilon / steps, so that the attack can cross the ball and return (Madry et al. 2018)."""

ITERATED_NORMS = (math.inf, 2.0)
"""Norms under which scaling an offset is the exact projection into the ball."""


@dataclass(frozen=True)
class Iteration:
    """Steps of an attack.

    Args:
        steps: number of steps, >= 1.
        step_size: size of each step in the units of epsilon, as a number > 0 or text. None for step_factor * epsilon / steps.
        step_factor: size of each step in units of epsilon / steps, if there is no step size.
        decay: factor of the momentum before each step, >= 0; None for no momentum.
    """

    steps: int
    step_size: float | str | None = None
    step_factor: float = 1.0
    decay: float | None = None

    def __post_init__(self) -> None:
        check_integer("steps", self.steps, "pass 10", least=1)
        if self.decay is not None and not (isinstance(self.decay, int | float) and 0 <= self.decay < math.inf):
            raise SettingError(f"decay must be a finite number >= 0, got {self.decay!r:.40}: pass 1.0")

    def size(self, epsilon: Epsilon, norm: float, bounds: Bounds | None) -> Epsilon:
        """Return the size of each step; raise SettingError for a size that is not one number > 0 within the bounds."""
        if self.step_size is None:
            return self.step_factor * epsilon / self.steps
        sizes = parse_epsilon(self.step_size, norm, bounds, name="step_size")
        if len(sizes) != 1 or not sizes[0]:
            raise SettingError(f"step_size must be one number > 0, got {self.step_size!r:.40}: pass 2/255, or None for its default")
        return sizes[0]


class Momentum:
    """Sum of the gradients of all steps, each divided by its L1 norm (Dong et al. 2018, arXiv:1710.06081, equation 6).

    Args:
        decay: factor of the sum before each step, the paper's mu.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.total: Tensor | None = None

    def __call__(self, gradient: Tensor) -> Tensor:
        """Return the sum in float64 after this step's gradient (N, ...); a gradient of zero adds nothing."""
        scale = expand_per_image(largest_magnitude(gradient), gradient).double()
        scaled = gradient.double() / torch.where(scale > 0, scale, 1)
        length = expand_per_image(scaled.flatten(1).abs().sum(1), gradient)
        normalised = scaled / torch.where(length > 0, length, 1)
        self.total = normalised if self.total is None else self.decay * self.total + normalised
        return self.total


class Iterate(NamedTuple):
    """One step: its gradient and direction, and the images (N, ...) after the step."""

    gradient_step: GradientStep
    images: Tensor


def iterate(
    model: Model, x: Tensor, y: Any, epsilon: Epsilon, settings: StepSettings, iteration: Iteration, start: Tensor | None = None
) -> Iterator[Iterate]:
    """Yield the steps of an attack, whose arguments `prepare_attack` has checked.

    Args:
        model: as in `fgsm`.
        x: (N, ...) images, the centre of the ball.
        y: labels or targets as in `compute_gradient_step`; None for the predictions at x.
        epsilon: radius of the ball, as `broadcast_epsilon` takes it.
        settings: norm, bounds and loss of each step.
        iteration: number and size of the steps, and their momentum.
        start: (N, ...) images of the first gradient; None for x.
    """
    images, accumulate = (x if start is None else start), None if iteration.decay is None else Momentum(iteration.decay)
    limits = uniform_bounds(settings.bounds) if settings.epsilon_scale is None else None
    size = broadcast_epsilon(iteration.size(epsilon, settings.norm, limits), x, settings.norm, None)
    if y is None:
        y = own_labels(predict_outputs(model, x, settings.reader))
    for _ in range(iteration.steps):
        gradient_step = compute_gradient_step(model, x, y, settings, images, accumulate)
        images = gradient_step.perturb(epsilon, size)
        yield Iterate(gradient_step, images)


@neutral_settings()
def bim(
    model: Model,
    x: ArrayLike,
    y: Any = None,
    epsilon: Epsilon | str | ArrayLike = DEFAULT_EPSILON,
    *,
    steps: int = DEFAULT_STEPS,
    step_size: float | str | None = None,
    norm: str | float = "inf",
    epsilon_scale: str | FeatureArray | None = None,
    targeted: bool = False,
    bounds: Sequence[Any] | ArrayLike | None = PIXEL_BOUNDS,
    mask: ArrayLike | None = None,
    loss: str | Loss = "ce",
    start: ArrayLike | None = None,
    stable: bool = False,
) -> Tensor:
    """Return adversarial images of the basic iterative method: several steps of FGSM from the images x.

    Args:
        model: as in `fgsm`.
        x: (N, ...) float images within the bounds.
        y: (N,) labels, or targets if `targeted`. None uses the model's predictions at x in every step.
        epsilon: radius of the ball around x in the units of x, as in `fgsm`.
        steps: number of steps, >= 1; 1 with a step size of epsilon is FGSM.
        step_size: size of each step, the paper's alpha, in the units of epsilon: a number > 0, or text such as `2/255`. None for
            epsilon / steps.
        norm: `inf`, or 2 for steps of the fast gradient method in L2.
        epsilon_scale: as in `fgsm`; the step size is multiplied by it too.
        targeted: move towards the targets y.
        bounds: low and high limit of the images after each step; None for no limits.
        mask: as in `fgsm`.
        loss: as in `fgsm`.
        start: (N, ...) images at which the first step begins; None for x.
        stable: compute the directions of `ce` without cancellation on saturated images.

    Returns:
        New tensor in the shape of x: the images after the last step, within the bounds and at most epsilon from x.

    Raises:
        SettingError: steps, step size or norm is invalid, or as `fgsm`.
        ModelError: as `fgsm`.
        DataError: as `fgsm`.

    Source:
        Kurakin et al. 2017, arXiv:1607.02533, equation 2, with alpha = 1/255; targeted: section 2.3.
    """
    settings = StepSettings(_parse_norm(norm), targeted, bounds, mask, loss, stable, epsilon_scale)
    return _attack(model, x, y, epsilon, settings, Iteration(steps, step_size), start)


@neutral_settings()
def pgd(
    model: Model,
    x: ArrayLike,
    y: Any = None,
    epsilon: Epsilon | str | ArrayLike = DEFAULT_EPSILON,
    *,
    steps: int = DEFAULT_STEPS,
    step_size: float | str | None = None,
    norm: str | float = "inf",
    epsilon_scale: str | FeatureArray | None = None,
    targeted: bool = False,
    bounds: Sequence[Any] | ArrayLike | None = PIXEL_BOUNDS,
    mask: ArrayLike | None = None,
    loss: str | Loss = "ce",
    start: ArrayLike | None = None,
    stable: bool = False,
    ids: ArrayLike | None = None,
    seed: int = 0,
    restart: int = 1,
) -> Tensor:
    """Return adversarial images of projected gradient descent: the steps of `bim` from a random point of the ball.

    The result depends on (seed, id, restart), and not on global generators.

    Args:
        model: as in `fgsm`.
        x: (N, ...) float images within the bounds.
        y: (N,) labels, or targets if `targeted`. None uses the model's predictions at x in every step.
        epsilon: radius of the ball around x in the units of x, as in `fgsm`.
        steps: number of steps, >= 1.
        step_size: size of each step in the units of epsilon: a number > 0, or text such as `2/255`. None for
            2.5 epsilon / steps, with which the attack can cross the ball and return.
        norm: `inf`, or 2.
        epsilon_scale: as in `fgsm`; the step size is multiplied by it too.
        targeted: move towards the targets y.
        bounds: low and high limit of the images after each step; None for no limits.
        mask: as in `fgsm`.
        loss: as in `fgsm`.
        start: (N, ...) images at which the first step begins. None draws them from `random_start`, uniformly in the ball.
        stable: compute the directions of `ce` without cancellation on saturated images.
        ids: (N,) identity of each image, an integer >= 0, which selects its start; None for 0 to N - 1.
        seed: seed of the starts, >= 0.
        restart: number of the restart, >= 0, which selects another start.

    Returns:
        New tensor in the shape of x: the images after the last step, within the bounds and at most epsilon from x.

    Raises:
        SettingError: steps, step size, norm, seed or restart is invalid, or as `fgsm`.
        ModelError: as `fgsm`.
        DataError: as `fgsm`, or the ids are invalid.

    Source:
        Madry et al. 2018, arXiv:1706.06083, section 2.1.
    """
    settings = StepSettings(_parse_norm(norm), targeted, bounds, mask, loss, stable, epsilon_scale)

    def draw_start(prepared: PreparedAttack, budget: Epsilon) -> Tensor:
        names = torch.arange(len(prepared.x)) if ids is None else ids
        return prepared.settings.draw_start(prepared.x, names, budget, seed=seed, restart=restart)

    return _attack(model, x, y, epsilon, settings, Iteration(steps, step_size, PGD_STEP_FACTOR), start, draw_start)


@neutral_settings()
def mi_fgsm(
    model: Model,
    x: ArrayLike,
    y: Any = None,
    epsilon: Epsilon | str | ArrayLike = DEFAULT_EPSILON,
    *,
    steps: int = DEFAULT_STEPS,
    step_size: float | str | None = None,
    decay: float = 1.0,
    norm: str | float = "inf",
    epsilon_scale: str | FeatureArray | None = None,
    targeted: bool = False,
    bounds: Sequence[Any] | ArrayLike | None = PIXEL_BOUNDS,
    mask: ArrayLike | None = None,
    loss: str | Loss = "ce",
    start: ArrayLike | None = None,
    stable: bool = False,
) -> Tensor:
    """Return adversarial images of the momentum iterative method: `bim` along the sum of all gradients so far.

    Each gradient is divided by its L1 norm before it is added.

    Args:
        model: as in `fgsm`.
        x: (N, ...) float images within the bounds.
        y: (N,) labels, or targets if `targeted`. None uses the model's predictions at x in every step.
        epsilon: radius of the ball around x in the units of x, as in `fgsm`.
        steps: number of steps, >= 1.
        step_size: size of each step in the units of epsilon: a number > 0, or text such as `2/255`. None for epsilon / steps, the
            paper's alpha.
        decay: factor of the sum before each step, the paper's mu, >= 0; 0 for `bim`.
        norm: `inf`, or 2.
        epsilon_scale: as in `fgsm`; the step size is multiplied by it too.
        targeted: move towards the targets y.
        bounds: low and high limit of the images after each step; None for no limits.
        mask: as in `fgsm`.
        loss: as in `fgsm`.
        start: (N, ...) images at which the first step begins; None for x.
        stable: compute the directions of `ce` without cancellation on saturated images.

    Returns:
        New tensor in the shape of x: the images after the last step, within the bounds and at most epsilon from x.

    Raises:
        SettingError: steps, step size, decay or norm is invalid, or as `fgsm`.
        ModelError: as `fgsm`.
        DataError: as `fgsm`.

    Source:
        Dong et al. 2018, arXiv:1710.06081, equations 6 and 7; L2: equation 8.
    """
    settings = StepSettings(_parse_norm(norm), targeted, bounds, mask, loss, stable, epsilon_scale)
    return _attack(model, x, y, epsilon, settings, Iteration(steps, step_size, decay=decay), start)


def _attack(
    model: Model,
    x: Any,
    y: Any,
    epsilon: Any,
    settings: StepSettings,
    iteration: Iteration,
    start: Any,
    draw_start: Callable[[PreparedAttack, Epsilon], Tensor] | None = None,
) -> Tensor:
    """Return the images of the last step; a start of None is drawn if there is a function that draws it."""
    model = read_for_loss(model, settings.loss)
    prepared = prepare_attack(model, x, y, settings, start)
    images, settings, first = prepared.x, prepared.settings, prepared.start
    (budget,) = prepared.check_budgets([epsilon])
    if first is None and draw_start is not None:
        first = draw_start(prepared, budget)
    nonfinite = NonfiniteImages()
    for index, (gradient_step, moved) in enumerate(iterate(model, images, prepared.labels, budget, settings, iteration, first)):
        if not index:
            check_attacked_outputs(model, gradient_step)
        nonfinite.add(gradient_step)
        images = moved
    for text in nonfinite.warnings("they do not move in these steps"):
        warn_user(text)
    return images


def _parse_norm(norm: str | float) -> float:
    order = parse_norm(norm)
    if order not in ITERATED_NORMS:
        raise SettingError(
            f"norm must be inf or 2, whose projection is exact, got {norm_name(order)}: pass one of them, or call fgsm for one step"
        )
    return order
