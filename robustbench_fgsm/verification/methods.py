"""The attacks of FGSM's family that a candidate may claim to be, each with the definition of its paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from robustbench_fgsm.errors import SettingError, did_you_mean
from robustbench_fgsm.options import METHOD_NAMES
from robustbench_fgsm.spec import check_integer, norm_name, parse_norm

StartKind = Literal["image", "ball", "signs"]
"""Where the first gradient is taken: at the image, at a random point of the ball, or one step along random signs away."""


@dataclass(frozen=True)
class Definition:
    """What a paper says of a method: its source, the norms it is used with, and defaults of its settings.

    step_factor: size of a step in units of epsilon / steps.
    """

    source: str
    norms: tuple[float, ...] = (math.inf, 2.0)
    steps: int = 1
    step_factor: float = 1.0
    start: StartKind = "image"
    has_optional_start: bool = False


DEFINITIONS = {
    "fgsm": Definition("Goodfellow et al. 2015, arXiv:1412.6572, section 4", (math.inf,)),
    "fgm": Definition("Miyato et al. 2017, arXiv:1605.07725, eq. 2", (2.0,)),
    "r+fgsm": Definition("Tramer et al. 2018, arXiv:1705.07204, section 4.1", (math.inf,), step_factor=0.5, start="signs"),
    "fgsm-rs": Definition("Wong et al. 2020, arXiv:2001.03994, algorithm 3", (math.inf,), step_factor=1.25, start="ball"),
    "bim": Definition("Kurakin et al. 2017, arXiv:1607.02533, section 2.2", steps=10),
    "pgd": Definition("Madry et al. 2018, arXiv:1706.06083, section 2.1", steps=10, step_factor=2.5, has_optional_start=True),
    "mi-fgsm": Definition("Dong et al. 2018, arXiv:1710.06081, equations 6 to 8", steps=10),
}


@dataclass(frozen=True)
class Method:
    """An attack with its settings, as a candidate states them.

    Attributes:
        name: a name of `DEFINITIONS`.
        norm: order of the norm, infinity or 2.
        steps: number of steps, >= 1.
        step_size: size of a step, > 0.
        is_share: the step size is a share of epsilon; else it is in the units of the images.
        random_start: the first gradient is taken at a random point.
    """

    name: str
    norm: float
    steps: int
    step_size: float
    is_share: bool
    random_start: bool

    @property
    def definition(self) -> Definition:
        """Return what the paper says."""
        return DEFINITIONS[self.name]

    @property
    def start(self) -> StartKind:
        """Return where the first gradient is taken."""
        return "ball" if self.random_start and self.definition.start == "image" else self.definition.start

    @property
    def uses_momentum(self) -> bool:
        """Return True if the direction is that of a sum of gradients."""
        return self.name == "mi-fgsm"

    def size_at(self, epsilon: float) -> float:
        """Return the size of a step at a budget."""
        return self.step_size * epsilon if self.is_share else self.step_size

    @property
    def about(self) -> str:
        """Return the method and its settings in words."""
        size = f"{self.step_size:.4g} times epsilon" if self.is_share else f"{self.step_size:.4g}"
        steps = f"1 step of {size}" if self.steps == 1 else f"{self.steps} steps of {size}"
        starts = {"image": "", "ball": ", random start", "signs": ", start along random signs"}
        return f"{self.name} in L{norm_name(self.norm)}, {steps}{starts[self.start]}"

    def to_dict(self) -> dict[str, Any]:
        """Return the method's entry of a JSON document."""
        return {
            "name": self.name,
            "norm": norm_name(self.norm),
            "steps": self.steps,
            "step_size": self.step_size,
            "step_size_unit": "epsilon" if self.is_share else "pixels",
            "start": self.start,
            "source": self.definition.source,
            "text": self.about,
        }


def parse_method(
    name: str, norm: str | float = "", steps: int | None = None, step_size: str = "", *, start: bool = False
) -> Method:
    """Return the method with these settings, each the definition's own if it is left out.

    Args:
        name: a name of `DEFINITIONS`.
        norm: `inf` or `2`; empty for the definition's.
        steps: number of steps; None for the definition's.
        step_size: a share of epsilon such as `0.25`, or a size in the units of the images such as `2/255`; empty for the
            definition's.
        start: the attack starts at a random point of the ball.

    Raises:
        SettingError: a name is unknown, or a setting does not fit the method.
    """
    if name not in DEFINITIONS:
        raise SettingError(f"method must be one of {', '.join(DEFINITIONS)}, got {name!r}: {did_you_mean(name, DEFINITIONS)}")
    definition = DEFINITIONS[name]
    order = parse_norm(norm) if norm != "" else definition.norms[0]
    if order not in definition.norms:
        known = " or ".join(map(norm_name, definition.norms))
        others = [other for other, one in DEFINITIONS.items() if order in one.norms]
        remedy = f"try --method {others[0]}" if others else "leave --norm out"
        raise SettingError(f"norm of method {name} must be {known}, got {norm_name(order)}: {remedy}")
    if steps is not None and definition.steps == 1 and steps != 1:
        raise SettingError(f"steps of method {name} must be 1, got {steps}: pass --method bim or pgd")
    count = definition.steps if steps is None else check_integer("steps", steps, "pass 10", least=1)
    if start and definition.start == "image" and not definition.has_optional_start:
        other = "fgsm-rs" if definition.steps == 1 else "pgd"
        raise SettingError(f"random start must be left out for method {name}, which starts at the image: pass --method {other}")
    if name == "fgsm" and step_size:
        raise SettingError(f"step size of method fgsm must be left out, it is epsilon, got {step_size}: pass --method bim or pgd")
    size = _parse_size(step_size) if step_size else definition.step_factor / count
    if definition.start == "signs" and ("/" in step_size or size >= 1):
        raise SettingError(
            f"step size of method {name} must be a share of epsilon below 1, the rest is the random step, got {step_size}: pass 0.5"
        )
    return Method(name, order, count, size, "/" not in step_size, start or definition.start != "image")


def _parse_size(text: str) -> float:
    """Return `0.25` or `2/255` as a number."""
    numerator, slash, denominator = text.partition("/")
    try:
        size = float(numerator) / (float(denominator) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        size = math.nan
    if not 0 < size < math.inf:
        raise SettingError(f"step size must be a share of epsilon such as 0.25, or a size such as 2/255, got {text!r}")
    return size


FGSM = parse_method("fgsm")
assert tuple(DEFINITIONS) == METHOD_NAMES  # noqa: S101  (the options list the names without an import of this module)
