"""Rules by which an attack goes from one iterate to the next, and how well each explains the iterates that were seen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product

import torch
from torch import Tensor

from robustbench_fgsm.verification.bench_calls import fixed_gradient_of
from robustbench_fgsm.verification.methods import Method
from robustbench_fgsm.verification.stage_result import most_common_value
from robustbench_fgsm.verification.trajectory import TOLERANCE, UNDECIDABLE_SHARE, Trajectory

MIN_MATCH = 0.999
"""Share of the pixels that a rule must explain."""

L2_WIDTH = 2e-4
"""Relative error of a step along a gradient in float32."""

MAX_VALUES = 50_000
"""Number of pixels of which the size of a step is read."""

FLOOR_WIDTH = 0.02
"""Relative difference of a gradient from a threshold within which rounding may decide."""

LEAST_STEP = 1e-5
"""Length of a step below which float32 images do not tell it."""

SHORTER = 5e-4
"""Relative difference by which a step is shorter than the others."""

FLOOR_ROUNDS = 20
"""Number of rounds in which the size of a step and the floor are measured in turn."""

INSIDE = 1e-5
"""Relative distance from the surface of a ball within which an iterate counts as on it."""


@dataclass(frozen=True)
class StepRule:
    """One step: from a base along a direction, projected to a ball, and clipped.

    Attributes:
        base: where the step starts: the iterate, or the image.
        sum: what the direction is taken of: the gradient, or a sum of gradients with decay.
        direction: what the sum is made into.
        centre: middle of the ball; `iterate` for the ball around the last iterate, or none.
        clip: bounds [0, 1] after the projection, before it, only for the returned images, or not at all.
        radius: radius of the ball over epsilon.
        decay: weight of earlier gradients.
        floor: magnitude that is added to the L2 norm of a gradient, or the least divisor (`floor_is_least`); for signs, the
            magnitude up to which a pixel does not move. In the units of what was back-propagated.
    """

    base: str = "iterate"
    sum: str = "gradient"
    direction: str = "sign"
    centre: str = "image"
    clip: str = "after"
    radius: float = 1.0
    decay: float = 1.0
    floor: float = 0.0
    floor_is_least: bool = False

    def deviations(self, other: StepRule) -> list[str]:
        """Return the names of the parts that differ from another rule."""
        return [name for name in PARTS if getattr(self, name) != getattr(other, name)]


PARTS: dict[str, tuple[str | float, ...]] = {
    "base": ("iterate", "image"),
    "sum": ("gradient", "momentum", "momentum of gradients", "momentum of signs", "first gradient"),
    "direction": ("sign", "L2", "L2 of the batch", "gradient", "largest"),
    "centre": ("image", "iterate", "zero"),
    "clip": ("after", "before", "at the end", "none"),
    "radius": (1.0, 0.5, 2.0),
    "decay": (1.0,),
}
"""The choices of each part; those of radius and decay are added to by what is measured."""


def rule_of(method: Method) -> StepRule:
    """Return the rule of a method."""
    return StepRule(sum="momentum" if method.uses_momentum else "gradient", direction="sign" if method.norm == math.inf else "L2")


@dataclass(frozen=True, eq=False)
class Fit:
    """How well a rule explains a trajectory.

    Attributes:
        rule: the rule.
        size: size of the step in the units of the images; NaN if no step could be measured.
        is_least: each step ends at the surface of the ball, so that the size is a lower bound.
        way: 1 if the steps climb what was back-propagated, -1 if they descend it.
        wrong: (S, N, C, H, W) pixels that count and are not explained.
        counted: (S, N, C, H, W) pixels that count. Of an image that comes back as an earlier iterate, the last step does not.
        is_last: (N,) the output is the step from the last point.
        predicted: (N, C, H, W) the step from the last point.
    """

    rule: StepRule
    size: float
    is_least: bool
    way: int
    wrong: Tensor
    counted: Tensor
    is_last: Tensor
    predicted: Tensor

    @property
    def share(self) -> float:
        """Return the share of the pixels that the rule explains."""
        return 1 - int(self.wrong.sum()) / max(1, int(self.counted.sum()))

    @property
    def inner_share(self) -> float:
        """Return the share of the pixels that the rule explains before the last step; of all if there is one step."""
        if len(self.wrong) == 1:
            return self.share
        return 1 - int(self.wrong[:-1].sum()) / max(1, int(self.counted[:-1].sum()))


def fit_rule(path: Trajectory, method: Method, rule: StepRule, size: float | None = None) -> Fit:
    """Return how well a rule explains a trajectory, with the size of the step that is given or measured."""
    epsilon, x = path.call.epsilon, path.call.x.double()
    after = torch.where(_excused(path).view(*path.points.shape[:2], 1, 1, 1), float("nan"), path.followers).double()
    direction, doubtful = _directions(path, rule)
    base = path.points.double() if rule.base == "iterate" else x.expand_as(path.points)
    centre = {"image": x.expand_as(after), "iterate": base, "zero": torch.zeros_like(after)}[rule.centre]
    along = ((after - base) * direction).nan_to_num().flatten(2).sum(2).sign()  # an image may come back as an earlier iterate
    way = -1 if float(along.sum()) < 0 else 1
    direction = way * direction
    radius = rule.radius * epsilon if rule.centre != "iterate" else math.inf
    is_least = False
    if size is None:
        size, is_least = _measure_size(after, base, centre, direction, radius, method.norm)
    step = 0.0 if math.isnan(size) else size
    predicted = _project(base + step * direction, centre, radius, method.norm, rule.clip)
    if rule.clip == "at the end":
        is_last = torch.arange(len(after)).unsqueeze(1) == path.counts - 1
        predicted = torch.where(is_last.view(*is_last.shape, 1, 1, 1), predicted.clamp(0, 1), predicted)
    largest = direction.nan_to_num().abs().flatten(2).amax(2).view(*direction.shape[:2], 1, 1, 1)
    width = TOLERANCE + (0.0 if rule.direction == "sign" else L2_WIDTH * step) * largest
    counted = after.isfinite() & path.gradients.isfinite() & ~doubtful
    wrong = counted & ~((after - predicted).abs() <= width)
    images, last = torch.arange(len(path.counts)), path.counts - 1
    pixels = counted[last, images].flatten(1).sum(1)
    is_last = (pixels > 0) & (wrong[last, images].flatten(1).sum(1) <= (1 - MIN_MATCH) * pixels)
    earlier = images[~is_last & (path.returned < path.counts)]
    counted[last[earlier], earlier], wrong[last[earlier], earlier] = False, False
    return Fit(rule, size, is_least, way, wrong, counted, is_last, predicted[last, images])


def _excused(path: Trajectory) -> Tensor:
    """Return the steps (S, N) that an image did not take because it was fooled."""
    stays = torch.arange(len(path.points)).unsqueeze(1) >= path.stopped
    return stays & path.fools[path.stopped, torch.arange(len(path.counts))]


def _project(moved: Tensor, centre: Tensor, radius: float, norm: float, clip: str) -> Tensor:
    if clip == "before":
        moved = moved.clamp(0, 1)
    if radius < math.inf:
        offset = moved - centre
        if norm == math.inf:
            offset = offset.clamp(-radius, radius)
        else:
            length = offset.flatten(2).norm(dim=2).view(*offset.shape[:2], 1, 1, 1)
            offset = offset * (radius / length.clamp_min(1e-30)).clamp_max(1.0)
        moved = centre + offset
    return moved.clamp(0, 1) if clip == "after" else moved


def _lengths(values: Tensor) -> Tensor:
    """Return the L2 norm of each image in its own shape for broadcasting."""
    lengths: Tensor = torch.linalg.vector_norm(values.flatten(2), dim=2)
    return lengths.clamp_min(1e-300).view(*values.shape[:2], 1, 1, 1)


def _directions(path: Trajectory, rule: StepRule) -> tuple[Tensor, Tensor]:
    """Return the direction of each step (S, N, C, H, W), and the pixels whose direction rounding may decide."""
    total = _sums(path.gradients.double(), rule)
    largest = total.abs().flatten(2).amax(2).clamp_min(1e-300).view(*total.shape[:2], 1, 1, 1)
    none = torch.zeros_like(total, dtype=torch.bool)
    if rule.direction == "sign":
        share = 0.0 if fixed_gradient_of(path.call.model) is not None else UNDECIDABLE_SHARE  # each pixel's gradient is exact
        near = (total.abs() - rule.floor).abs() < FLOOR_WIDTH * rule.floor
        return total.sign() * (total.abs() > rule.floor), (total != 0) & ((total.abs() < share * largest) | near)
    if rule.direction == "L2":
        lengths = _lengths(total)
        return total / (lengths.clamp_min(rule.floor) if rule.floor_is_least else lengths + rule.floor), none
    if rule.direction == "largest":
        return total / largest, none
    if rule.direction == "L2 of the batch":
        return total / total.nan_to_num().flatten(1).norm(dim=1).clamp_min(1e-300).view(-1, 1, 1, 1, 1), none
    usual = _lengths(total.nan_to_num()).median()
    return total / usual, none


def _sums(gradients: Tensor, rule: StepRule) -> Tensor:
    """Return what the direction is taken of, (S, N, C, H, W)."""
    if rule.sum == "gradient":
        return gradients
    if rule.sum == "first gradient":
        return gradients[:1].expand_as(gradients)
    parts = gradients
    if rule.sum == "momentum":
        parts = gradients / gradients.abs().flatten(2).sum(2).clamp_min(1e-300).view(*gradients.shape[:2], 1, 1, 1)
    elif rule.sum == "momentum of signs":
        parts = gradients.sign()
    sums = [parts[0]]
    for part in parts[1:]:
        sums.append(rule.decay * sums[-1] + part)
    return torch.stack(sums)


def _measure_size(after: Tensor, base: Tensor, centre: Tensor, direction: Tensor, radius: float, norm: float) -> tuple[float, bool]:
    """Return the size of a step, and whether it is a lower bound because every step ends at the surface of the ball."""
    moved = after - base
    free = after.isfinite() & (direction != 0) & (after > TOLERANCE) & (after < 1 - TOLERANCE)
    is_sign = bool((direction[free].abs() == 1).all())
    if norm == math.inf:
        inside = free & ((after - centre).abs() < radius * (1 - INSIDE) - TOLERANCE)
        if int(inside.sum()) < 0.002 * int(free.sum()):
            return (float(moved[free].abs().max()) if bool(free.any()) else math.nan), True
        if is_sign:
            values = (moved * direction)[inside].clamp_min(0.0)
            return most_common_value(values[:: max(1, len(values) // MAX_VALUES)], 1e-4)[0], False
        return _median(
            (moved * direction).where(inside, 0).flatten(2).sum(2) / direction.where(inside, 0).square().flatten(2).sum(2)
        )
    lengths, sizes = moved.nan_to_num().flatten(2).norm(dim=2), _l2_sizes(base, centre, after, direction, radius)
    return _median(sizes) if bool(sizes.isfinite().any()) else (float(lengths.max()), True)


def _l2_sizes(base: Tensor, centre: Tensor, after: Tensor, direction: Tensor, radius: float) -> Tensor:
    """Return the size (S, N) of each step over that of its direction; NaN if the step does not show it."""
    free = after.isfinite() & (direction != 0) & (after > TOLERANCE) & (after < 1 - TOLERANCE)
    before, along, now = (one.where(free, 0.0).flatten(2) for one in (base - centre, direction, after - centre))
    aa, ab, bb = (before * before).sum(2), (before * along).sum(2), (along * along).sum(2)
    ac, bc = (before * now).sum(2), (along * now).sum(2)
    determinant = aa * bb - ab * ab
    turns = determinant > 1e-3 * aa * bb  # the angle before and after tells the size, wherever on the radius the step ends
    first, second = (ac * bb - bc * ab) / determinant, (bc * aa - ac * ab) / determinant
    straight = ~turns & (bb > 0) & ((after - centre).nan_to_num().flatten(2).norm(dim=2) < radius * (1 - INSIDE))
    sizes = torch.where(turns & (first > 0), second / first, math.nan)
    return torch.where(straight, (bc - ab) / bb, sizes)


def _median(values: Tensor) -> tuple[float, bool]:
    return float(values[values.isfinite()].median()), False


def find_rule(path: Trajectory, method: Method, most: int = 2) -> Fit:
    """Return the fit of the rule with the fewest deviations from the method that explains a trajectory, else of the best one."""
    expected = rule_of(method)
    best = fit_rule(path, method, expected)
    if best.inner_share > MIN_MATCH:
        return best
    for count in range(most + 1):
        for rule in _deviating_rules(path, method, count):
            fits = [fit_rule(path, method, rule)] if count else []
            for one in floored(path, method, rule) if count < 2 else []:
                fits += [fit_rule(path, method, one, size) for size in (None, method.size_at(path.call.epsilon))]
            best = max([best, *fits], key=lambda fit: fit.inner_share)
        if best.inner_share > MIN_MATCH:
            return best
    return best


def floored(path: Trajectory, method: Method, rule: StepRule) -> list[StepRule]:
    """Return the rule with each kind of floor that fits the lengths of the steps of small gradients; none if no step is short."""
    after, x = path.followers.double(), path.call.x.double()
    base = path.points.double() if rule.base == "iterate" else x.expand_as(after)
    centre = {"image": x.expand_as(after), "iterate": base, "zero": torch.zeros_like(after)}[rule.centre]
    radius = rule.radius * path.call.epsilon if rule.centre != "iterate" else math.inf
    total = _sums(path.gradients.double(), rule)
    if rule.direction == "sign":
        free = (after > TOLERANCE) & (after < 1 - TOLERANCE) & (total != 0)
        free &= (after - centre).abs() < radius * (1 - INSIDE) - TOLERANCE
        is_still = (after - base).abs() <= TOLERANCE
        still, moved = total.abs()[free & is_still], total.abs()[free & ~is_still]
        if len(still) < (1 - MIN_MATCH) * len(moved) or not len(moved) or float(still.median()) > float(moved.median()):
            return []
        high = still.sort().values[int(MIN_MATCH * (len(still) - 1))]  # a few images stand still for other reasons
        above = moved[moved > high]
        return [replace(rule, floor=float((high * above.min()).sqrt()))] if len(above) else []
    if rule.direction != "L2" or method.norm == math.inf:
        return []
    lengths = _lengths(total).view(total.shape[:2])
    is_at_centre = (base - centre).abs().flatten(2).amax(2) == 0  # such a step shows its size up to the radius
    sizes = torch.where(
        is_at_centre,
        _l2_sizes(base, centre, after, total / _lengths(total), math.inf),
        _l2_sizes(base, centre, after, total / _lengths(total), radius),
    ).abs()
    known = (sizes > LEAST_STEP) & (sizes < math.inf)
    lengths, sizes = lengths[known], sizes[known]
    found: list[tuple[float, StepRule]] = []
    for is_least in (False, True):
        floor = 0.0
        for _ in range(FLOOR_ROUNDS):  # size and floor in turn: the long gradients tell the size, the short ones the floor
            long = lengths >= lengths.median()
            size = (sizes * (1 if is_least else 1 + floor / lengths))[long].median()
            is_short = sizes < (1 - SHORTER) * size
            if not bool(is_short.any()):
                break
            floors = (lengths * (size / sizes - (0 if is_least else 1)))[is_short]
            floor = float(floors[sizes[is_short] <= sizes[is_short].quantile(0.25)].median())  # the shortest steps tell it best
        if 0 < floor < float(lengths.median()):
            found.append((float((floors - floor).abs().median()) / floor, replace(rule, floor=floor, floor_is_least=is_least)))
    return [one for _, one in sorted(found, key=lambda pair: pair[0])]  # of the right kind is one floor for all steps


def _deviating_rules(path: Trajectory, method: Method, count: int) -> Iterator[StepRule]:
    """Yield the rules that deviate from the method in this number of parts."""
    expected = rule_of(method)
    offset = (path.followers - path.call.x).nan_to_num()
    reach = offset.abs().max() if method.norm == math.inf else offset.flatten(2).norm(dim=2).max()
    measured = float(reach) / path.call.epsilon
    choices: dict[str, tuple[str | float, ...]] = {**PARTS, "radius": (*PARTS["radius"], measured)}
    if method.uses_momentum:
        choices["decay"] = tuple(k / 10 for k in range(21))
    else:
        choices["sum"] = ("gradient", "first gradient", "momentum", "momentum of gradients")
    if len(path.points) == 1:
        choices["sum"] = (expected.sum,)
    for parts in combinations(choices, count):
        if count > 1 and "decay" in parts:
            continue
        options = [[value for value in choices[part] if value != getattr(expected, part)] for part in parts]
        for values in product(*options):
            yield replace(expected, **dict(zip(parts, values, strict=True)))  # type: ignore[arg-type]
