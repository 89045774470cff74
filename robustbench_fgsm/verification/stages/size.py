"""How far pixels move, in units of epsilon: for each channel, each image and each budget."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_fgsm.verification.check_pixels import Response
from robustbench_fgsm.verification.evidence import Evidence, channel_sizes, unit_vector, way_sizes
from robustbench_fgsm.verification.stage_result import StageResult, numbers_text, ok, rounded, unmeasured, wrong
from robustbench_fgsm.verification.trajectory import TOLERANCE

EXPECTED = "1 times epsilon, in every channel and image, for every epsilon"
CALLS = ("size", "size, small", "size, large", "size, larger", "size, whole range")
TINY = "size, tiny"
SOFT_SLACK = 0.1
"""Part of the step that a soft sign may lack where the size is measured."""

SOFT_CAUSES = ("soft-sign", "gradient-threshold", "masked-pixels", "half-precision")
POWER_CAUSES = ("raw-gradient", "wrong-norm", "norm-per-channel", "batch-coupled")
CLOSE = 0.003
"""Relative distance from a named factor."""


def read_size(evidence: Evidence, direction: StageResult, clip: StageResult) -> StageResult:
    """Measure the size of the step against epsilon."""
    names = CALLS if clip.verdict != "wrong" else CALLS[:-1]  # the whole range ends at the bounds
    sizes = {name: _sizes(response, evidence.resolution) for name in names if (response := evidence.get(name)) is not None}
    if "size" not in sizes:
        return unmeasured("size", "no images came back for a network with a known gradient")
    moved = {name: values for name, values in sizes.items() if values is not None}
    if evidence.resolution > budget_of(evidence, "size") / 4:
        return unmeasured("size", f"outputs that are {evidence.resolution:.3g} apart hide the size of the step")
    if not moved:
        return _tiny_alone(evidence) or wrong(
            "size", "no-op", "0 times epsilon: the images come back unchanged", EXPECTED, factor=0.0
        )
    if "size" not in moved:
        return unmeasured("size", "the images came back unchanged for a network with a known gradient")
    power = direction.cause in POWER_CAUSES
    factors = {name: float(values.nanmedian()) for name, values in moved.items()}
    budgets = {name: budget_of(evidence, name) for name in factors}
    if found := _not_proportional(evidence, factors, budgets, power=power):
        return found
    if power and (factor := direction.measured.get("norm_factor")) is not None:
        text = f"{factor:.3g} times epsilon in the L2 norm"
        return wrong("size", "wrong-epsilon", text, "1 times epsilon in the norm of the direction", norm_factor=factor)
    if power:
        return ok("size", "proportional to epsilon; the direction decides the rest", EXPECTED, factors=_table(factors))
    if found := _by_way(evidence):
        return found
    if found := _image_sizes(evidence, moved["size"]):
        return found
    by_channel = moved["size"].nanmedian(0).values
    by_channel = torch.where(by_channel.isnan(), by_channel.nanmedian(), by_channel)
    slack = SOFT_SLACK if direction.cause in SOFT_CAUSES else 0.0
    budget = budgets["size"]
    if direction.cause != "masked-pixels" and (found := _held_levels(evidence, clip)):
        return found
    inside = {name: factor for name, factor in factors.items() if name in CALLS[:-1]}
    is_one = all(abs(factor - 1) * budgets[name] <= evidence.width + slack * budgets[name] for name, factor in inside.items())
    if is_one and float((by_channel - 1).abs().max()) * budget <= evidence.width + slack * budget:
        return (
            _whole_images(evidence)
            or _tiny(evidence)
            or _of_pixels(evidence)
            or ok("size", f"{numbers_text(by_channel)} times epsilon", EXPECTED, factors=_table(factors))
        )
    response = evidence.get("size")
    assert response is not None  # noqa: S101  (it has a size)
    cause, text = name_sizes(by_channel, response)
    return wrong("size", cause, text, EXPECTED, by_channel=rounded(by_channel), factors=_table(factors))


def budget_of(evidence: Evidence, name: str) -> float:
    """Return the epsilon of a call."""
    response = evidence.get(name)
    return response.call.epsilon if response is not None else 0.0


def _table(factors: dict[str, float]) -> dict[str, float]:
    return {name: rounded(value) for name, value in factors.items()}


def _sizes(response: Response, resolution: float = 0.0) -> Tensor | None:
    """Return the size of the step of each image that moved and each channel, in units of epsilon; None if none moved."""
    values, _ = channel_sizes(response, resolution)
    is_moved = (values * response.call.epsilon > TOLERANCE).any(1)
    return values[is_moved] if bool(is_moved.any()) else None


def _not_proportional(
    evidence: Evidence, factors: dict[str, float], budgets: dict[str, float], *, power: bool
) -> StageResult | None:
    """Find a constant step, or a step that is capped."""
    sizes = {name: factors[name] * budgets[name] for name in factors if name != "size, whole range" or not power}
    if len(sizes) < 3 or (evidence.is_random and not power):
        return None
    low, high = min(sizes.values()), max(sizes.values())
    if high - low < CLOSE * high + evidence.width:
        return wrong(
            "size", "wrong-epsilon", f"{high:.4g} for every epsilon", EXPECTED, constant=rounded(high), sizes=_table(sizes)
        )
    small = factors["size, small"] if "size, small" in factors else factors["size"]
    # the whole range ends at a bound: only a step that is much too short tells of a cap there
    slack = {name: 0.2 if name == "size, whole range" else CLOSE for name in sizes}
    capped = [name for name in sizes if abs(factors[name] - small) > slack[name] * small + 2 * evidence.width / budgets[name]]
    if not capped:
        return None
    steps = [sizes[name] for name in capped]
    if max(steps) - min(steps) < CLOSE * max(steps) + evidence.width and all(factors[name] < small for name in capped):
        text = f"{small:.3g} times epsilon, but never more than {max(steps):.4g}"
        return wrong(
            "size",
            "wrong-epsilon",
            text,
            EXPECTED,
            "use epsilon as given, without a cap",
            cap=rounded(max(steps)),
            sizes=_table(sizes),
        )
    if power:
        return None
    shown = ", ".join(f"{factors[name]:.3g} at {budgets[name]:.3g}" for name in sorted(sizes, key=lambda name: budgets[name]))
    return wrong("size", "wrong-epsilon", f"not proportional to epsilon: {shown}", EXPECTED, sizes=_table(sizes))


def _by_way(evidence: Evidence) -> StageResult | None:
    """Find a step up that is not as large as the step down."""
    response = evidence.get("size")
    if response is None or evidence.is_random or evidence.resolution:
        return None
    up, down = way_sizes(response)
    if min(up, down) == 0 or abs(up / down - 1) < 0.02:
        return None
    text = f"{up:.3g} times epsilon up, {down:.3g} times epsilon down"
    return wrong("size", "wrong-epsilon", text, EXPECTED, "use one epsilon for both directions", up=rounded(up), down=rounded(down))


def _image_sizes(evidence: Evidence, sizes: Tensor) -> StageResult | None:
    """Find images of one batch that move by different sizes."""
    by_image = sizes.nanmedian(1).values
    if (
        len(by_image) < 2
        or float(by_image.max() - by_image.min()) < 0.02 * float(by_image.max()) + 2 * evidence.resolution / 0.0437
    ):
        return None
    cause = "random-budget" if evidence.is_random else None
    return wrong(
        "size",
        cause,
        f"{float(by_image.min()):.3g} to {float(by_image.max()):.3g} times epsilon, another factor for each image",
        EXPECTED,
        "" if cause else "use one epsilon for all images",
        by_image=rounded(by_image),
    )


def _tiny_alone(evidence: Evidence) -> StageResult | None:
    """Read the size off the budget of 1e-6, if at all others every pixel comes back at a bound."""
    response = evidence.get(TINY)
    sizes = None if response is None else _sizes(response, evidence.resolution)
    if response is None or sizes is None:
        return None
    by_channel = sizes.nanmedian(0).values
    cause, text = name_sizes(by_channel, response)
    return wrong("size", cause, text, EXPECTED, by_channel=rounded(by_channel))


def _tiny(evidence: Evidence) -> StageResult | None:
    """Find a budget of 1e-6 that is not used."""
    response = evidence.get(TINY)
    if response is None or evidence.resolution or evidence.is_random:
        return None
    sizes = _sizes(response)
    factor = 0.0 if sizes is None else float(sizes.nanmedian())
    if abs(factor - 1) < 0.45:
        return None
    return wrong("size", "wrong-epsilon", f"{factor:.3g} times epsilon at epsilon = 1e-6", EXPECTED, factor=rounded(factor))


def _held_levels(evidence: Evidence, clip: StageResult) -> StageResult | None:
    """Find pixels at 0, or at 1, that do not move inwards."""
    response = evidence.get("size, whole range")
    if response is None or evidence.is_mixed or evidence.is_random or "size" not in evidence.signs:
        return None
    directions = evidence.signs["size"].view(-1, 1, 1, 1) * unit_vector(response)
    moved = response.moved.abs() > evidence.width
    shares = [moved[(response.call.x == level) & (directions == way)].float().mean() for level, way in ((0.0, 1.0), (1.0, -1.0))]
    if not (float(min(shares)) < 0.02 and float(max(shares)) > 0.5) or clip.verdict == "wrong":
        return None
    text = f"1 times epsilon, but pixels at {0 if shares[0] < shares[1] else 1} do not move"
    return wrong("size", None, text, EXPECTED, "move every pixel by epsilon, whatever its level")


def _of_pixels(evidence: Evidence) -> StageResult | None:
    """Find a step whose size depends on the range of the images."""
    response = evidence.get("levels, narrow")
    if response is None or evidence.is_mixed:
        return None
    values, shares = channel_sizes(response, evidence.resolution)
    factor = float(values[1:].nanmedian())
    if float(shares[1:].nanmedian()) < 0.7 or abs(factor - 1) < 0.01 + evidence.resolution / response.call.epsilon:
        return None
    text = f"1 times epsilon, but {factor:.3g} times epsilon for images with pixels in [0.35, 0.65]"
    return wrong(
        "size", "wrong-epsilon", text, EXPECTED, "use epsilon as given, whatever the pixels are", narrow_factor=rounded(factor)
    )


def _whole_images(evidence: Evidence) -> StageResult | None:
    """Find images that come back clean, although the loss gave them a gradient."""
    for name in ("rows", "large batch", "batch norm and dropout", "convolutional"):
        response = evidence.get(name)
        if response is None:
            continue
        still = response.moved.abs().flatten(1).amax(1) <= evidence.width
        still &= response.expected.sub(response.call.x).abs().flatten(1).amax(1) > evidence.width
        still &= ~_without_gradient(response)
        if not bool(still.any()):
            continue
        n, count = len(still), int(still.sum())
        first = int(still.int().argmax())
        cause, about = _which_images(response, still)
        if cause is None and not bool(still[:first].any()) and bool(still[first:].all()):
            about = f"only the first {first} images of a batch of {n} move"
        text = f"1 times epsilon, but 0 for {count} of {n} images: {about}"
        return wrong("size", cause, text, EXPECTED, "attack every image of the batch" if cause is None else "", unmoved=count, n=n)
    return None


def _without_gradient(response: Response) -> Tensor:
    """Return the images (N,) whose gradient at the logits was heard to be zero."""
    rounds = response.gradient_rounds
    heard = rounds[0].logit_gradient if rounds else None
    n = len(response.call.x)
    return heard.abs().amax(1) == 0 if heard is not None and len(heard) == n else torch.zeros(n, dtype=torch.bool)


def _which_images(response: Response, still: Tensor) -> tuple[str | None, str]:
    call = response.call
    with torch.no_grad():
        before, after = (call.model(images).argmax(1) != call.y for images in (call.x, response.expected))
    if call.targeted:
        before, after = ~before, ~after
    if torch.equal(still, before):
        return "skips-misclassified", "those that are misclassified before the attack"
    if torch.equal(still, ~after) or torch.equal(still, ~after & ~before):
        return "returns-clean-on-failure", "those on which the attack fails"
    if torch.equal(still, after) or torch.equal(still, after & ~before):
        return "returns-clean-on-failure", "those on which the attack succeeds"
    return None, "they come back clean"


def name_sizes(by_channel: Tensor, response: Response) -> tuple[str | None, str]:
    """Return the mistake that gives these factors of epsilon, and the factors in words."""
    channels = len(by_channel)
    std = response.call.std.flatten().expand(channels) if response.call.std.numel() in (1, channels) else torch.ones(channels)
    shown = f"{numbers_text(by_channel)} times epsilon{' by channel' if len(set(numbers_text(by_channel).split(', '))) > 1 else ''}"

    def equals(values: Tensor) -> bool:
        return bool(((by_channel / values - 1).abs() < CLOSE).all())

    if equals(std):
        return "normalised-epsilon", f"{shown}, the std of the normalisation"
    if equals(1 / std):
        return "normalised-epsilon", f"{shown}, 1 over the std of the normalisation"
    factor = float(by_channel.mean())
    if float(by_channel.max() - by_channel.min()) > CLOSE * factor:
        first = next((k for k in range(channels) if equals(std / std[k])), None)
        about = "not this model's std" if first is None else f"the std of channel {first} serves all channels"
        return "wrong-std", f"{shown}; {about}"
    if abs(factor * 255 - 1) < CLOSE or abs(factor / 255 - 1) < CLOSE:
        return "epsilon-scale-255", f"{shown}, that is {'1/255' if factor < 1 else '255'}"
    pixels = response.call.x[0].numel()
    if abs(factor * math.sqrt(pixels) - 1) < CLOSE:
        return "wrong-norm", f"{shown}, so that the L2 norm of an image's displacement is epsilon"
    return "wrong-epsilon", shown
