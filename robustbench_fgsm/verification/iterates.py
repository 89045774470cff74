"""What the calls of an attack of several steps show: iterates, and the rule that leads from one to the next."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_fgsm.verification.evidence import Evidence
from robustbench_fgsm.verification.methods import Method
from robustbench_fgsm.verification.step_rule import MIN_MATCH, Fit, StepRule, find_rule, fit_rule, floored, rule_of
from robustbench_fgsm.verification.trajectory import TOLERANCE, Trajectory

SAME_SIZE = 2e-3
"""Relative difference of step sizes that count as equal: a stated share may have three digits."""

ROUGH_MATCH = 0.99
"""Share of the pixels that must match on networks whose gradient jumps, as that of a ReLU does."""


SIZE_CALLS = ("rows", "rows, other images", "size, large")
"""Calls on which the size of a step is measured at three budgets."""

COSINE = 1 - 1e-3
"""Cosine with the gradient of cross-entropy at the logits above which a loss is cross-entropy."""


MIN_SAME_LOSS = 0.5
"""Share of the steps that must follow cross-entropy of the given labels before they are said to climb or descend it."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What the calls show: iterates and fits by name of the call, and the rule that explains them.

    is_alone: all gradients of a call are taken at one point, although several steps are stated.
    """

    method: Method
    evidence: Evidence
    paths: dict[str, Trajectory]
    fits: dict[str, Fit]
    found: Fit
    is_alone: bool

    @property
    def main(self) -> Trajectory:
        """Return the iterates of the first call."""
        return next(iter(self.paths.values()))

    @property
    def rule(self) -> StepRule:
        """Return the rule that explains the first call best."""
        return self.found.rule

    @property
    def deviations(self) -> list[str]:
        """Return the parts of the rule that are not the method's."""
        return self.rule.deviations(rule_of(self.method))

    @property
    def is_explained(self) -> bool:
        """Return True if the rule explains the first call."""
        return self.found.inner_share > MIN_MATCH


def measure(method: Method, evidence: Evidence) -> Measured | None:
    """Return what the calls show; None if no gradient was heard."""
    paths = {name: one.path for name, one in evidence.responses.items() if one.path is not None and name != "size, tiny"}
    if not paths:
        return None
    is_alone = method.steps > 1 and all(path.is_alone for path in paths.values() if path.is_smooth)
    if is_alone:
        paths = {name: _cut(path) for name, path in paths.items()}
    found = find_rule(next(iter(paths.values())), method)
    rule, faint = found.rule, paths.get("magnitudes")  # its gradients have all magnitudes, which the first call has not
    if faint is not None and rule.direction == "sign" and method.norm == math.inf:
        low = [one for one in floored(faint, method, rule) if _best_fit("magnitudes", faint, method, one).inner_share > MIN_MATCH]
        rule = next(iter(low), rule)
    fits = {name: _best_fit(name, path, method, rule) for name, path in paths.items()}
    before = replace(rule, clip="before")
    if rule.clip == "after" and any(
        fits[name].inner_share < least_match(path) < _best_fit(name, path, method, before).inner_share
        for name, path in paths.items()
    ):
        fits = {name: _best_fit(name, path, method, before) for name, path in paths.items()}
    return Measured(method, evidence, paths, fits, replace(found, rule=replace(found.rule, floor=rule.floor)), is_alone)


def least_match(path: Trajectory) -> float:
    """Return the share of the pixels that a rule must explain."""
    return MIN_MATCH if path.is_smooth else ROUGH_MATCH


def _best_fit(name: str, path: Trajectory, method: Method, rule: StepRule) -> Fit:
    """Return the fit with the stated size of the step, or with the measured one if the call is made for that or explains more."""
    stated = fit_rule(path, method, rule, method.size_at(path.call.epsilon))
    if stated.inner_share > MIN_MATCH and name not in SIZE_CALLS:
        return stated
    return max(fit_rule(path, method, rule), stated, key=lambda fit: fit.inner_share)


