"""Text of counts, budgets, rates and names, alike in tables, figures and pages."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from robustbench_fgsm.feature_values import values_from_json, values_to_json
from robustbench_fgsm.spec import Bounds
from robustbench_fgsm.spec import epsilon_text as epsilon_text

if TYPE_CHECKING:
    from robustbench_fgsm.evaluation.document import Document


def count_text(count: int, noun: str) -> str:
    """Return a count with its noun: `1 image`, `1,000 images`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def epsilon_unit_text(attack: Document) -> str:
    """Return what the epsilon of an attack is multiplied by, as the end of a phrase; empty for 1."""
    scale = attack.get("epsilon_scale")
    if scale is None:
        return ""
    if is_range_scale(attack):
        return " of each feature's range"
    return " times the scale of each feature" if isinstance(scale, list) else f" times {scale:g}"


def is_range_scale(attack: Document) -> bool:
    """Return True if the epsilon of an attack is a share of the range of each feature."""
    low, high = attack["bounds"]
    bounds = Bounds(values_from_json(low, -math.inf), values_from_json(high, math.inf))
    found: bool = values_to_json(bounds.widths) == attack["epsilon_scale"]
    return found


def rate_text(rate: Document) -> str:
    """Return a rate in per cent with its interval, without its n: `12.3 [11.7, 12.9]`, or `n/a` for 0/0."""
    if rate["value"] is None:
        return "n/a"
    interval = "" if rate["low"] is None else f" [{100 * rate['low']:.1f}, {100 * rate['high']:.1f}]"
    return f"{100 * rate['value']:.1f}{interval}"


def shorten(text: str, length: int) -> str:
    """Return the text, cut to a length and ended by an ellipsis if it is longer."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def model_text(model: Document) -> str:
    """Return a model's name and its weights: `resnet18 (standard)`."""
    return f"{model['spec']} ({model['weights']})"


def success_denominator(attack: Document) -> str:
    """Return the images over which an attack's success rate is taken: `right before` or, if it is targeted, `off target`."""
    return "right before" if attack["targeted"] == "none" else "off target"


def starts_text(attack: Document) -> str:
    """Return `; best of R + 1 starts (R = 3)` if an attack has random starts, else an empty text."""
    restarts = attack["restarts"]
    return f"; best of {restarts + 1} starts (R = {restarts})" if restarts else ""
