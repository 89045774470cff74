"""What was measured at one stage, and the tools that measure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from robustbench_fgsm.variants.catalogue import MISTAKE_BY_ID

Stage = Literal["loss", "labels", "direction", "size", "clip", "output", "steps", "randomness", "conduct"]
STAGES: tuple[Stage, ...] = ("loss", "labels", "direction", "size", "clip", "output", "steps", "randomness", "conduct")

StageVerdict = Literal["ok", "wrong", "unmeasured"]

CONSTANT_WIDTH = 1e-4
"""Relative width within which values count as one value."""


@dataclass(frozen=True)
class StageResult:
    """What was measured at one stage.

    Attributes:
        stage: name of the stage.
        verdict: `ok`, `wrong`, or `unmeasured`.
        text: what was measured, in words.
        cause: id of the known mistake; None if it has no name, or if nothing is wrong.
        measured: the numbers behind the text.
        expected: what a right implementation gives.
        fix: what to do, if the known mistake's remedy does not say it.
    """

    stage: Stage
    verdict: StageVerdict
    text: str
    cause: str | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    expected: str = ""
    fix: str = ""

    @property
    def remedy(self) -> str:
        """Return what to do; empty if nothing is wrong."""
        if self.verdict != "wrong":
            return ""
        return self.fix or (MISTAKE_BY_ID[self.cause].remedy if self.cause else "compare this stage with rf.fgsm")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the stage."""
        return {
            "stage": self.stage,
            "verdict": self.verdict,
            "cause": self.cause,
            "measured": self.measured,
            "expected": self.expected,
            "text": self.text,
            "remedy": self.remedy,
        }


def ok(stage: Stage, text: str, expected: str = "", **measured: Any) -> StageResult:
    """Return the reading of a right stage."""
    return StageResult(stage, "ok", text, None, measured, expected)


def wrong(stage: Stage, cause: str | None, text: str, expected: str = "", fix: str = "", **measured: Any) -> StageResult:
    """Return the reading of a wrong stage."""
    return StageResult(stage, "wrong", text, cause, measured, expected, fix)


def unmeasured(stage: Stage, text: str) -> StageResult:
    """Return the reading of a stage that could not be measured."""
    return StageResult(stage, "unmeasured", text)


def accept(reading: StageResult) -> StageResult:
    """Return the reading of a deviation that the caller accepts as right."""
    return ok(reading.stage, f"{reading.text} (accepted)", reading.expected, **reading.measured)


def most_common_value(values: Tensor, width: float = CONSTANT_WIDTH) -> tuple[float, float]:
    """Return the value near which most of the values lie, and the share of the values there.

    Args:
        values: any number of values >= 0.
        width: relative width of the window.

    Returns:
        The median of the fullest window, and its share; (nan, 0) without values.
    """
    ordered = values.flatten().double().sort().values
    if not len(ordered):
        return float("nan"), 0.0
    ends = torch.searchsorted(ordered, ordered * (1 + width) + 1e-9, right=True)
    counts = ends - torch.arange(len(ordered))
    start = int(counts.argmax())
    return float(ordered[start : int(ends[start])].median()), int(counts[start]) / len(ordered)


def rounded(values: Tensor | list[float] | float) -> Any:
    """Return numbers with four significant digits, for documents."""
    if isinstance(values, Tensor):
        values = values.tolist()
    if isinstance(values, list):
        return [rounded(value) for value in values]
    return float(f"{values:.4g}")


def numbers_text(values: Tensor | list[float]) -> str:
    """Return numbers in a row, one number if all are equal to three digits."""
    texts = [f"{value:.3g}" for value in (values.tolist() if isinstance(values, Tensor) else values)]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)
