"""The fast gradient (sign) method (Goodfellow et al. 2015, arXiv:1412.6572)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustbench_fgsm.attack.direction import largest_magnitude, steepest_direction
from robustbench_fgsm.attack.gradient import HasLossGradient, loss_gradient, own_labels, predict_outputs
from robustbench_fgsm.attack.image_range import check_range, float_hint
from robustbench_fgsm.attack.losses import LOGIT_LOSSES, MULTI_LABEL_LOSSES, Loss, get_loss
from robustbench_fgsm.attack.network_call import REDUCED_DTYPES, network_dtypes
from robustbench_fgsm.attack.outputs import (
    DECLARED_OUTPUTS,
    OutputReader,
    brings_own_loss,
    check_outputs,
    predict_noise,
    read_for_loss,
    reader_of_loss,
)
from robustbench_fgsm.attack.step import Epsilon, apply_mask, broadcast_epsilon, can_broadcast, step
from robustbench_fgsm.errors import DataError, ModelError, SettingError
from robustbench_fgsm.spec import DEFAULT_EPSILON, PIXEL_BOUNDS, Bounds, parse_norm

Model = Callable[[Tensor], Any] | HasLossGradient
"""Function from images (N, ...) to logits (N, K), in any container, or a classifier."""


@dataclass(frozen=True)
class StepSettings:
    """Settings of a step along the gradient, with the meaning that they have in `fgsm`."""

    norm: float
    targeted: bool = False
    bounds: Bounds | None = PIXEL_BOUNDS
    mask: Tensor | None = None
    loss: str | Loss = "ce"
    stable: bool = False

    def get_loss(self) -> Loss:
        """Return the loss function; raise SettingError for an unknown loss."""
        return get_loss(self.loss, stable=self.stable)

    @property
    def reader(self) -> OutputReader | None:
        """Return how a callable's outputs are read; None if a loss of the user's own takes them unread."""
        return reader_of_loss(self.loss) if isinstance(self.loss, str) else None


@dataclass(frozen=True)
class GradientStep:
    """Result of one forward and one backward pass over images x (N, ...), from which every budget is a step.

    outputs: (N, K) at the start, or the tensor that the model returned for a loss of the user's own. direction: (N, ...) of
    norm 1. zero_gradient: (N,) bool, the gradient is zero everywhere. nonfinite_gradient: (N,) bool, the gradient is not finite
    somewhere. Images with such gradients do not move. start: (N, ...) images whose gradient was taken; None for x.
    """

    x: Tensor
    outputs: Tensor
    direction: Tensor
    zero_gradient: Tensor
    nonfinite_gradient: Tensor
    settings: StepSettings
    start: Tensor | None = None

    def perturb(self, epsilon: Epsilon) -> Tensor:
        """Return the images moved by epsilon, in the shape of x."""
        norm, bounds = self.settings.norm, self.settings.bounds
        return step(self.x, self.direction, broadcast_epsilon(epsilon, self.x, norm, bounds), norm, bounds, self.start)


def compute_gradient_step(model: Model, x: Tensor, y: Any, settings: StepSettings, start: Tensor | None = None) -> GradientStep:
    """Return the steepest direction for a batch, from one forward and one backward pass; y and start as in `fgsm`."""
    labels = own_labels if y is None else y
    gradient, outputs = loss_gradient(model, x if start is None else start, labels, settings.get_loss(), settings.reader)
    magnitude = largest_magnitude(gradient)
    ascent = apply_mask(-gradient if settings.targeted else gradient, settings.mask)
    direction = steepest_direction(ascent, settings.norm, magnitude if settings.mask is None else None)
    return GradientStep(x, outputs, direction, magnitude == 0, ~magnitude.isfinite(), settings, start)


def fgsm(
    model: Model,
    x: Tensor,
    y: Any = None,
    epsilon: Epsilon = DEFAULT_EPSILON,
    *,
    norm: str | float = "inf",
    targeted: bool = False,
    bounds: Bounds | None = PIXEL_BOUNDS,
    mask: Tensor | None = None,
    loss: str | Loss = "ce",
    start: Tensor | None = None,
    stable: bool = False,
) -> Tensor:
    """Return adversarial images: one step of size epsilon along the steepest direction of the loss.

    An image whose gradient is zero does not move. An image whose gradient is not finite does not move either, and a
    RuntimeWarning counts these images. The model, its state and the global random state are the same afterwards.

    Args:
        model: callable from images to logits (N, K), or to one logit (N, 1) of the second of two classes, alone or in a mapping,
            tuple or object. An `nn.Module` is attacked in evaluation mode.
        x: (N, ...) float images within the bounds.
        y: (N,) int64 labels, or targets if `targeted`. None uses the model's own predictions. Losses `bce` and `bce-with-logits`
            also take multi-hot rows (N, K), and a callable loss takes anything.
        epsilon: budget in the units of x: a scalar, one per image (N,), or a tensor that broadcasts to x.
        norm: `inf`, or the order p >= 1 of the norm that limits the perturbation.
        targeted: move towards the targets y, down the loss, instead of away from the labels.
        bounds: low and high limit of the result; None for no limits.
        mask: bool, or float >= 0, that broadcasts to x; a pixel does not move if its mask is 0. None moves all pixels.
        loss: `ce` for logits, `log-probabilities` or `probabilities` for outputs of that kind, `bce` for a sigmoid per class,
            `bce-with-logits`, `margin`, `logits` (`ce`, and the outputs are logits whatever they look like), or a callable
            `loss(outputs, y)` that returns one value per image (N,). The callable gets what the model returned, and y as it is.
        start: (N, ...) images at which the gradient is taken and the step begins, for example from `random_start`. The
            result stays within epsilon of x. None starts at x.
        stable: compute the direction of `ce` without cancellation on saturated images.

    Returns:
        New tensor in the shape of x, at most epsilon from x.

    Raises:
        SettingError: epsilon, norm, mask or loss is invalid, the loss does not return one value per image, or a targeted attack has
            no targets.
        ModelError: the model's outputs cannot be read as logits, or are not what the loss names.
        DataError: images, labels or start have a wrong dtype, shape or range.

    Source:
        Goodfellow et al. 2015, arXiv:1412.6572, section 4; targeted: Kurakin et al. 2017, arXiv:1611.01236, section 2.2.
    """
    settings = StepSettings(parse_norm(norm), targeted, bounds, mask, loss, stable)
    return next(_sweep(model, x, y, [epsilon], settings, start))


def fgsm_sweep(
    model: Model,
    x: Tensor,
    y: Any = None,
    epsilons: Iterable[Epsilon] = (DEFAULT_EPSILON,),
    *,
    norm: str | float = "inf",
    targeted: bool = False,
    bounds: Bounds | None = PIXEL_BOUNDS,
    mask: Tensor | None = None,
    loss: str | Loss = "ce",
    start: Tensor | None = None,
    stable: bool = False,
) -> Iterator[Tensor]:
    """Yield one adversarial batch per epsilon, in order, from a single gradient.

    Args:
        model: as in `fgsm`.
        x: (N, ...) float images within the bounds.
        y: (N,) int64 labels, targets if `targeted`, or None for the model's own predictions.
        epsilons: budgets in the units of x, each as in `fgsm`.
        norm: `inf`, or the order p >= 1.
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
    return _sweep(model, x, y, list(epsilons), StepSettings(parse_norm(norm), targeted, bounds, mask, loss, stable), start)


