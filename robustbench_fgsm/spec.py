"""The settings of an attack, parsed and validated: budgets, norms, targeting rules and `AttackSpec`; no torch, no NumPy."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal, NamedTuple, cast, get_args

from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.feature_values import (
    FeatureValues,
    iter_values,
    map_values,
    parse_feature_values,
    values_from_json,
    values_shape,
    values_to_json,
)

Task = Literal["multiclass", "multilabel"]
"""One class for each image, or any number of labels, each with a sigmoid or logit of its own."""

TargetKind = Literal["none", "shift", "random", "least-likely", "class"]


class Bounds(NamedTuple):
    """Lowest and highest value of images: one number each, or one for each feature, in arrays that broadcast to one image."""

    lower: FeatureValues
    upper: FeatureValues

    @property
    def is_uniform(self) -> bool:
        """Return True if all features have the same bounds."""
        return not isinstance(self.lower, tuple)

    @property
    def limits(self) -> tuple[float, float]:
        """Return the lowest and the highest value of all features."""
        return min(iter_values(self.lower)), max(iter_values(self.upper))

    @property
    def widths(self) -> FeatureValues:
        """Return the distance of low and high, of each feature if they differ."""
        return map_values(operator.sub, self.upper, self.lower)

    @property
    def width(self) -> float:
        """Return the largest distance of low and high."""
        return max(iter_values(self.widths))

    def __str__(self) -> str:
        low, high = self.limits
        return f"[{low:g}, {high:g}]" + ("" if self.is_uniform else f" ({len([*iter_values(self.lower)])} pairs, one per feature)")


PIXEL_BOUNDS = Bounds(0.0, 1.0)
UNKNOWN_BOUNDS = Bounds(-math.inf, math.inf)
"""Bounds before the model is loaded, under which no budget is too large."""

MAX_CLASSES = 1_000_000
"""Labels from here on are no class indices."""

NO_CLASS = -1
"""Predicted class of an image whose outputs are not finite: the image is neither right nor fooled."""

NUM_LEVELS = 255
"""Steps between the 256 levels of an 8-bit pixel."""

MIN_LEVELS = 200
"""Distance of bounds from which images are taken to have integers for pixels."""

AGREEMENT_TOLERANCE = 1e-6
"""Two pixels that are further apart than this differ."""

MAX_WIDTH_RATIO = 100
"""Ratio of the widest and the narrowest range of features above which one epsilon for all is probably a mistake."""

DEFAULT_EPSILON = 8 / 255
DEFAULT_EPSILON_TEXT = "8/255"
DEFAULT_MAX_EPSILON = 0.5
"""Largest budget that is tried for a distance."""
MAX_FLOAT32 = 3.4e38
DEVICE_KINDS = ("auto", "cpu", "gpu", "cuda", "mps", "xpu", "hip", "hpu", "xla", "mtia", "maia", "ipu", "meta", "privateuseone")
"""Devices of PyTorch; a package with an entry point of the group `torch.backends` adds others."""
UNTARGETED = "none"
TARGET_RULES = ("none", "next", "shift:2", "random", "least-likely", "class:NAME")
RANDOM_START_DESCRIPTION = "clean, and uniform in the ball with a full step projected back (ART's variant); the best for each image"


def check_task_name(task: object) -> Task:
    """Return the task; raise SettingError for another word."""
    if task not in get_args(Task):
        raise SettingError(f"task must be multiclass or multilabel, got {task!r}: {did_you_mean(str(task), get_args(Task))}")
    return cast("Task", task)


def task_of(source: object) -> Task:
    """Return the task of a classifier or of a data set, which is `multiclass` if it has none."""
    found: Task = getattr(source, "task", "multiclass")
    return found


def is_multi_label(source: object) -> bool:
    """Return True if each image of a classifier or a data set has any number of labels."""
    return task_of(source) == "multilabel"


def parse_norm(value: str | float) -> float:
    """Return the order p of the norm, infinity for `inf`; `linf` and `L2` count too.

    Raises SettingError unless the order is a real number p >= 1.
    """
    text = value.strip().lower().removeprefix("l").removeprefix("_") if isinstance(value, str) else value
    try:
        norm = math.nan if isinstance(value, bool) else float(text)
    except (TypeError, ValueError):
        norm = math.nan
    if not norm >= 1:
        remedy = "below 1 it is not a norm" if norm < 1 else "try inf"
        shown = value if str(value).isprintable() else repr(value)
        raise SettingError(f"norm must be inf, 1, 2 or any real p >= 1, got {shown}: {remedy}")
    return norm


def parse_device_name(device: str) -> str:
    """Return the name that PyTorch has for a device: `cuda` for `gpu`; raise SettingError for a kind that it does not have."""
    kind, colon, number = device.strip().lower().partition(":")
    if kind not in DEVICE_KINDS and not entry_points(group="torch.backends"):
        raise SettingError(f"device must be auto, cpu or one that PyTorch has here, got {device!r}: pass cpu or auto")
    return f"{'cuda' if kind == 'gpu' else kind}{colon}{number}"


def epsilon_text(epsilon: float) -> str:
    """Return `8/255` if a budget is a multiple of 1/255 below 1, else the number."""
    steps = round(epsilon * 255)
    return f"{steps}/255" if 0 < steps < 255 and abs(epsilon * 255 - steps) < 1e-9 else f"{epsilon:g}"


def norm_name(norm: float) -> str:
    """Return the norm as JSON and tables have it: `inf`, `1`, `2`, `1.5`."""
    return str(float(norm)).removesuffix(".0")


def _parse_fraction(text: str, name: str = "epsilon") -> float:
    """Return `8/255` or `0.03` as a number."""
    numerator, slash, denominator = text.partition("/")
    try:
        if text.endswith("%"):
            return float(text.removesuffix("%")) / 100
        return float(numerator) / float(denominator) if slash else float(numerator)
    except (ValueError, ZeroDivisionError):
        raise SettingError(f"{name} must look like 8/255 or 0.03, got {text!r}: write such a number, or 3%") from None


def _expand_ranges(items: Iterable[str]) -> Iterator[str]:
    """Yield the items of a list, with the integers of each range such as `1..8` or `1..8/255` in its place."""
    for item in items:
        bounds, slash, denominator = item.partition("/")
        low, dots, high = (part.strip() for part in bounds.partition(".."))
        if not (dots and low.isdecimal() and high.isdecimal()):
            yield item
        elif int(low) > int(high):
            raise SettingError(f"epsilon range must rise, got {item!r}: write {high}..{low}{slash}{denominator}")
        else:
            yield from (f"{number}{slash}{denominator}" for number in range(int(low), int(high) + 1))


def parse_epsilon(
    value: str | float, norm: float = math.inf, bounds: Bounds | None = PIXEL_BOUNDS, name: str = "epsilon"
) -> tuple[float, ...]:
    """Return budgets in pixel space from `8/255`, `0.03`, `3%`, `1..8/255` or a comma list, in the order of the list.

    A denominator on the last item serves the whole list if every other item is a bare integer: `1,5,10/255`. name: of the setting
    in an error. Raises SettingError for any other mix of fractions and numbers, and as `check_epsilon` does.
    """
    if not isinstance(value, str):
        try:
            if isinstance(value, bool):
                raise TypeError
            return (check_epsilon(float(value), norm, bounds, name=name),)
        except TypeError:
            raise SettingError(f"{name} must be a number or text such as 8/255, got {type(value).__name__}") from None
    items = list(_expand_ranges(item.strip() for item in value.split(",")))
    if any(not item for item in items):
        raise SettingError(f"{name} must be a comma list without gaps, got {value!r}: write 1,2,4/255 or 0.01,0.02")
    *before, last = items
    if "/" in last and all(item.isdecimal() for item in before):
        items = [f"{item}/{last.partition('/')[2]}" for item in before] + [last]
    elif len({"/" in item for item in items}) > 1:
        raise SettingError(
            f"{name} list mixes fractions and other numbers, got {value!r}: "
            "write 1,2,4/255 with one denominator at the end, or one for each item"
        )
    return tuple(check_epsilon(_parse_fraction(item, name), norm, bounds, name=name) for item in items)


def parse_epsilons(
    value: float | str | Iterable[float | str], norm: float = math.inf, bounds: Bounds | None = PIXEL_BOUNDS, name: str = "epsilon"
) -> tuple[float, ...]:
    """Return budgets in pixel space from one number or text, or from several; raises as `parse_epsilon` does."""
    several = isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", 1) != 0
    items = cast("Iterable[float | str]", value) if several else [cast("float | str", value)]
    return tuple(epsilon for item in items for epsilon in parse_epsilon(item, norm, bounds, name))


def check_epsilon(
    epsilon: float, norm: float, bounds: Bounds | None, scale: FeatureValues | None = None, name: str = "epsilon"
) -> float:
    """Return the budget, or another distance of that name.

    Raises SettingError if it is negative, not finite, or, under L-infinity, larger than the bounds allow in every feature.
    """
    if not 0 <= epsilon <= MAX_FLOAT32:
        raise SettingError(f"{name} must be a finite number >= 0 of float32, got {epsilon:g}: try 8/255")
    if norm != math.inf or bounds is None or epsilon <= (largest := _largest_epsilon(bounds, scale)):
        return epsilon
    if scale is not None or not bounds.is_uniform:
        reached = "where the widest feature reaches its bounds" if scale is None else "where every feature reaches its bounds"
        raise SettingError(f"linf {name} must lie in [0, {largest:g}], {reached}, got {epsilon:g}: pass a smaller one")
    width, hint = bounds.width, ""
    if width != NUM_LEVELS and 1 <= epsilon <= NUM_LEVELS:
        hint = f": did you mean {_share_text(epsilon * width)}?"
    raise SettingError(f"linf {name} must lie in [0, {width:g}] for images in {bounds}, got {epsilon:g}{hint}")


def _largest_epsilon(bounds: Bounds, scale: FeatureValues | None) -> float:
    """Return the budget from which on no feature has more room."""
    if scale is None:
        return bounds.width
    return max(iter_values(map_values(lambda width, factor: width / factor if factor else 0.0, bounds.widths, scale)))


def _share_text(numerator: float) -> str:
    """Return `8/255`, or a decimal number if the numerator is not an integer."""
    return f"{numerator:g}/{NUM_LEVELS}" if numerator == round(numerator) else f"{numerator / NUM_LEVELS:.6g}"


def check_flag(name: str, value: object, remedy: str = "pass True or False") -> None:
    """Raise SettingError unless the value is True or False, also of NumPy: any text, such as `False` or `none`, counts as true."""
    try:
        is_flag = not isinstance(value, str) and value in (True, False)
    except (TypeError, ValueError, RuntimeError):  # arrays, which have no one answer
        is_flag = False
    if not is_flag:
        raise SettingError(f"{name} must be True or False, got {value!r:.40}: {remedy}")


def check_integer(name: str, value: object, remedy: str = "try 0", least: int = 0) -> int:
    """Return the value; raise SettingError unless it is an integer of at least that size."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < least:
        raise SettingError(f"{name} must be an integer >= {least}, got {value!r}: {remedy}")
    return operator.index(value)


