"""Number of steps, where each starts, what its direction is taken of, and the ball that it is projected to."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

from robustbench_fgsm.spec import norm_name
from robustbench_fgsm.verification.iterates import (
    SAME_SIZE,
    Measured,
    calls_with_carried_over,
    least_match,
    moves,
    reach,
    returned_iterates,
    smooth_paths,
    stops_early,
)
from robustbench_fgsm.verification.methods import Method
from robustbench_fgsm.verification.stage_result import StageResult, ok, rounded, wrong
from robustbench_fgsm.verification.step_rule import Fit

STEP_TEXTS = {
    ("base", "image"): ("step-from-clean-image", "each step starts at the given image"),
    ("sum", "gradient"): ("wrong-momentum", "the direction is that of the last gradient alone"),
    ("sum", "first gradient"): ("iterates-on-first-gradient", "each step follows the first gradient"),
    ("sum", "momentum"): ("wrong-momentum", "earlier gradients add to the direction, each divided by its L1 norm"),
    ("sum", "momentum of signs"): ("sign-before-momentum", "the momentum adds up signs of gradients"),
    ("centre", "zero"): ("projects-around-zero", "the ball is around 0, not around the image"),
}
"""Mistake and words for a part of the rule of a step that is not the method's."""


def read_projection(seen: Measured, wrong_stages: Collection[str] = ()) -> StageResult:
    """Measure the steps; wrong_stages: other stages that are wrong, which explain the calls made for them."""
    method, expected = seen.method, _expected_steps(seen.method)
    heard = next(one.path for one in seen.evidence.responses.values() if one.path is not None)
    numbers: dict[str, Any] = {"gradients": int(heard.counts.max())}
    if seen.is_alone and moves(seen):
        text = f"the gradient is taken at one point only, {'once' if numbers['gradients'] == 1 else 'again and again'}"
        return wrong("steps", "iterates-on-first-gradient", text, expected, **numbers)
    if (found := _step_count(seen, expected, numbers)) is not None:
        return found
    distance = reach(method, *smooth_paths(seen).values())
    numbers["reach"] = rounded(distance)
    if not seen.is_explained:
        share = 100 * (1 - seen.found.inner_share)
        text = f"no known rule leads from an iterate to the next: {share:.1f} % of the pixels differ"
        text = f"{text}; iterates reach {distance:.3g} times epsilon"
        return wrong("steps", None, text, expected, "compare the first steps with the definition", **numbers)
    named = [_part_text(seen, part, distance) for part in seen.deviations if part in ("base", "sum", "centre", "radius", "decay")]
    if named and not (method.steps == 1 and method.start == "image" and seen.deviations == ["centre"]):
        return wrong("steps", named[0][0], "; ".join(text for _, text in named), expected, **numbers)
    bad = {name: fit for name, fit in seen.fits.items() if fit.inner_share < least_match(seen.paths[name])}
    if bad and not _excused_calls(seen, bad, wrong_stages):
        name, fit = min(bad.items(), key=lambda item: item[1].inner_share)
        share = 100 * (1 - fit.inner_share)
        text = f"as defined in call `{next(iter(seen.paths))}`, but {share:.1f} % of the pixels differ in call `{name}`"
        text += f", where iterates reach {reach(method, seen.paths[name]):.3g} times epsilon"
        return wrong("steps", None, text, expected, "compare the steps of this call with the definition", **numbers)
    momentum = f"; momentum of gradients over their L1 norms, decay {seen.rule.decay:.3g}" if method.uses_momentum else ""
    count = "one" if method.steps == 1 else f"{method.steps}, each from the last iterate"
    ball = f"; projected to the L{norm_name(method.norm)} ball around the image" if method.steps > 1 else ""
    return ok("steps", f"{count}{momentum}{ball}", expected, **numbers)


def _excused_calls(seen: Measured, bad: dict[str, Fit], wrong_stages: Collection[str]) -> bool:
    """Return True if another stage explains the calls in which steps differ."""
    made_for = {"clip": "levels", "size": "normalised"}
    known = {name for stage, name in made_for.items() if stage in wrong_stages}
    known |= {*calls_with_carried_over(seen)}
    return bad.keys() <= known


def _expected_steps(method: Method) -> str:
    if method.steps == 1:
        return "one step, from the point of the gradient"
    momentum = " of the momentum, decay 1, of gradients over their L1 norms" if method.uses_momentum else ""
    ball = f"projected to the L{norm_name(method.norm)} ball around the image"
    return f"{method.steps} steps{momentum}, each from the last iterate, {ball}"


def _part_text(seen: Measured, part: str, distance: float) -> tuple[str | None, str]:
    value = getattr(seen.rule, part)
    if part == "decay":
        return "wrong-momentum", f"the momentum decays by {value:.3g}, not by 1"
    if part == "radius":
        return "wrong-ball", f"the ball has a radius of {value:.3g} times epsilon"
    if (part, value) == ("sum", "momentum of gradients"):
        if seen.method.uses_momentum:
            return "momentum-not-normalised", "the momentum adds up gradients that are not divided by their L1 norm"
        return "stale-gradient", "the gradients of all earlier steps add up"
    if (part, value) == ("centre", "iterate") and seen.method.steps == 1:
        return "wrong-ball", f"the result leaves the ball: it is {distance:.3g} times epsilon away"
    if (part, value) == ("centre", "iterate"):
        if distance <= 1 + SAME_SIZE:
            return "wrong-ball", "no step is projected to the ball"
        about = "as with a ball around the last iterate"
        return "projects-to-last-iterate", f"the ball is not around the image: iterates reach {distance:.3g} times epsilon, {about}"
    return STEP_TEXTS[part, value]


def _step_count(seen: Measured, expected: str, numbers: dict[str, Any]) -> StageResult | None:
    """Find another number of steps, or a last gradient that is not used."""
    stated, paths = seen.method.steps, smooth_paths(seen)
    too_few = [
        name
        for name, path in paths.items()
        if not bool((path.counts == stated).all()) and bool(((path.counts != stated) & ~path.fools[-1]).any())
    ]
    many = {int(count) for path in paths.values() for count in path.counts}
    if max(many) > stated or (too_few and not stops_early(seen)):
        count = int(torch.cat([path.counts for path in paths.values()]).mode().values)
        text = f"{count} steps" if len(many) == 1 else f"{min(many)} to {max(many)} steps"
        return wrong("steps", "wrong-step-count", text, expected, **{**numbers, "steps": count})
    indices = [returned_iterates(path, seen.fits[name]) == path.counts - 1 for name, path in paths.items()]
    if stated > 1 and seen.is_explained and all(bool(one.all()) for one in indices):
        text = f"{stated - 1} steps: the last of {stated} gradients is not used"
        return wrong("steps", "wrong-step-count", text, expected, **{**numbers, "steps": stated - 1})
    return None