def _sweep(
    model: Model, x: Tensor, y: Any, epsilons: list[Epsilon], settings: StepSettings, start: Tensor | None
) -> Iterator[Tensor]:
    x, model = x.detach(), read_for_loss(model, settings.loss)
    for text in check_attack(x, y, settings, model):
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    if start is not None and start.shape != x.shape:
        raise DataError(f"start must have the shape of the images {tuple(x.shape)}, got {tuple(start.shape)}")
    for epsilon in epsilons:
        broadcast_epsilon(epsilon, x, settings.norm, settings.bounds)

    def perturbed() -> Iterator[Tensor]:
        gradient_step = compute_gradient_step(model, x, y, settings, start)
        check_attacked_outputs(model, gradient_step)
        unmoved = int(gradient_step.nonfinite_gradient.sum())
        if unmoved:
            text = f"{unmoved:,} of {len(x):,} images have a gradient that is not finite: they are left unmoved"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        yield from map(gradient_step.perturb, epsilons)

    return perturbed()


def check_attacked_outputs(model: Model, gradient_step: GradientStep) -> None:
    """Raise ModelError if the outputs are not what the loss names; warn if a loss of logits got something else."""
    x, settings = gradient_step.x, gradient_step.settings
    if not isinstance(settings.loss, str) or (settings.loss in LOGIT_LOSSES and brings_own_loss(model)):
        return
    reduced = [dtype for dtype in network_dtypes(getattr(model, "network", model)) if dtype in REDUCED_DTYPES]
    try:
        check_outputs(
            gradient_step.outputs,
            settings.loss,
            lambda: predict_noise(lambda noise: predict_outputs(model, noise, settings.reader), x, settings.bounds),
            max((torch.finfo(dtype).eps for dtype in reduced), default=0.0),
        )
    except ModelError as error:
        if settings.loss in DECLARED_OUTPUTS:
            raise
        warnings.warn(str(error), RuntimeWarning, stacklevel=2)


