"""Summary of a gate."""

from __future__ import annotations

from typing import Any

import pytest

from robustbench_fgsm.report.documents.gate import summarize
from tests.report.printed import printed

Document = dict[str, Any]


def drop(label: int | None = None, value: float = 0.02, *, exceeds: bool = False, within: bool = True, **changes: Any) -> Document:
    rates = {"accuracy": {"count": 48}, "baseline_accuracy": {"count": 50}}
    places = {"label": label, "name": None if label is None else f"class {label}", "epsilon": 8 / 255, "targeted": "none"}
    bounds = {"drop": value, "low": -0.01, "high": 0.05, "p": 0.2, "detectable": 0.1, "exceeds": exceeds, "within": within}
    return places | rates | bounds | {"n": 100} | changes


def document(*drops: Document, **changes: Any) -> Document:
    side = {"model": {"spec": "mlp300", "weights": "standard"}, "path": "results/new"}
    return {
        "schema": "rfgsm.gate/1",
        "run": side,
        "baseline": side | {"path": "results/main"},
        "attacks": [{"norm": "inf"}],
        "gradient": "ordinary",
        "n": 100,
        "data": {"spec": "fashion-mnist"},
        "drops": [drop(), drop(0), *drops],
        "alpha": 0.05,
        "power": 0.8,
        "max_drop": 0.01,
        "require_evidence": False,
        "warnings": [],
        "invalid_reasons": [],
    } | changes


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (document(), "PASSED: every drop is shown to be less than 1 % of the images."),
        (
            document(drop(1, within=False)),
            "PASSED: no drop of more than 1 % of the images is shown; in 1 of 3 places none is ruled out.",
        ),
        (
            document(drop(1, within=False), require_evidence=True),
            "FAILED: no drop of more than 1 % of the images is shown, but in 1 of 3 places none is ruled out.",
        ),
        (
            document(*(drop(label, exceeds=True) for label in range(1, 8))),
            "FAILED: accuracy fell by more than 1 % of the images: class 1 at epsilon 8/255; class 2 at epsilon 8/255; "
            "class 3 at epsilon 8/255; class 4 at epsilon 8/255; class 5 at epsilon 8/255; and 2 more.",
        ),
        (document(invalid_reasons=["bad"]), "FAILED: a run is invalid, and its numbers must not be used."),
    ],
)
def test_the_verdict(found: Document, verdict: str) -> None:
    assert summarize(found).verdict == verdict
    assert printed(found, 300).splitlines()[-1] == verdict


def test_lists_classes_with_the_smallest_p() -> None:
    whole, classes = summarize(document(*(drop(label, p=label / 100) for label in range(1, 20)))).sheets
    assert [row[1] for row in whole.rows] == ["all"]
    assert [row[1] for row in classes.rows] == [f"class {label}" for label in range(1, 13)]
    assert "the 12 with the smallest p" in classes.title


def test_a_clean_drop_has_no_budget() -> None:
    whole, _ = summarize(document(drop(epsilon=None))).sheets
    assert whole.rows[-1][:5] == ("clean", "all", 100, 50, 48)
