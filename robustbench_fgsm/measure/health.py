"""What a tally says against its own numbers."""

from __future__ import annotations

from typing import Any

from robustbench_fgsm.measure.statistics import Rate
from robustbench_fgsm.measure.tally import Tally

NOTICEABLE = 0.01


def invalid_reasons(tally: Tally) -> list[str]:
    """Why the numbers must not be used; none where they may."""
    if not tally.nonfinite_gradient:
        return []
    return [
        f"{tally.nonfinite_gradient:,} of {tally.n:,} images have a gradient that is not finite: "
        "they were left unmoved, and the rates are not robustness"
    ]


def warnings(tally: Tally, *, cancels: bool = True) -> list[str]:
    """What a reader must know beside the numbers; cancels: whether saturation spoils the gradient of the loss."""
    found = []
    zero, saturated = Rate(tally.zero_gradient, tally.n), Rate(tally.saturated, tally.n)
    if (zero.value or 0) > NOTICEABLE:
        found.append(
            f"gradient masking: {zero} of {zero.n:,} images have a gradient of exactly zero, "
            "so FGSM cannot move them; that is not robustness"
        )
    if cancels and (saturated.value or 0) > NOTICEABLE:
        found.append(
            f"saturation: {saturated} of {saturated.n:,} images have 1 - p_y < 1e-6, "
            "where float32 cross-entropy gives wrong gradient signs and FGSM is too weak"
        )
    if tally.robust_accuracy.count > tally.clean_accuracy.count and not tally.targeted:
        found.append(
            f"accuracy rose under attack, from {tally.clean_accuracy} to {tally.robust_accuracy}: "
            "labels leak, or the gradient is wrong"
        )
    return found


def gradient_shares(tally: Tally) -> dict[str, Any]:
    """Images whose gradient is zero, not finite, or saturated, as JSON knows them under `gradient`."""
    counts = {"zero": tally.zero_gradient, "nonfinite": tally.nonfinite_gradient, "saturated": tally.saturated}
    return {f"{name}_share": Rate(count, tally.n).to_dict() for name, count in counts.items()}
