"""What a candidate answered to one call of the test bench, and the pixels that are wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from robustbench_fgsm.attack.clip import clip
from robustbench_fgsm.attack.losses import Loss, cross_entropy, stable_cross_entropy
from robustbench_fgsm.errors import CandidateError
from robustbench_fgsm.references.candidate import Candidate
from robustbench_fgsm.references.candidate_reference import check_returned_images
from robustbench_fgsm.short_repr import short_repr
from robustbench_fgsm.variants.attack_call import AttackCall
from robustbench_fgsm.verification.bench_calls import BenchCall
from robustbench_fgsm.verification.call_recorder import ForwardPass
from robustbench_fgsm.verification.methods import FGSM
from robustbench_fgsm.verification.sandbox import ObservedCall, observe_call
from robustbench_fgsm.verification.step_rule import Fit, fit_rule, rule_of
from robustbench_fgsm.verification.trajectory import TOLERANCE, UNDECIDABLE_SHARE, Trajectory, float64_copy, read_trajectory

SMALLEST_NORMAL = 1e-36
"""A gradient below this magnitude may underflow to 0 if the loss is averaged."""


@dataclass(frozen=True, eq=False)
class Response:
    """What came back from one call.

    Attributes:
        bench_call: the call.
        observed: what was seen during the call.
        images: (N, C, H, W) float32 images, as returned; None if the call failed.
        returned_dtype: dtype of the returned images, for example `torch.float64`.
        expected: (N, C, H, W) right images.
        decidable: pixels that count.
        wrong: pixels that count and are wrong.
        harmless: ids of harmless deviations, each with its evidence.
        path: the iterates of an attack other than FGSM, as far as heard.
    """

    bench_call: BenchCall
    observed: ObservedCall
    images: Tensor | None = None
    returned_dtype: str = ""
    expected: Tensor = field(default_factory=lambda: torch.zeros(0))
    decidable: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    wrong: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.bool))
    harmless: dict[str, str] = field(default_factory=dict)
    path: Trajectory | None = None

    __repr__ = short_repr

    @property
    def name(self) -> str:
        """Return the name of the call."""
        return self.bench_call.name

    @property
    def call(self) -> AttackCall:
        """Return the arguments of the call."""
        return self.bench_call.call

    @property
    def is_right(self) -> bool:
        """Return True if images came back and no pixel is wrong."""
        return self.images is not None and not bool(self.wrong.any())

    @property
    def moved(self) -> Tensor:
        """Return the displacement (N, C, H, W) of the returned images."""
        assert self.images is not None  # noqa: S101  (readers only see calls that returned images)
        return self.images - self.call.x

    def first(self, n: int) -> Response:
        """Return the response for the first n images, without what the network heard."""
        call = replace(self.call, x=self.call.x[:n], y=self.call.y[:n])
        images = None if self.images is None else self.images[:n]
        unheard = replace(self.observed, forward_passes=())
        parts = (self.expected[:n], self.decidable[:n], self.wrong[:n])
        return Response(replace(self.bench_call, call=call), unheard, images, self.returned_dtype, *parts)

    @cached_property
    def gradient_rounds(self) -> list[ForwardPass]:
        """Return the forward passes that received a gradient, each with the whole batch; empty if they cannot be told apart."""
        passes = [
            one
            for one in self.observed.forward_passes
            if one.logit_gradient is not None and one.inputs is not None and one.requires_gradient
        ]
        n = len(self.call.x)
        if all(len(one.inputs) == n for one in passes if one.inputs is not None):
            return [self._in_order(one) for one in passes]
        if all(one.inputs is not None and len(one.inputs) == 1 for one in passes) and len(passes) % n == 0:
            count = len(passes) // n  # image after image
            return [_merge(passes[k::count]) for k in range(count)]
        return []

    def _in_order(self, one: ForwardPass) -> ForwardPass:
        """Return a pass over the images in another order as a pass in their own order."""
        assert one.inputs is not None  # noqa: S101  (the caller has checked it)
        if one.inputs.shape != self.call.x.shape or len(one.inputs) == 1:
            return one
        points = (one.inputs.float() * self.call.std + self.call.mean).flatten(1)
        x = self.call.x.flatten(1)
        if float((points - x).abs().max()) < 1e-5 or not bool(points.isfinite().all()):
            return one
        distances = torch.cdist(x, points)
        order = distances.argmin(1)
        if len(set(order.tolist())) < len(order) or float(distances.amin(1).max()) > 1e-3:
            return one
        parts = {name: value[order] for name in ("inputs", "logits", "logit_gradient") if (value := getattr(one, name)) is not None}
        return replace(one, **parts)

    @property
    def starting_points(self) -> Tensor:
        """Return the images (N, C, H, W) at which the first gradient was taken, as far as heard; else the given images."""
        if not self.gradient_rounds:
            return self.call.x
        inputs = self.gradient_rounds[0].inputs
        if inputs is None or inputs.shape != self.call.x.shape:
            return self.call.x
        points = inputs.float() * self.call.std + self.call.mean
        near = (points - self.call.x).abs().amax() < 1e-5
        return self.call.x if bool(near) else points


def _merge(passes: list[ForwardPass]) -> ForwardPass:
    """Return passes of one image each as one pass."""

    def joined(name: str) -> Tensor | None:
        parts = [getattr(one, name) for one in passes]
        return None if any(part is None for part in parts) else torch.cat(parts)

    first = passes[0]
    return replace(first, inputs=joined("inputs"), logits=joined("logits"), logit_gradient=joined("logit_gradient"))


def respond(
    candidate: Candidate, bench_call: BenchCall, model: nn.Module, x: Tensor, time_limit: float, *, one_image: bool = False
) -> Response:
    """Run one call, and judge what comes back. The candidate may change model and x."""
    call = bench_call.call
    if one_image:
        parts = [
            respond(candidate, replace(bench_call, call=one), model, x[k : k + 1], time_limit)
            for k, one in enumerate(_single_images(call))
        ]
        return _join(bench_call, parts)
    observed = observe_call(candidate, call, model, x, time_limit)
    if observed.failure:
        return Response(bench_call, observed)
    try:
        images = check_returned_images(candidate.name, observed.returned, call.x, require_finite=bench_call.rule != "not finite")
    except CandidateError as error:
        failure = str(error).partition(" must ")[2] or str(error)
        return Response(bench_call, replace(observed, failure=f"must {failure}"))
    return check_pixels(bench_call, observed, images)


def _single_images(call: AttackCall) -> list[AttackCall]:
    return [replace(call, x=call.x[k : k + 1], y=call.y[k : k + 1]) for k in range(len(call.x))]


def _join(bench_call: BenchCall, parts: list[Response]) -> Response:
    """Return the responses to single images as the response to the batch."""
    effects = {name: text for part in parts for name, text in part.observed.side_effects.items()}
    passes = tuple(one for part in parts for one in part.observed.forward_passes)
    failed = next((part.observed for part in parts if part.observed.failure), None)
    observed = replace(failed or parts[0].observed, side_effects=effects, forward_passes=passes)
    images = [part.images for part in parts if part.images is not None]
    return Response(bench_call, observed) if failed else check_pixels(bench_call, observed, torch.cat(images))


def check_pixels(bench_call: BenchCall, observed: ObservedCall, images: Tensor) -> Response:
    """Compare returned images (N, C, H, W) with the right ones, as far as float32 decides them."""
    if bench_call.method != FGSM:
        return _check_iterates(bench_call, observed, images)
    call, rule, harmless = bench_call.call, bench_call.rule, dict[str, str]()
    gradient = exact_gradient(call, stable_cross_entropy if rule == "saturated" else cross_entropy)
    expected = step_along(call, gradient.sign())
    near = (images - expected).abs() <= TOLERANCE
    decidable = torch.ones_like(near) if rule in ("known", "saturated") else is_decidable(gradient, cancellation(call))
    if rule == "faint":
        decidable = torch.ones_like(near)
        lost = ~near & ((images - call.x).abs() <= TOLERANCE) & (gradient.abs() < SMALLEST_NORMAL)
        near = near | lost
        if bool(lost.any()):
            harmless["mean-underflow"] = (
                f"{int(lost.sum()):,} of {lost.numel():,} pixels, whose gradient is below {SMALLEST_NORMAL:.0e}, do not move"
            )
    if rule == "saturated":
        apart = int((~near & is_decidable(gradient)).sum())
        near = near | _is_full_step(call, images, gradient)
        if apart:
            harmless["saturation-cancellation"] = f"{apart:,} of {near.numel():,} pixels of a confident network move the other way"
    if rule == "not finite":
        lost_images = ~gradient.flatten(1).isfinite().all(1)
        decidable = decidable & ~lost_images.view(-1, 1, 1, 1)
        if not observed.warned and bool(images[lost_images].isfinite().all()):
            harmless["nan-hidden"] = "an image whose gradient is not finite comes back without NaN, warning or error"
    dtype = str(getattr(observed.returned, "dtype", ""))
    return Response(bench_call, observed, images, dtype, expected, decidable, decidable & ~near, harmless)


def _check_iterates(bench_call: BenchCall, observed: ObservedCall, images: Tensor) -> Response:
    """Compare each iterate that was heard with the one that follows by the method's definition."""
    method, dtype = bench_call.method, str(getattr(observed.returned, "dtype", ""))
    x, known = bench_call.call.x, torch.ones_like(images, dtype=torch.bool)
    if not bench_call.call.epsilon:
        return Response(bench_call, observed, images, dtype, x, known, (images - x).abs() > TOLERANCE)
    path = read_trajectory(bench_call.call, observed.forward_passes, images)
    if path is None:
        return Response(bench_call, observed, images, dtype, x, known, known)
    fit: Fit = fit_rule(path, method, rule_of(method), method.size_at(bench_call.call.epsilon))
    return Response(bench_call, observed, images, dtype, bench_call.call.x, fit.counted.any(0), fit.wrong.any(0), path=path)


