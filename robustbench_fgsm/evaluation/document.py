"""What every document of a measurement says, whatever was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from robustbench_fgsm.data.dataset import BadSample
from robustbench_fgsm.evaluation import health
from robustbench_fgsm.models.classifier import ModelInfo


class Measured(Protocol):
    """A finished measurement of one classifier over one data set."""

    @property
    def model(self) -> ModelInfo:
        """The classifier."""

    @property
    def data(self) -> dict[str, Any]:
        """The data set, as `describe` has it."""

    @property
    def invalid_reasons(self) -> list[str]:
        """Why the numbers must not be used."""

    @property
    def warnings(self) -> list[str]:
        """What a reader must know beside the numbers."""

    @property
    def exit_code(self) -> int:
        """Of the command."""

    @property
    def bad(self) -> Sequence[BadSample]:
        """Samples that could not be had."""

    @property
    def max_bad(self) -> int:
        """How many there may be."""

    @property
    def environment(self) -> Mapping[str, str | int]:
        """Where it was measured."""

    @property
    def seconds(self) -> float:
        """How long it took."""


def enveloped(schema: str, found: Measured, own: Mapping[str, Any]) -> dict[str, Any]:
    """The document of that schema; own: the keys that only this kind of measurement has."""
    reasons = found.invalid_reasons
    return {
        "schema": schema,
        "status": "invalid" if reasons else "complete",
        "exit_code": found.exit_code,
        "invalid_reasons": reasons,
        "warnings": found.warnings,
        "model": found.model.to_dict(),
        "data": found.data,
        **own,
        "bad": health.bad_to_dict(found.bad, found.max_bad),
        "environment": found.environment,
        "seconds": {"total": found.seconds},
    }


Document = dict[str, Any]
