"""How the displacement of a pixel follows its gradient: sign, threshold, floor, a norm, or a mixture of pixels."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from robustbench_fgsm.verification.bench_calls import STILL_COLUMNS, fixed_gradient_of
from robustbench_fgsm.verification.check_pixels import Response, exact_gradient
from robustbench_fgsm.verification.evidence import MIN_SHARE, Evidence, image_signs, overrules_small_gradients, unit_vector
from robustbench_fgsm.verification.stage_result import StageResult, numbers_text, ok, rounded, unmeasured, wrong
from robustbench_fgsm.verification.stages.output import PIXEL_LAYOUTS

EXPECTED = "the sign of the gradient, whatever its magnitude; 0 for a gradient of 0"
SAME_SIZE = 0.02
"""Relative difference of sizes below which the displacement does not depend on the magnitude."""

DECADES = range(-12, 0)


def read_direction(evidence: Evidence) -> StageResult:
    """Measure the displacement against the magnitude of the gradient, on a network whose gradient is known up to its sign."""
    flat, curve = evidence.get("size"), evidence.get("magnitudes")
    if flat is None or curve is None:
        return unmeasured("direction", "no images came back for a network with a known gradient")
    for name, response in evidence.responses.items():
        if fixed_gradient_of(response.call.model) is not None:
            evidence.signs[name], _ = image_signs(response, evidence.width)
    if not bool((flat.moved.abs() > evidence.width).any()):
        return unmeasured("direction", "no pixel moved")
    return _mixed(evidence, flat) or _zeros_moved(evidence, curve) or _response(evidence, curve)


def _mixed(evidence: Evidence, response: Response) -> StageResult | None:
    """Find pixels that follow the gradient of other pixels."""
    signs, shares = image_signs(response, evidence.width)
    seen = signs != 0
    if not bool(seen.any()) or float(shares[seen].min()) > MIN_SHARE:
        return None
    if evidence.is_random and float(shares[seen].min()) > 0.75:
        return None
    evidence.is_mixed = True
    moved = response.moved.sign()
    vector = unit_vector(response).unsqueeze(0)
    std = response.call.std if response.call.std.ndim else torch.ones(1, 1, 1)
    patterns = [(layout.about, layout.cause, layout.forward(vector)) for layout in PIXEL_LAYOUTS]
    grey = "all channels move in one direction"
    patterns.append((grey, "per-channel-grey", (vector / std).sum(1, keepdim=True).sign().expand_as(vector)))
    patterns.append((f"{grey} (a sum of signs)", "per-channel-grey", vector.sum(1, keepdim=True).sign().expand_as(vector)))
    for size in (3, 5, 7, 9, 15):
        blurred = torch.nn.functional.avg_pool2d(vector / std, size, 1, size // 2, count_include_pad=False)
        patterns.append((f"the gradient is averaged over {size} x {size} pixels", "blurred-gradient", blurred.sign()))

    def agreement(pattern: Tensor) -> float:
        counts = ((moved != 0) & (pattern != 0)).flatten(1)
        equal = ((moved == pattern).flatten(1) & counts).sum(1) / counts.sum(1).clamp_min(1)
        return float(torch.maximum(equal, 1 - equal).mean())

    share, about, cause = max((agreement(pattern), about, cause) for about, cause, pattern in patterns)
    own = float(shares[seen].mean())
    if share > 0.95:
        text = f"{about}: {100 * share:.1f} % of the pixels follow that"
        return wrong("direction", cause, text, EXPECTED, agreement=rounded(share), own_agreement=rounded(own))
    return wrong(
        "direction",
        "blurred-gradient" if own > 0.6 else None,
        f"a pixel does not follow its own gradient: {100 * (1 - own):.1f} % of the pixels move against it",
        EXPECTED,
        "use the gradient of each pixel as it is, neither blurred nor masked",
        own_agreement=rounded(own),
    )


def _zeros_moved(evidence: Evidence, response: Response) -> StageResult | None:
    """Find pixels with a gradient of 0 that move one way."""
    unseen = response.moved[..., STILL_COLUMNS]
    moved = unseen.abs() > evidence.width
    if evidence.is_random or float(moved.float().mean()) < MIN_SHARE:
        return None
    signs = unseen.flatten(1).sign()
    if not bool((signs == signs[:, :1]).all()):
        return None
    if not bool((signs == signs[0, 0]).all()):
        text = "pixels whose gradient is 0 move up in some images and down in others"
        return wrong("direction", "centred-gradient", text, EXPECTED, zero_moves=rounded(float(unseen.abs().mean())))
    if overrules_small_gradients(evidence):
        return None  # a term beside the loss, see there
    way = "up" if float(signs.mean()) > 0 else "down"
    if float(response.moved[..., -1 if way == "up" else -2].abs().max()) <= evidence.width:
        return None  # pixels at 0 and 1 stay: they move by a term of their own, see the loss
    text = f"sign, but pixels whose gradient is 0 move {way} by {float(unseen.abs().median()):.4g}"
    return wrong("direction", "sign-of-zero", text, EXPECTED, zero_moves=rounded(float(unseen.mean())))


def _response(evidence: Evidence, response: Response) -> StageResult:
    """Read the displacement against the magnitude."""
    seen = unit_vector(response) != 0
    gradient = exact_gradient(response.call).abs()
    relative = response.moved.abs() / response.call.epsilon
    active = relative.flatten(1).amax(1) > 0
    if not bool(active.any()):
        return wrong("direction", None, "images of constant grey do not move at all", EXPECTED)
    start = int(active.int().argmax())
    r, g = relative[start][seen].double(), gradient[start][seen]
    ups = response.moved[start][seen] > 0
    if not bool((r < 1e-9)[g > g.max() / 10].any()):  # a bound may hold those that move one way: read the others
        reach = [_median(r[(g > g.max() / 10) & side]) for side in (ups, ~ups)]
        if abs(reach[0] - reach[1]) > SAME_SIZE * max(reach):
            freer = ups if reach[0] > reach[1] else ~ups
            r, g = r[freer], g[freer]
    top = float(r[g > g.max() / 10].median())
    by_decade = [_median(r[(g > 10.0**k) & (g <= 10.0 ** (k + 1))]) for k in DECADES]
    blur = evidence.width / response.call.epsilon
    curve: dict[str, Any] = {"magnitude": [f"1e{k}" for k in DECADES], "response": [rounded(value) for value in by_decade]}
    measured = [value for value in by_decade if not math.isnan(value)]
    if max(measured) - min(measured) <= SAME_SIZE * max(measured) + blur or (evidence.is_random and min(measured) > 0.3 * top):
        binary = _binary(r, top)
        if binary is not None and not evidence.is_random:
            return wrong(
                "direction",
                "masked-pixels",
                f"sign, but only {100 * binary:.1f} % of the pixels move",
                EXPECTED,
                share=rounded(binary),
            )
        return _extremes(evidence, curve)
    order = g.argsort()
    r_sorted, g_sorted = r[order], g[order]
    if _is_threshold(r, top) and not bool((r < top / 2).any()):
        return _extremes(evidence, curve)
    if _is_threshold(r, top):
        below = float(g_sorted[r_sorted < top / 2].max())
        clean = float((r[g < below] > top / 2).float().mean()) < 0.02
        if clean:
            half = _is_half_precision(evidence)
            return wrong(
                "direction",
                "half-precision" if half else "gradient-threshold",
                f"sign, but 0 for |gradient| below {below:.2g}",
                EXPECTED,
                threshold=rounded(below),
                **curve,
            )
        moved = float((r > top / 2).float().mean())
        return wrong(
            "direction",
            "masked-pixels",
            f"sign, but only {100 * moved:.1f} % of the pixels move",
            EXPECTED,
            share=rounded(moved),
            **curve,
        )
    small = r[(g > g.max() * 1e-3) & (g <= g.max() * 1e-2)]
    if (_median(small) > 0.35 * top and top <= 1 + SAME_SIZE) or _saturates(r, g):
        floor = float(g[(r - top / 2).abs().argmin()])
        return wrong(
            "direction",
            "soft-sign",
            f"a soft sign: half of the step at |gradient| = {floor:.2g}, less below",
            EXPECTED,
            half_response=rounded(floor),
            **curve,
        )
    return _power(evidence, response, r, g, curve)


def _median(values: Tensor) -> float:
    return float(values.median()) if len(values) else float("nan")


def _is_threshold(r: Tensor, top: float) -> bool:
    """Return True if nearly all pixels have either the full response or none."""
    return float(((r < 0.02 * top) | (r > 0.98 * top)).float().mean()) > MIN_SHARE


def _binary(r: Tensor, top: float) -> float | None:
    """Return the share of pixels that move, if some do not; None if all move."""
    moved = float((r > top / 2).float().mean())
    return moved if moved < MIN_SHARE else None


def _saturates(r: Tensor, g: Tensor) -> bool:
    """Return True if the response no longer grows with the largest magnitudes."""
    upper = r[(g > g.max() / 3)]
    lower = r[(g > g.max() / 10) & (g <= g.max() / 3)]
    return bool(len(upper)) and bool(len(lower)) and _median(lower) > 0.7 * _median(upper)


def _is_half_precision(evidence: Evidence) -> bool:
    passes = [one for response in evidence.responses.values() for one in response.observed.forward_passes]
    return any(one.dtype in (torch.float16, torch.bfloat16) for one in passes)


def _extremes(evidence: Evidence, curve: dict[str, Any]) -> StageResult:
    """Read the networks with tiny and huge gradients."""
    for name, text in (("tiny", "below 1e-12"), ("huge", "above 1")):
        response = evidence.get(name)
        if response is None or evidence.is_random or not bool(response.wrong.any()):
            continue
        gradient = exact_gradient(response.call).abs()
        moved = response.moved.abs() > evidence.width
        lost = response.wrong & ~moved & moved.flatten(1).any(1).view(-1, 1, 1, 1) & ~_held_ways(evidence, response)
        if not bool(moved.any()):
            return wrong("direction", None, f"no pixel moves where |gradient| is {text}", EXPECTED, "take gradient.sign()", **curve)
        if float(lost.sum()) > 0.5 * float((response.wrong & (moved | lost)).sum()) > 0:
            if name == "tiny":
                bound = float(gradient[lost].max())
                cause = "half-precision" if _is_half_precision(evidence) else "gradient-threshold"
                return wrong(
                    "direction", cause, f"sign, but 0 for |gradient| below {bound:.2g}", EXPECTED, threshold=rounded(bound), **curve
                )
            return wrong(
                "direction",
                None,
                f"sign, but 0 for some |gradient| above {float(gradient[lost].min()):.2g}",
                EXPECTED,
                "take gradient.sign() of the gradient as it is",
                **curve,
            )
        signs, shares = image_signs(response, evidence.width)
        if float(shares[signs != 0].min()) < MIN_SHARE:
            return wrong(
                "direction",
                None,
                f"other signs where |gradient| is {text}",
                EXPECTED,
                "take gradient.sign() of the gradient as it is",
                **curve,
            )
    zero = evidence.get("magnitudes")
    assert zero is not None  # noqa: S101  (the caller has read it)
    return ok("direction", "sign, for |gradient| from 1e-36 to 1e+30", EXPECTED, **curve)


def _held_ways(evidence: Evidence, response: Response) -> Tensor:
    """Return the pixels (N, C, H, W) that should move the way in which a bound holds pixels of ordinary gradients too."""
    ordinary = evidence.get("magnitudes")
    way = (response.expected - response.call.x).sign()
    held = torch.zeros_like(way, dtype=torch.bool)
    if ordinary is not None:
        ordinary_way, moved = (ordinary.expected - ordinary.call.x).sign(), ordinary.moved.abs() > evidence.width
        for one in (1.0, -1.0):
            if not bool(moved[ordinary_way == one].any()):
                held |= way == one
    return held


def _power(evidence: Evidence, response: Response, r: Tensor, g: Tensor, curve: dict[str, Any]) -> StageResult:
    """Name a displacement that grows with a power of the gradient: the gradient itself, or the direction of a norm."""
    use = (r > 100 * 6e-8 / response.call.epsilon) & (g > 0)
    log_g, log_r = g[use].log10(), r[use].log10()
    spread = log_g - log_g.mean()
    slope = float((spread * (log_r - log_r.mean())).sum() / spread.square().sum())
    moved = response.moved.double() / response.call.epsilon
    rows, channels = moved.flatten(1), moved.flatten(2)
    curve = {**curve, "slope": rounded(slope)}
    sums = {
        "the L2 norm of the image": rows.norm(dim=1),
        "the L1 norm of the image": rows.abs().sum(1),
        "the largest gradient of the image": rows.abs().amax(1),
        "the L2 norm of each channel": channels.norm(dim=2).flatten(),
        "the largest gradient of each channel": channels.abs().amax(2).flatten(),
        "the L2 norm of the batch": rows.norm().reshape(1),
        "the largest gradient of the batch": rows.abs().max().reshape(1),
        "the mean gradient of the image": rows.abs().mean(1),
        "the root mean square of the image": rows.square().mean(1).sqrt(),
        "the standard deviation of the image": rows.std(1),
    }
    if abs(slope) < 0.05:
        return _extremes(evidence, curve)  # the size of the step does not depend on the magnitude, but on something else
    if abs(slope - 1) > 0.05:
        p = 1 + 1 / slope if slope > 0 else float("nan")
        text = f"proportional to |gradient|^{slope:.2f}: the direction of the L{p:.3g} norm"
        return wrong("direction", "wrong-norm", text, EXPECTED, norm=rounded(p), **curve)
    for name, values in sums.items():
        if float(values.std(correction=0)) < 0.01 * float(values.mean()) and abs(float(values.mean()) - 1) < 0.02:
            cause = {"channel": "norm-per-channel", "batch": "batch-coupled"}.get(name.split()[-1], "wrong-norm")
            if "batch" in name and len(moved) > 1 and float(rows.norm(dim=1).std()) < 1e-6:
                continue
            return wrong(
                "direction",
                cause,
                f"the gradient over {name}: that is {numbers_text([float(values.mean())])} here",
                EXPECTED,
                **curve,
            )
    norms = sums["the L2 norm of the image"]
    if len(norms) > 1 and float(norms.std()) < 0.01 * float(norms.mean()):
        factor = float(norms.mean())
        text = f"the gradient over a norm of the image: the L2 norm of the displacement is {factor:.3g} times epsilon"
        return wrong("direction", "wrong-norm", text, EXPECTED, norm_factor=rounded(factor), **curve)
    raw = r[use] / g[use]
    text = f"the gradient itself, times {float(raw.median()):.3g}"
    return wrong("direction", "raw-gradient", text, EXPECTED, factor=rounded(float(raw.median())), **curve)