def parse_class_names(classes: object) -> tuple[str, ...]:
    """Return the names of classes, in the order of the labels, as text; an array or tensor counts as a list.

    Raises SettingError for one text, for a set or a mapping, whose order is another one, and for what is no sequence.
    """
    classes = classes.tolist() if hasattr(classes, "tolist") else classes
    if isinstance(classes, (str, bytes)) or not (isinstance(classes, Sequence) and all(name is not None for name in classes)):
        remedy = "pass a list such as ['cat', 'dog']"
        if isinstance(classes, Mapping):
            remedy = "pass sorted(classes, key=classes.get) if it maps names to labels"
        raise SettingError(f"classes must list one name for each label in order, got {classes!r:.40}: {remedy}")
    return tuple(map(str, classes))


def check_bounds(bounds: object) -> Bounds:
    """Return the bounds: a low and a high number, or arrays that broadcast to one image.

    Raises SettingError for another form, and unless every low number is below its high one. In arrays, the two may be equal.
    """
    if isinstance(bounds, Bounds) and bounds.is_uniform and bounds.lower < bounds.upper:  # type: ignore[operator]
        return bounds
    try:
        low, high = cast("Iterable[object]", bounds)
    except (TypeError, ValueError):
        many = len(bounds) if hasattr(bounds, "__len__") and not isinstance(bounds, str) else 0
        remedy = "pass all low numbers, then all high ones: (pairs[:, 0], pairs[:, 1])" if many > 2 else "try 0,1"
        raise SettingError(f"bounds must be low and high, got {bounds!r:.60}: {remedy}") from None
    lower, upper = (parse_feature_values("bounds", side, "try 0,1") for side in (low, high))
    if (values_shape(lower) or values_shape(upper)) != (values_shape(upper) or values_shape(lower)):
        raise SettingError(
            f"bounds must have one shape, got low {values_shape(lower)} and high {values_shape(upper)}: "
            "pass as many low numbers as high ones"
        )
    found = Bounds(map_values(lambda one, _: one, lower, upper), map_values(lambda _, one: one, lower, upper))
    wrong = [pair for pair in zip(iter_values(found.lower), iter_values(found.upper), strict=True) if pair[0] > pair[1]]
    if found.is_uniform and found.lower == found.upper:
        wrong = [found.limits]
    if wrong:
        (one, other), several = wrong[0], "" if found.is_uniform else f" in {len(wrong)} of the pairs"
        hint = f"did you mean {other:g},{one:g}?" if one > other else "try 0,1"
        raise SettingError(f"bounds must be low and high, got {one:g},{other:g}{several}: {hint}")
    return found


