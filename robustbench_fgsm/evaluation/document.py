"""Build the entries that all result documents share, and the warnings that follow from a tally."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from robustbench_fgsm.errors import EXIT_SUCCESS
from robustbench_fgsm.stats.rate import Rate

if TYPE_CHECKING:
    from robustbench_fgsm.data.dataset import BadSample
    from robustbench_fgsm.models.classifier import ModelInfo
    from robustbench_fgsm.stats.tally import Tally

Document = dict[str, Any]
"""A document as JSON holds it."""

WARNING_SHARE = 0.01
"""Share of the images above which a problem of their gradients causes a warning."""


class MeasurementResult(Protocol):
    """Result of a measurement of one classifier on one data set."""

    @property
    def model(self) -> ModelInfo:
        """Description of the measured classifier."""

    @property
    def data(self) -> dict[str, Any]:
        """Description of the data set, from `describe_data`."""

    @property
    def invalid_reasons(self) -> list[str]:
        """Reasons why the rates must not be used."""

    @property
    def warnings(self) -> list[str]:
        """Warnings that belong beside the rates."""

    @property
    def exit_code(self) -> int:
        """Exit code of the command."""

    @property
    def bad(self) -> Sequence[BadSample]:
        """Samples that could not be read."""

    @property
    def max_bad(self) -> int:
        """Unreadable samples that a valid run may have."""

    @property
    def environment(self) -> Mapping[str, str | int]:
        """Versions and device, from `describe_environment`."""

    @property
    def seconds(self) -> float:
        """Duration of the measurement in seconds."""


def build_document(schema: str, result: MeasurementResult, specific_entries: Mapping[str, Any]) -> Document:
    """Return the document of a measurement; specific_entries: keys that only this schema has."""
    own = {"model": result.model.to_dict(), "data": result.data, **specific_entries}
    own |= {"bad": bad_samples_to_dict(result.bad, result.max_bad)}
    reasons, warnings = result.invalid_reasons, result.warnings
    return complete_document(schema, own, result.environment, result.seconds, result.exit_code, reasons, warnings)


def complete_document(
    schema: str,
    entries: Mapping[str, Any],
    environment: Mapping[str, Any],
    seconds: float,
    exit_code: int = EXIT_SUCCESS,
    invalid_reasons: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> Document:
    """Return a document: the entries of its schema, between those that every document has."""
    return {
        "schema": schema,
        "status": "invalid" if invalid_reasons else "complete",
        "exit_code": exit_code,
        "invalid_reasons": list(invalid_reasons),
        "warnings": list(warnings),
        **entries,
        "environment": environment,
        "seconds": {"total": seconds},
    }


def tally_invalid_reasons(tallies: Sequence[Tally], bad: Sequence[BadSample] = (), max_bad: int = 0) -> list[str]:
    """Return the reasons why the rates must not be used.

    tallies: of one attack on the same images, at one budget or several. bad: unreadable samples, of which max_bad are allowed.
    """
    tally = tallies[0]
    before, after = tally.nonfinite_before, max(one.nonfinite_after for one in tallies)
    found = bad_sample_reasons(bad, max_bad) + nonfinite_output_reasons(before, after, tally.n)
    if tally.nonfinite_gradient:
        found.append(
            f"{tally.nonfinite_gradient:,} of {tally.n:,} images have a gradient that is not finite: "
            "they were left unmoved, and the rates are not robustness"
        )
    return found


def nonfinite_output_reasons(before: int, after: int, n: int, where: str = "") -> list[str]:
    """Return a reason if outputs are not finite, for so many of n images before and after the attack; where: ` at MODEL`."""
    if not (before or after):
        return []
    return [
        f"outputs that are not finite{where}: {before:,} of {n:,} images before the attack, {after:,} after it. Such an image has "
        "no predicted class and counts as neither right nor fooled: look in the network for a division by 0, a logarithm of 0, or "
        "an overflow of float16"
    ]


def bad_sample_reasons(bad: Sequence[BadSample], max_bad: int) -> list[str]:
    """Return a reason if there are more unreadable samples than allowed."""
    if len(bad) <= max(max_bad, 0):
        return []
    return [f"{_bad_samples_text(bad)}, which is more than the {max_bad:,} allowed: fix them, or raise --max-bad"]


def bad_sample_warnings(bad: Sequence[BadSample], max_bad: int) -> list[str]:
    """Return a warning if there are unreadable samples, but no more than allowed."""
    return [f"{_bad_samples_text(bad)}; n is without them"] if 0 < len(bad) <= max_bad else []


def bad_samples_to_dict(bad: Sequence[BadSample], max_bad: int) -> dict[str, Any]:
    """Return unreadable samples, and how many are allowed, as the JSON object `bad`."""
    return {
        "count": len(bad),
        "paths": [sample.path for sample in bad],
        "reasons": [sample.reason for sample in bad],
        "allowed": max_bad,
    }


def _bad_samples_text(bad: Sequence[BadSample]) -> str:
    images = "image" if len(bad) == 1 else "images"
    return f"{len(bad):,} {images} could not be read, first {bad[0].path} ({bad[0].reason})"


def tally_warnings(tally: Tally, *, cancels: bool = True, bad: Sequence[BadSample] = (), max_bad: int = 0) -> list[str]:
    """Return warnings that belong beside the rates.

    cancels: saturation gives wrong signs of the gradient of the loss. bad, max_bad: as for `tally_invalid_reasons`.
    """
    found = bad_sample_warnings(bad, max_bad)
    zero, saturated = Rate(tally.zero_gradient, tally.n), Rate(tally.saturated, tally.n)
    if (zero.value or 0) > WARNING_SHARE:
        found.append(
            f"gradient masking: {zero} of {zero.n:,} images have a gradient of exactly zero, "
            "so FGSM cannot move them; that is not robustness"
        )
    if cancels and (saturated.value or 0) > WARNING_SHARE:
        found.append(
            f"saturation: {saturated} of {saturated.n:,} images have 1 - p_y < 1e-6, "
            "where float32 cross-entropy gives wrong gradient signs and FGSM is too weak"
        )
    labels = tally.label_rates  # of labels of one image, each may rise while their loss falls
    before, after = (tally.clean_accuracy, tally.robust_accuracy) if labels is None else labels.accuracies()
    if after.count > before.count and not tally.targeted:
        found.append(f"accuracy rose under attack, from {before} to {after}: labels leak, or the gradient is wrong")
    return found


def output_shares(tallies: Sequence[Tally]) -> dict[str, Any]:
    """Return the shares of images whose outputs are not finite, before and after the attack, as the JSON object `outputs`.

    tallies: of one attack on the same images; the share after the attack is the largest of them.
    """
    n, after = tallies[0].n, max(tally.nonfinite_after for tally in tallies)
    counts = {"before": tallies[0].nonfinite_before, "after": after}
    return {f"nonfinite_{name}_share": Rate(count, n).to_dict() for name, count in counts.items()}


def gradient_shares(tally: Tally) -> dict[str, Any]:
    """Return the shares of zero, non-finite and saturated gradients as the JSON object `gradient`."""
    counts = {"zero": tally.zero_gradient, "nonfinite": tally.nonfinite_gradient, "saturated": tally.saturated}
    return {f"{name}_share": Rate(count, tally.n).to_dict() for name, count in counts.items()}
