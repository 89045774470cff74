"""The fast gradient (sign) method (Goodfellow et al. 2015, arXiv:1412.6572)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_fgsm.attack.direction import largest_magnitude, steepest_direction
from robustbench_fgsm.attack.gradient import HasLossGradient, Labels, loss_gradient, predicted_classes
from robustbench_fgsm.attack.losses import Loss, get_loss
from robustbench_fgsm.attack.step import Epsilon, broadcast_epsilon, can_broadcast, step
from robustbench_fgsm.errors import DataError, SettingError
from robustbench_fgsm.spec import DEFAULT_EPSILON, PIXEL_BOUNDS, Bounds, parse_norm

Model = Callable[[Tensor], Tensor] | HasLossGradient
"""Anything from images (N, ...) to logits (N, K)."""


@dataclass(frozen=True)
class GradientStep:
    """What one forward and one backward pass say about a batch; every budget is a step from here.

    x, direction: (N, ...); outputs: (N, K) where the gradient was taken; zero, nonfinite: (N,) bool, images whose
    gradient is exactly zero everywhere, or not finite somewhere, and which therefore do not move. start: (N, ...) where
    the gradient was taken, None for x itself.
    """

    x: Tensor
    outputs: Tensor
    direction: Tensor
    zero_gradient: Tensor
    nonfinite_gradient: Tensor
    norm: float
    bounds: Bounds | None
    start: Tensor | None = None

    def perturb(self, epsilon: Epsilon) -> Tensor:
        """The images moved by epsilon, in the shape of x."""
        budget = broadcast_epsilon(epsilon, self.x, self.norm, self.bounds)
        return step(self.x, self.direction, budget, self.norm, self.bounds, self.start)


def compute_gradient_step(
    model: Model,
    x: Tensor,
    y: Labels | None,
    *,
    norm: float,
    targeted: bool = False,
    bounds: Bounds | None = PIXEL_BOUNDS,
    mask: Tensor | None = None,
    loss: str | Loss = "ce",
    start: Tensor | None = None,
    stable: bool = False,
) -> GradientStep:
    """The steepest direction for a batch, by one forward and one backward pass. Arguments as for `fgsm`."""
    labels = predicted_classes if y is None else y
    gradient, outputs = loss_gradient(model, x if start is None else start, labels, get_loss(loss, stable=stable))
    peak = largest_magnitude(gradient)
    uphill = -gradient if targeted else gradient
    if mask is not None:
        uphill = torch.where(mask == 0, 0, uphill)
    direction = steepest_direction(uphill, norm, peak if mask is None else None)
    return GradientStep(x, outputs, direction, peak == 0, ~peak.isfinite(), norm, bounds, start)


def fgsm(
    model: Model,
    x: Tensor,
    y: Tensor | None = None,
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
    """Adversarial images by one step of size epsilon along the steepest direction of the loss.

    model: any callable from images to logits (N, K), or to one logit (N, 1) of the second of two classes; an `nn.Module`
    is attacked in evaluation mode and left as it was. x: (N, ...) float images within bounds. y: (N,) int64 labels, or
    targets with `targeted=True`; the model's own predictions where it is None. epsilon: a scalar, one per image (N,), or
    anything that broadcasts to x, in the units of x. bounds: (low, high) that the result keeps, or None. mask: bool, or
    float >= 0, broadcastable to x; where it is 0 nothing moves. loss: `ce` on logits, `log-probabilities` or
    `probabilities` for outputs that are such, `margin`, or a callable from outputs and labels to one value an image (N,).
    start: (N, ...) images at which the gradient is taken and the step begins, such as `random_start` draws; the result
    stays within epsilon of x. stable: cross-entropy without its cancellation on saturated images.

    Returns a new tensor in the shape of x, at most epsilon from it. An image whose gradient is zero stays; so does one
    whose gradient is not finite, with a RuntimeWarning that counts them.
    Raises SettingError for bad settings and DataError for images or labels that cannot be meant.
    Source: Goodfellow et al. 2015 (arXiv:1412.6572), section 4; targeted: Kurakin et al. 2017 (arXiv:1611.01236), 2.2.
    """
    one = fgsm_sweep(
        model,
        x,
        y,
        [epsilon],
        norm=norm,
        targeted=targeted,
        bounds=bounds,
        mask=mask,
        loss=loss,
        start=start,
        stable=stable,
    )
    return next(one)


def fgsm_sweep(
    model: Model,
    x: Tensor,
    y: Tensor | None = None,
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
    """One adversarial batch for each epsilon, in order, from a single gradient. Arguments as for `fgsm`."""
    x, order, budgets = x.detach(), parse_norm(norm), list(epsilons)
    check_batch(x, y, targeted=targeted, bounds=bounds)
    check_mask(mask, x)
    if start is not None and start.shape != x.shape:
        raise DataError(f"start must have the shape of the images {tuple(x.shape)}, got {tuple(start.shape)}")
    for epsilon in budgets:
        broadcast_epsilon(epsilon, x, order, bounds)
    get_loss(loss, stable=stable)

    def perturbed() -> Iterator[Tensor]:
        ascent = compute_gradient_step(
            model, x, y, norm=order, targeted=targeted, bounds=bounds, mask=mask, loss=loss, start=start, stable=stable
        )
        lost = int(ascent.nonfinite_gradient.sum())
        if lost:
            text = f"{lost:,} of {len(x):,} images have a gradient that is not finite: they are left unmoved"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        yield from map(ascent.perturb, budgets)

    return perturbed()


def check_mask(mask: Tensor | None, x: Tensor) -> None:
    """Raise SettingError unless the mask is None, or bool or float >= 0 and broadcasts to the images."""
    if mask is None:
        return
    if not can_broadcast(mask.shape, x.shape):
        raise SettingError(f"mask must broadcast to the images {tuple(x.shape)}, got {tuple(mask.shape)}")
    if mask.dtype != torch.bool and not (mask.is_floating_point() and bool((mask >= 0).all())):
        raise SettingError(f"mask must be bool, or floating point >= 0, got {mask.dtype}: pass mask != 0")


def check_batch(x: Tensor, y: Tensor | None, *, targeted: bool = False, bounds: Bounds | None = PIXEL_BOUNDS) -> None:
    """Raise DataError or SettingError unless x is float images within bounds and y, where given, one label an image."""
    if not x.is_floating_point():
        raise DataError(f"images must be floating point, got {x.dtype}: divide 8-bit images by 255")
    if y is None and targeted:
        raise SettingError("a targeted attack needs its targets in y, got None")
    if y is not None and (y.shape != x.shape[:1] or y.dtype != torch.int64):
        raise DataError(f"labels must be int64 of shape ({len(x)},), one per image, got {y.dtype} of shape {tuple(y.shape)}")
    if bounds is None or x.numel() == 0:
        return
    low, high = (float(extreme) for extreme in x.aminmax())
    if not (bounds[0] <= low and high <= bounds[1]):
        hint = "divide 8-bit images by 255" if high > 2 else "undo the normalisation, or pass bounds"
        if math.isnan(low):
            hint = "mend or leave out what is not a number"
        raise DataError(f"images must lie in [{bounds[0]:g}, {bounds[1]:g}], got [{low:g}, {high:g}]: {hint}")