def require_uniform_bounds(bounds: Bounds, user: str, remedy: str) -> tuple[float, float]:
    """Return low and high; raise SettingError, with the remedy, if features have bounds of their own, which `user` has not."""
    if not bounds.is_uniform:
        raise SettingError(f"{user} takes one low and one high bound, got bounds by feature: {remedy}")
    return bounds.limits


def check_epsilon_scale(scale: object, bounds: Bounds) -> FeatureValues | None:
    """Return what epsilon is multiplied by in each feature; None stands for 1.

    scale: None, `range` for the distance of low and high of each feature, or numbers >= 0, one or one for each feature. Raises
    SettingError for anything else, and for `range` if a feature has no bounds.
    """
    if scale is None:
        return None
    if isinstance(scale, str):
        if scale != "range":
            raise SettingError(f"epsilon scale must be range or numbers, got {scale!r}: {did_you_mean(scale, ('range',))}")
        if bounds is UNKNOWN_BOUNDS:  # checked again once the model is loaded
            return None
        if not math.isfinite(bounds.width):
            raise SettingError("epsilon scale range needs bounds for each feature, got infinite ones: pass --bounds (bounds=)")
        return bounds.widths
    found = parse_feature_values("epsilon scale", scale, "pass range, or one number >= 0 for each feature")
    largest = max(iter_values(found))
    if not 0 < largest < math.inf or min(iter_values(found)) < 0:
        wrong = min(iter_values(found)) if min(iter_values(found)) < 0 else largest
        raise SettingError(
            f"epsilon scale must be finite numbers >= 0, and not all 0, got {wrong:g}: pass 0 only for features that must not move"
        )
    shape, expected = values_shape(found), values_shape(bounds.lower)
    if shape and expected and shape != expected:
        raise SettingError(f"epsilon scale must have the bounds' shape {expected}, got {shape}: pass one number for each pair")
    return found