def _is_full_step(call: AttackCall, images: Tensor, gradient: Tensor) -> Tensor:
    """Return the pixels that moved by epsilon in either direction, or not at all."""
    steps = [step_along(call, k * gradient.sign()) for k in (1, -1, 0)]
    return torch.stack([(images - step).abs() <= TOLERANCE for step in steps]).any(0)


def step_along(call: AttackCall, sign: Tensor) -> Tensor:
    """Return the images one step of epsilon along a sign, against it if the call is targeted, clipped to the bounds."""
    step = -call.epsilon if call.targeted else call.epsilon
    return clip(call.x.double() + step * sign, call.bounds).float()


def exact_gradient(call: AttackCall, loss: Loss = cross_entropy) -> Tensor:
    """Return the gradient (N, C, H, W) of the summed loss in float64."""
    leaf = call.x.double().requires_grad_()
    with torch.enable_grad():
        total = loss(float64_copy(call)(leaf), call.y).sum()
    (gradient,) = torch.autograd.grad(total, leaf)
    return gradient


def cancellation(call: AttackCall) -> Tensor:
    """Return the relative error (N,) of a float32 gradient through probabilities, which lose digits near 0 and 1."""
    with torch.no_grad():
        probability = call.model(call.x).double().softmax(1).gather(1, call.y.unsqueeze(1)).squeeze(1)
    error: Tensor = 4e-7 / (probability * (1 - probability)).clamp_min(1e-12)
    return error


def is_decidable(gradient: Tensor, doubt: Tensor | float = 0.0) -> Tensor:
    """Return the pixels whose gradient (N, C, H, W) is zero, or so large that rounding does not decide its sign.

    doubt: (N,) relative error of the gradient beside that of the sums.
    """
    magnitude = gradient.abs()
    largest = magnitude.flatten(1).amax(1).view(-1, 1, 1, 1)
    share = torch.as_tensor(doubt).clamp_min(UNDECIDABLE_SHARE).view(-1, 1, 1, 1)
    return (magnitude == 0) | (magnitude > share * largest)