def check_attack(x: Tensor, y: Any, settings: StepSettings, model: Model) -> list[str]:
    """Return warnings; raise DataError or SettingError for images, labels, settings or a model that do not fit each other."""
    settings.get_loss()
    is_multi_label = getattr(model, "task", "") == "multilabel" and settings.loss == "ce"
    if y is None and settings.targeted:
        raise SettingError("a targeted attack needs its targets in y, got None")
    if y is None and is_multi_label:
        raise SettingError("a multi-label model needs its labels in y, got None: pass y = (outputs > threshold) to attack its own")
    takes_rows = is_multi_label or settings.loss in MULTI_LABEL_LOSSES
    any_labels = callable(settings.loss) or (takes_rows and isinstance(y, Tensor) and y.ndim == 2 and len(y) == len(x))
    found = check_batch(x, None if any_labels else y, bounds=settings.bounds)
    check_mask(settings.mask, x)
    return found


def check_mask(mask: Tensor | None, x: Tensor) -> None:
    """Raise SettingError unless the mask is None, or bool or float >= 0 and broadcasts to the images."""
    if mask is None:
        return
    if not can_broadcast(mask.shape, x.shape):
        raise SettingError(f"mask must broadcast to the images {tuple(x.shape)}, got {tuple(mask.shape)}")
    if mask.dtype != torch.bool and not (mask.is_floating_point() and bool((mask >= 0).all())):
        raise SettingError(f"mask must be bool, or floating point >= 0, got {mask.dtype}: pass mask != 0")


def check_batch(x: Tensor, y: Tensor | None, *, bounds: Bounds | None = PIXEL_BOUNDS) -> list[str]:
    """Return warnings about the scale of the images.

    Raises DataError unless x holds float images within the bounds and y one int64 label per image.
    """
    if not x.is_floating_point():
        raise DataError(f"images must be floating point, got {x.dtype}: {float_hint(x, bounds)}")
    if y is not None and (y.shape != x.shape[:1] or y.dtype != torch.int64):
        raise DataError(f"labels must be int64 of shape ({len(x)},), one per image, got {y.dtype} of shape {tuple(y.shape)}")
    if bounds is None or x.numel() == 0:
        return []
    low, high = (float(extreme) for extreme in x.aminmax())
    return check_range(x, low, high, bounds)