def is_8_bit_range(bounds: Bounds) -> bool:
    """Return True if the bounds are about 255 apart, as of images whose pixels are the numbers 0 to 255."""
    return bounds.is_uniform and MIN_LEVELS <= bounds.width <= 300


def has_integer_levels(bounds: Bounds) -> bool:
    """Return True if the bounds are those of images whose pixels are integers, of 8 bits or more."""
    return bounds.is_uniform and MIN_LEVELS <= bounds.width < math.inf


def small_epsilon_warnings(epsilons: Iterable[float], bounds: Bounds) -> list[str]:
    """Return a warning if no budget reaches one level of images of integers: it is then probably in the units of [0, 1]."""
    largest, (low, high) = max(epsilons, default=0.0), bounds.limits
    level, name = ((high - low) / NUM_LEVELS, "one 8-bit level") if is_8_bit_range(bounds) else (1.0, "one level")
    if not has_integer_levels(bounds) or not 0 < largest < level:
        return []
    return [
        f"epsilon {largest:.6g} is less than {name} of images in [{low:g}, {high:g}]: "
        f"write {largest * (high - low):.6g} for {_share_text(round(largest * NUM_LEVELS, 6))} of that range"
    ]


def feature_epsilon_warnings(spec: AttackSpec) -> list[str]:
    """Return a warning if one budget cannot suit all features: it exceeds the range of some, or their ranges are far apart."""
    bounds, scale = spec.bounds, spec.epsilon_scale
    if bounds.is_uniform or not spec.epsilons:
        return []
    epsilon, remedy = max(spec.epsilons), "pass --eps-scale range (epsilon_scale='range') for an epsilon in shares of each range"
    widths = [width for width in iter_values(bounds.widths) if 0 < width < math.inf]
    if scale is None and widths and max(widths) > MAX_WIDTH_RATIO * min(widths):
        return [f"one epsilon for features whose ranges are {min(widths):g} to {max(widths):g} wide: {remedy}"]
    moved = iter_values(map_values(lambda width, factor: float(0 < width < epsilon * factor), bounds.widths, scale or 1.0))
    if spec.norm == math.inf and (count := int(sum(moved))):
        return [f"epsilon {epsilon:g} exceeds the whole range of {count} of {len([*iter_values(bounds.lower)])} features: {remedy}"]
    return []