def _cut(path: Trajectory) -> Trajectory:
    """Return the path of an attack that takes all gradients at one point, with the first of them."""
    one = torch.ones_like(path.counts)
    fools, losses = path.fools[[0, -1]], path.losses[[0, -1]]
    first = (path.points[:1], path.gradients[:1], path.heard[:1], path.right[:1])
    return Trajectory(path.call, *first, fools, losses, path.output, one, path.returned.clamp_max(1))


def cosines(path: Trajectory) -> Tensor:
    """Return the cosines of what was heard at the logits with the gradient of cross-entropy, of images that are not saturated."""
    usable = (path.heard.nan_to_num().abs().amax(2) > 0) & (path.right.nan_to_num().norm(dim=2) > 1e-4)
    return torch.nn.functional.cosine_similarity(path.heard, path.right, dim=2)[usable]


def loss_scale(path: Trajectory) -> float:
    """Return what was back-propagated over the gradient of the summed cross-entropy: 1 over the batch size for a mean."""
    heard, right = path.heard.nan_to_num().norm(dim=2), path.right.nan_to_num().norm(dim=2)
    usable = (heard > 0) & (right > 1e-4)
    return float((heard / right)[usable].median()) if bool(usable.any()) else 1.0


def climbs(path: Trajectory, fit: Fit) -> bool | None:
    """Return True if the steps climb the cross-entropy of the given labels; None if they follow another loss."""
    found = cosines(path)
    if len(found) and float((found.abs() > COSINE).double().mean()) < MIN_SAME_LOSS:
        return None
    return fit.way * (float(found.mean()) if len(found) else 1.0) > 0


def moves(seen: Measured) -> bool:
    """Return True if a pixel moves in a call."""
    return any(float((path.output - path.call.x.double()).abs().max()) > TOLERANCE for path in seen.paths.values())


def smooth_paths(seen: Measured) -> dict[str, Trajectory]:
    """Return the iterates on the networks of waves."""
    return {name: path for name, path in seen.paths.items() if path.is_smooth}


def reach(method: Method, *paths: Trajectory) -> float:
    """Return the largest distance of a later iterate from its image, in the norm of the method, over epsilon."""
    most = 0.0
    for path in paths:
        offset = (path.followers - path.call.x.double()).nan_to_num()
        far = offset.abs().max() if method.norm == math.inf else offset.flatten(2).norm(dim=2).max()
        most = max(most, float(far) / path.call.epsilon)
    return most


def carries_over(seen: Measured, name: str) -> bool:
    """Return True if the first step of a later call does not follow its gradient, though that of the first call does."""
    fit, first = seen.fits[name], seen.found
    least = 1 - least_match(seen.paths[name])
    return float(first.wrong[0].double().mean()) < 1 - MIN_MATCH and float(fit.wrong[0].double().mean()) > least


def calls_with_carried_over(seen: Measured) -> list[str]:
    """Return the calls whose first step does not follow its gradient, if they show more than another size of the step."""
    found = [name for name in seen.fits if carries_over(seen, name)]
    return found if {*found} - {"normalised", "size, small"} else []


def returned_iterates(path: Trajectory, fit: Fit) -> Tensor:
    """Return which iterate each image (N,) is: its number, the count of gradients for the last, -1 for the image, -2 for none."""
    clean = (path.output - path.call.x.double()).abs().flatten(1).amax(1) <= TOLERANCE
    known = torch.where(path.returned < path.counts, path.returned, torch.where(clean, -1, -2))
    early = path.stopped < path.counts
    return torch.where(fit.is_last, path.counts, torch.where(early, path.stopped, known))


def stops_early(seen: Measured) -> bool:
    """Return True if a batch ends early where one of its images is fooled, and runs to its end where none is."""
    short = [path for path in smooth_paths(seen).values() if bool((path.counts < seen.method.steps).any())]
    full = [path for path in smooth_paths(seen).values() if bool((path.counts == seen.method.steps).all())]
    return bool(short) and all(bool(path.fools.any()) for path in short) and len({int(p.counts.max()) for p in (*short, *full)}) > 1
