"""Reported numbers: how they are read, and which rates fit them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from robustbench_fgsm.errors import SettingError
from robustbench_fgsm.spec import AttackSpec, norm_name, require_uniform_bounds
from robustbench_fgsm.stats.rate import Z_95, Rate, wilson_interval

FIT_CRITERION = (
    "a combination fits if the 95 % Wilson interval of its rate, at the number of images behind the claim, "
    "overlaps the claim with its rounding"
)


@dataclass(frozen=True)
class Claim:
    """A reported number as text and as a share, with the interval of the shares that round to it.

    n: number of images behind the reported number; None for the number of measured images.
    """

    text: str
    value: float
    low: float
    high: float
    n: int | None = None

    @classmethod
    def parse(cls, value: str | float, n: int | None = None) -> Claim:
        """Parse `0.37`, `37%`, `37.4 %` or a number; 0.37 stands for [0.365, 0.375], a bare 0 or 1 for 0 % or 100 %.

        Raises:
            SettingError: if the value lies outside [0, 1], or if n is below 1.
        """
        text = _value_text(value)
        number = text.removesuffix("%").strip()
        try:
            exact = Decimal(number)
        except InvalidOperation:
            exact = Decimal("nan")
        if not exact.is_finite():
            raise SettingError(f"value must be a share or a percentage, got {text!r}: write 0.37 or 37%")
        share = exact / 100 if text.endswith("%") else exact
        if not 0 <= share <= 1:
            hint = f"did you mean {exact / 100:f}?" if share == exact and 1 < share <= 100 else "write 0.37 or 37%"
            raise SettingError(f"value must lie in [0, 1], or in [0, 100] with a %, got {text}: {hint}")
        if n is not None and n < 1:
            raise SettingError(f"n must be at least 1, got {n}: leave it out to use the number of measured images")
        half = Decimal(1).scaleb(_last_digit_exponent(share)) / 2
        return cls(text, float(share), float(max(share - half, Decimal(0))), float(min(share + half, Decimal(1))), n)

    def distance(self, rate: Rate) -> float | None:
        """Return the distance of the rate from the interval of the claim, 0 inside; None for 0/0."""
        return None if rate.value is None else max(self.low - rate.value, rate.value - self.high, 0.0)

    def fits(self, rate: Rate, measured_n: int) -> bool:
        """Return True if the claim and this rate on measured_n images agree within the sampling error.

        If the claim has another number n of images, both are samples. One sample of n * measured_n / (n + measured_n) images
        has the variance of their difference.
        """
        if rate.value is None:
            return False
        n = measured_n if self.n is None else self.n
        size = n if n == measured_n else n * measured_n / (n + measured_n)
        low, high = wilson_interval(min(max(rate.value, 0.0), 1.0), size * rate.n / measured_n)
        return low <= self.high and self.low <= high

    def excluded_from_n(self, rate: Rate, measured_n: int) -> int | None:
        """Return the number of images from which on this rate no longer fits, if both numbers are of these images.

        None if the rate lies within the rounding of the claim, or if it does not fit. A Wilson interval ends at the share c if
        |rate - c| = z sqrt(c (1 - c) / n).
        """
        distance = self.distance(rate)
        if not distance or rate.value is None or not self.fits(rate, measured_n):
            return None
        end = self.low if rate.value < self.low else self.high
        if not 0 < end < 1:
            return None
        return math.floor(Z_95**2 * end * (1 - end) / distance**2 * measured_n / rate.n) + 1

    def to_dict(self, measured_n: int) -> dict[str, Any]:
        """Return the JSON object of the claim."""
        n = measured_n if self.n is None else self.n
        return {"text": self.text, "value": self.value, "low": self.low, "high": self.high, "n": n}


def _value_text(value: str | float) -> str:
    """Return the number with its digits; a whole float without decimals."""
    if isinstance(value, str):
        return value.strip()
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(float(value))


def _last_digit_exponent(share: Decimal) -> int:
    """Return the power of ten of the last digit; a whole share, 0 or 1, counts as a whole percentage."""
    exponent = share.as_tuple().exponent
    return -2 if not isinstance(exponent, int) or exponent >= 0 else exponent


def parse_claims(value: str | float | Iterable[str | float], n: int | None = None) -> tuple[Claim, ...]:
    """Return one claim for each reported number; raises SettingError as `Claim.parse` does, and for no number at all."""
    values = [value] if isinstance(value, str | float | int) else list(value)
    if not values:
        raise SettingError("value must be one number or several, got none: pass 0.37")
    return tuple(Claim.parse(one, n) for one in values)


def check_explain_spec(spec: AttackSpec, claims: Sequence[Claim]) -> None:
    """Raise SettingError unless there is one epsilon or one for each claim, and for a norm other than L-infinity."""
    if len(spec.epsilons) not in (1, len(claims)):
        wanted = "one epsilon" if len(claims) == 1 else f"one epsilon, or one for each of {len(claims)} numbers"
        raise SettingError(
            f"this takes {wanted}, got {len(spec.epsilons)}: "
            "pass one number for each epsilon, as in `rfgsm explain 0.4 0.2 --eps 4,8/255`"
        )
    require_uniform_bounds(spec.bounds, "explain", "use evaluate, which takes them")
    if spec.norm != math.inf:
        raise SettingError(f"norm must be inf, whose mistakes are known, got {norm_name(spec.norm)}: leave it out")