@dataclass(frozen=True)
class TargetRule:
    """Which class an attack aims at: `none` (untargeted), `shift` of the label, `random`, `least-likely` or one `class`."""

    kind: TargetKind = "none"
    shift: int = 0
    class_name: str = ""

    @classmethod
    def parse(cls, text: str) -> TargetRule:
        """Parse `none`, `next`, `shift:2`, `random`, `least-likely` or `class:NAME`; raise SettingError for other text."""
        kind, _, argument = str(text).partition(":")
        if text == "next":
            return cls("shift", 1)
        if text in ("none", "random", "least-likely"):
            return cls(cast("TargetKind", text))
        if kind == "class" and argument:
            return cls("class", class_name=argument)
        if kind == "shift" and argument.removeprefix("-").isdecimal() and int(argument) != 0:
            return cls("shift", int(argument))
        raise SettingError(f"targeted must be one of {', '.join(TARGET_RULES)}, got {text!r}; {did_you_mean(text, TARGET_RULES)}")

    @property
    def targeted(self) -> bool:
        """Return True if the attack has a target."""
        return self.kind != "none"

    def __str__(self) -> str:
        if self.kind == "shift":
            return "next" if self.shift == 1 else f"shift:{self.shift}"
        return f"class:{self.class_name}" if self.kind == "class" else self.kind


@dataclass(frozen=True)
class AttackSpec:
    """Parsed settings of one attack over one or more budgets, as JSON documents have them under `attack`."""

    epsilons: tuple[float, ...] = (DEFAULT_EPSILON,)
    norm: float = math.inf
    target: TargetRule = TargetRule()
    loss: str = "ce"
    bounds: Bounds = PIXEL_BOUNDS
    seed: int = 0
    restarts: int = 0
    stable: bool = False
    epsilon_scale: FeatureValues | None = None
    max_epsilon: float | None = None
    """Largest budget at which each image's distance is looked for; None if no distance is measured."""

    def __post_init__(self) -> None:
        check_integer("seed", self.seed)
        check_integer("restarts", self.restarts, "try 4")
        check_flag("stable", self.stable)

    def to_dict(self) -> dict[str, object]:
        """Return the settings as JSON documents have them, without the budgets."""
        return {
            "norm": norm_name(self.norm),
            "targeted": str(self.target),
            "loss": self.loss,
            "bounds": [*map(values_to_json, self.bounds)],
            "epsilon_scale": None if self.epsilon_scale is None else values_to_json(self.epsilon_scale),
            "seed": self.seed,
            "restarts": self.restarts,
            "start": RANDOM_START_DESCRIPTION if self.restarts else "clean",
            "stable": self.stable,
            **({} if self.max_epsilon is None else {"max_epsilon": self.max_epsilon}),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any], epsilons: Iterable[float]) -> AttackSpec:
        """Return the attack that `to_dict` wrote, with these budgets.

        Raises KeyError, TypeError, ValueError or AttributeError if `to_dict` did not write the document.
        """
        low, high = document["bounds"]
        bounds = check_bounds((values_from_json(low, -math.inf), values_from_json(high, math.inf)))
        if not isinstance(document["loss"], str):
            raise TypeError(f"loss {document['loss']!r}")
        return cls(
            tuple(map(float, epsilons)),
            parse_norm(document["norm"]),
            TargetRule.parse(document["targeted"]),
            document["loss"],
            bounds,
            document["seed"],
            document["restarts"],
            document["stable"],
            check_epsilon_scale(document.get("epsilon_scale"), bounds),
            None if (largest := document.get("max_epsilon")) is None else float(largest),
        )


def check_single_epsilon(spec: AttackSpec) -> None:
    """Raise SettingError unless there is exactly one budget."""
    if len(spec.epsilons) != 1:
        raise SettingError(f"this takes one epsilon, got {len(spec.epsilons)}: use sweep for several")
