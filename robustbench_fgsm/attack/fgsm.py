"""The fast gradient (sign) method (Goodfellow et al. 2015, arXiv:1412.6572)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from robustbench_fgsm.attack.arguments import (
    ArrayLike,
    check_batch,
    check_label_range,
    check_label_rows,
    check_model,
    to_bounds,
    to_epsilon,
    to_images,
    to_labels,
    to_mask,
    to_scale,
    to_start,
)
from robustbench_fgsm.attack.clip import PixelwiseBounds
from robustbench_fgsm.attack.direction import largest_magnitude, scaled_direction, steepest_direction
from robustbench_fgsm.attack.gradient import (
    NO_CLASS,
    HasLossGradient,
    Labels,
    loss_gradient,
    own_labels,
    predict_outputs,
    predicted_classes,
)
from robustbench_fgsm.attack.losses import LOGIT_LOSSES, MULTI_LABEL_LOSSES, Loss, get_loss
from robustbench_fgsm.attack.outputs import (
    DECLARED_OUTPUTS,
    OutputReader,
    brings_own_loss,
    check_outputs,
    predict_noise,
    read_for_loss,
    reader_of_loss,
)
from robustbench_fgsm.attack.random_start import random_start
from robustbench_fgsm.attack.step import Epsilon, apply_mask, broadcast_epsilon, step
from robustbench_fgsm.errors import ModelError, SettingError, warn_user
from robustbench_fgsm.feature_values import FeatureArray
from robustbench_fgsm.global_settings import neutral_settings
from robustbench_fgsm.spec import (
    DEFAULT_EPSILON,
    PIXEL_BOUNDS,
    Bounds,
    check_flag,
    has_integer_levels,
    parse_norm,
    small_epsilon_warnings,
)

Model = Callable[[Tensor], Any] | HasLossGradient
"""Function from images (N, ...) to logits (N, K), in any container, or a classifier."""


@dataclass(frozen=True)
class StepSettings:
    """Settings of a step along the gradient, with the meaning that they have in `fgsm`; `prepare_attack` converts arrays."""

    norm: float
    targeted: bool = False
    bounds: Any = PIXEL_BOUNDS
    mask: Any = None
    loss: str | Loss = "ce"
    stable: bool = False
    epsilon_scale: Any = None

    def __post_init__(self) -> None:
        check_flag("targeted", self.targeted, "pass True with the targets as y; rf.evaluate takes rules such as next")
        check_flag("stable", self.stable)

    def get_loss(self) -> Loss:
        """Return the loss function; raise SettingError for an unknown loss."""
        return get_loss(self.loss, stable=self.stable)

    def draw_start(self, x: Tensor, ids: Any, epsilon: Epsilon, *, seed: int, restart: int) -> Tensor:
        """Return a random start (N, ...) for images x with these ids, drawn uniformly from the ball; see `random_start`."""
        norm, scale, bounds, mask = self.norm, self.epsilon_scale, self.bounds, self.mask
        return random_start(x, ids, epsilon, norm=norm, epsilon_scale=scale, bounds=bounds, mask=mask, seed=seed, restart=restart)

    @property
    def reader(self) -> OutputReader | None:
        """Return how a callable's outputs are read; None if a loss of the user's own takes them unread."""
        return reader_of_loss(self.loss) if isinstance(self.loss, str) else None


@dataclass(frozen=True)
class GradientStep:
    """Result of one forward and one backward pass over images x (N, ...), from which every budget is a step.

    outputs: (N, K) at the start, or the tensor that the model returned for a loss of the user's own. direction: (N, ...) of
    norm 1, in units of the epsilon scale. magnitude: (N,) largest magnitude of the gradient. start: (N, ...) images whose
    gradient was taken; None for x.
    """

    x: Tensor
    outputs: Tensor
    direction: Tensor
    magnitude: Tensor
    settings: StepSettings
    start: Tensor | None = None

    @property
    def zero_gradient(self) -> Tensor:
        """Return the images (N,) bool whose gradient is zero everywhere: they do not move."""
        return self.magnitude == 0

    @property
    def nonfinite_gradient(self) -> Tensor:
        """Return the images (N,) bool whose gradient is not finite somewhere: they do not move."""
        return ~(self.magnitude < math.inf)

    @neutral_settings()
    def perturb(self, epsilon: Epsilon, step_size: Tensor | None = None) -> Tensor:
        """Return the images moved by epsilon, in the shape of x; or moved by a step size, which broadcasts to x, within epsilon."""
        norm, bounds, scale = self.settings.norm, self.settings.bounds, self.settings.epsilon_scale
        budget = broadcast_epsilon(epsilon, self.x, norm, bounds if scale is None else None)
        return step(self.x, self.direction, budget, norm, bounds, self.start, scale, step_size)


@neutral_settings()
def compute_gradient_step(
    model: Model,
    x: Tensor,
    y: Any,
    settings: StepSettings,
    start: Tensor | None = None,
    accumulate: Callable[[Tensor], Tensor] | None = None,
) -> GradientStep:
    """Return the steepest direction for a batch, from one forward and one backward pass; y and start as in `fgsm`.

    accumulate: function of the masked gradient (N, ...) of what is climbed, whose result gives the direction; None for itself.
    """
    labels = own_labels if y is None else y
    gradient, outputs = loss_gradient(model, x if start is None else start, labels, settings.get_loss(), settings.reader)
    magnitude = largest_magnitude(gradient)
    ascent = apply_mask(-gradient if settings.targeted else gradient, settings.mask)
    if accumulate is not None:
        ascent = accumulate(ascent)
    if settings.epsilon_scale is None:
        known = magnitude if settings.mask is None and accumulate is None else None
        direction = steepest_direction(ascent, settings.norm, known)
    else:
        direction = scaled_direction(ascent, settings.norm, settings.epsilon_scale)
    return GradientStep(x, outputs, direction.to(gradient.dtype), magnitude, settings, start)


@neutral_settings()
def fgsm(
    model: Model,
    x: ArrayLike,
    y: Any = None,
    epsilon: Epsilon | str | ArrayLike = DEFAULT_EPSILON,
    *,
    norm: str | float = "inf",
    epsilon_scale: str | FeatureArray | None = None,
    targeted: bool = False,
    bounds: Sequence[Any] | ArrayLike | None = PIXEL_BOUNDS,
    mask: ArrayLike | None = None,
    loss: str | Loss = "ce",
    start: ArrayLike | None = None,
    stable: bool = False,
) -> Tensor:
    """Return adversarial images: one step of size epsilon along the steepest direction of the loss.

    An image whose gradient is zero does not move. An image whose gradient is not finite does not move either. A RuntimeWarning
    counts these images, and another one counts images whose outputs are not finite. The model, its state and the global random
    state are the same afterwards.

    Args:
        model: callable from images to logits (N, K), or to one logit (N, 1) of the second of two classes, alone or in a mapping,
            tuple or object. An `nn.Module` is attacked in evaluation mode.
        x: (N, ...) float images within the bounds: a tensor, an array or a list. Arrays and lists become float32.
        y: (N,) labels, or targets if `targeted`: integers in a tensor, an array or a list. None uses the model's own predictions.
            Losses `bce` and `bce-with-logits` also take multi-hot rows (N, K), and a callable loss takes anything.
        epsilon: budget in the units of x: a scalar, text such as `8/255`, one per image (N,), or an array that broadcasts to x.
        norm: `inf`, or the order p >= 1 of the norm that limits the perturbation.
        epsilon_scale: what epsilon is multiplied by in each feature: `range` for the distance of its bounds, or numbers >= 0 that
            broadcast to one image; a vector has one number per channel. The norm is that of the perturbation divided by them. A
            feature of scale 0 does not move. None for 1.
        targeted: move towards the targets y, down the loss, instead of away from the labels.
        bounds: low and high limit of the result: numbers, or arrays that broadcast to x, as one pair per feature of a table (N, F).
            None for no limits.
        mask: bool, or float >= 0, that broadcasts to x; a pixel does not move if its mask is 0. None moves all pixels.
        loss: `ce` for logits, `log-probabilities` or `probabilities` for outputs of that kind, `bce` for a sigmoid per class,
            `bce-with-logits`, `margin`, `logits` (`ce`, and the outputs are logits whatever they look like), or a callable
            `loss(outputs, y)` that returns one value per image (N,). The callable gets what the model returned, and y as it is.
        start: (N, ...) images at which the gradient is taken and the step begins, for example from `random_start`. The
            result stays within epsilon of x. None starts at x.
        stable: compute the direction of `ce` without cancellation on saturated images.

    Returns:
        New tensor in the shape of x, at most epsilon from x; also if x is an array.

    Raises:
        SettingError: epsilon, norm, bounds, mask or loss is invalid, the loss does not return one value per image, or a targeted
            attack has no targets.
        ModelError: the model's outputs cannot be read as logits, or are not what the loss names.
        DataError: images, labels or start have a wrong dtype, shape or range.

    Source:
        Goodfellow et al. 2015, arXiv:1412.6572, section 4; targeted: Kurakin et al. 2017, arXiv:1611.01236, section 2.2.
    """
    settings = StepSettings(parse_norm(norm), targeted, bounds, mask, loss, stable, epsilon_scale)
    return next(_sweep(model, x, y, [epsilon], settings, start))


def fgsm_sweep(
    model: Model,
    x: ArrayLike,
    y: Any = None,
    epsilons: Iterable[Epsilon | str | ArrayLike] = (DEFAULT_EPSILON,),
    *,
    norm: str | float = "inf",
    epsilon_scale: str | FeatureArray | None = None,
    targeted: bool = False,
    bounds: Sequence[Any] | ArrayLike | None = PIXEL_BOUNDS,
    mask: ArrayLike | None = None,
    loss: str | Loss = "ce",
    start: ArrayLike | None = None,
    stable: bool = False,
) -> Iterator[Tensor]:
    """Yield one adversarial batch per epsilon, in order, from a single gradient.

    Args:
        model: as in `fgsm`.
        x: (N, ...) float images within the bounds.
        y: (N,) int64 labels, targets if `targeted`, or None for the model's own predictions.
        epsilons: budgets in the units of x, each as in `fgsm`.
        norm: `inf`, or the order p >= 1.
        epsilon_scale: as in `fgsm`.
        targeted: move towards the targets y.
        bounds: low and high limit of the result; None for no limits.
        mask: as in `fgsm`.
        loss: as in `fgsm`.
        start: (N, ...) images at which the gradient is taken and the step begins; None starts at x.
        stable: compute the direction of `ce` without cancellation on saturated images.

    Returns:
        Iterator over tensors in the shape of x. Settings are checked at the call, before the first tensor is computed.

    Raises:
        SettingError: as `fgsm`.
        DataError: as `fgsm`.

    Source:
        Goodfellow et al. 2015, arXiv:1412.6572, section 4. The gradient does not depend on epsilon.
    """
    settings = StepSettings(parse_norm(norm), targeted, bounds, mask, loss, stable, epsilon_scale)
    return _sweep(model, x, y, list(epsilons), settings, start)


def _sweep(model: Model, x: Any, y: Any, epsilons: list[Any], settings: StepSettings, start: Any) -> Iterator[Tensor]:
    model = read_for_loss(model, settings.loss)
    found = prepare_attack(model, x, y, settings, start)
    budgets = found.check_budgets(epsilons)

    def perturbed() -> Iterator[Tensor]:
        gradient_step = compute_gradient_step(model, found.x, found.labels, found.settings, found.start)
        check_attacked_outputs(model, gradient_step)
        for text in nonfinite_warnings(gradient_step):
            warn_user(text)
        yield from map(gradient_step.perturb, budgets)

    return perturbed()


class NonfiniteImages:
    """Images (N,) whose outputs, or whose gradients, are not finite in any of several steps."""

    def __init__(self) -> None:
        self._outputs: Tensor | bool = False
        self._gradients: Tensor | bool = False

    def add(self, gradient_step: GradientStep) -> None:
        """Add the images of one step."""
        outputs = gradient_step.outputs
        if outputs.ndim == 2 and outputs.is_floating_point():
            self._outputs = (predicted_classes(outputs) == NO_CLASS) | self._outputs
        self._gradients = gradient_step.nonfinite_gradient | self._gradients

    def warnings(self, consequence: str) -> Iterator[str]:
        """Yield warnings that count the images; consequence: what happens to an image without a gradient."""
        for found, what in (
            (
                self._outputs,
                "{} of {} images have outputs that are not finite, and no predicted class: look in the network for a "
                "division by 0, a logarithm of 0, or an overflow",
            ),
            (self._gradients, f"{{}} of {{}} images have a gradient that is not finite: {consequence}"),
        ):
            if isinstance(found, Tensor) and (count := int(found.sum())):
                yield what.format(f"{count:,}", f"{len(found):,}")


def nonfinite_warnings(gradient_step: GradientStep) -> Iterator[str]:
    """Yield warnings that count the images whose outputs (N, K), or whose gradients, are not finite."""
    found = NonfiniteImages()
    found.add(gradient_step)
    return found.warnings("they are left unmoved")


def check_attacked_outputs(model: Model, gradient_step: GradientStep) -> None:
    """Raise ModelError if the outputs are not what the loss names; warn if a loss of logits got something else.

    Outputs (N, K) with N = K may have their axes exchanged, which one image less shows.
    """
    x, settings = gradient_step.x, gradient_step.settings
    if len(x) > 1 and gradient_step.outputs.shape == (len(x), len(x)):
        predict_outputs(model, x[:-1], settings.reader)
    if not isinstance(settings.loss, str) or (settings.loss in LOGIT_LOSSES and brings_own_loss(model)):
        return
    try:
        check_outputs(
            gradient_step.outputs,
            settings.loss,
            lambda: predict_noise(lambda noise: predict_outputs(model, noise, settings.reader), x, settings.bounds),
        )
    except ModelError as error:
        if settings.loss in DECLARED_OUTPUTS:
            raise
        warn_user(str(error))


class PreparedAttack(NamedTuple):
    """Checked arguments of an attack: images, labels (N,) as given and with the check of their range, settings and start."""

    x: Tensor
    y: Any
    labels: Labels | None
    settings: StepSettings
    start: Tensor | None
    warnings: list[str]

    def check_budgets(self, epsilons: Iterable[Any]) -> list[Epsilon]:
        """Return the budgets as numbers or tensors, and give all warnings; raise SettingError as `broadcast_epsilon`."""
        settings, warned = self.settings, list(self.warnings)
        limits = settings.bounds if settings.epsilon_scale is None else None
        budgets = [to_epsilon(epsilon, self.x, settings.norm, limits) for epsilon in epsilons]
        for budget in budgets:
            broadcast_epsilon(budget, self.x, settings.norm, limits)
            warned += small_budget_warnings(budget, limits)
        for text in warned:
            warn_user(text)
        return budgets


def prepare_attack(model: Model, x: Any, y: Any, settings: StepSettings, start: Any = None) -> PreparedAttack:
    """Return the arguments of `fgsm` as tensors, checked before anything is computed, except that the model tells its classes last.

    Raises ModelError, DataError or SettingError as `fgsm`. A loss of the user's own gets the labels as they are.
    """
    check_model(model)
    settings.get_loss()
    images = to_images(x, model)
    bounds, mask = to_bounds(settings.bounds, images), to_mask(settings.mask, images)
    scale = to_scale(settings.epsilon_scale, images, bounds)
    if bounds is not settings.bounds or mask is not settings.mask or scale is not settings.epsilon_scale:
        settings = replace(settings, bounds=bounds, mask=mask, epsilon_scale=scale)
    is_multi_label = getattr(model, "task", "") == "multilabel" and settings.loss == "ce"
    if y is None and settings.targeted:
        raise SettingError("a targeted attack needs its targets in y, got None")
    if y is None and is_multi_label:
        raise SettingError("a multi-label model needs its labels in y, got None: pass y = (outputs > threshold) to attack its own")
    own_loss = callable(settings.loss)
    y = y if own_loss else to_labels(y, images)
    takes_rows = y is not None and (is_multi_label or settings.loss in MULTI_LABEL_LOSSES)
    if own_loss or (takes_rows and y.ndim == 2 and len(y) == len(images)):
        if not own_loss:
            check_label_rows(y)
        checked = check_batch(images, None, bounds=bounds)
        return PreparedAttack(images, y, y, settings, to_start(start, images), checked.warnings)
    num_classes = getattr(model, "num_classes", None) if hasattr(model, "loss_gradient") else None
    checked = check_batch(images, y, bounds=bounds, num_classes=num_classes)

    def labels(outputs: Tensor) -> Tensor:
        """Return the labels, if the outputs (N, K) have so many classes."""
        check_label_range(y, checked.label_range, outputs.shape[1])
        found: Tensor = y.clone() if y.is_inference() else y
        return found

    return PreparedAttack(images, y, None if y is None else labels, settings, to_start(start, images), checked.warnings)


def small_budget_warnings(budget: Epsilon, bounds: PixelwiseBounds | None) -> list[str]:
    """Return a warning if a budget is below one level of images of integers, such as 0 to 255."""
    if not isinstance(bounds, Bounds) or not has_integer_levels(bounds):
        return []
    return small_epsilon_warnings([float(budget.max()) if isinstance(budget, Tensor) else budget], bounds)
